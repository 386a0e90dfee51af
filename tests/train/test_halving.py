"""Running out of memory while training: no CPU does so on demand, so encoders refuse too many frames."""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from shapeft_tune.config import TrialConfig
from shapeft_tune.config.places import Places
from shapeft_tune.config.protocol import Role
from shapeft_tune.data import Batch
from shapeft_tune.data.batches import Draw, Stored
from shapeft_tune.errors import Interrupted, OutOfMemory
from shapeft_tune.models import Segmenter
from shapeft_tune.models.croma import CromaEncoder
from shapeft_tune.models.encoder import Encoder
from shapeft_tune.models.utae import UtaeEncoder
from shapeft_tune.train import TrialResult, loop, run_trial
from shapeft_tune.train.setup import Setup, set_up
from tests.train.test_trial import CROMA, stopping_after
from tests.train.tiny import tiny

PLAIN: dict[str, Any] = {
    "training__precision": "fp32",
    "training__steps": 3,  # after more, a ReLU or a rank of Lovász has turned over by a rounding
    "training__optimiser": {"name": "sgd", "lr": 0.005},  # Adam would make steps of the sign of a rounding
    "validation__every": 3,
}
"""Batches of two patches with two dates each: four frames."""
FULL = "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 3.00 GiB."


def croma(**tuning: Any) -> dict[str, Any]:
    return CROMA | {"tuning": {"weights": "none", **tuning}}


CONFIGS = {
    "utae": tiny(**PLAIN),
    "utae lovasz": tiny(**PLAIN, training__loss="lovasz"),
    "utae dice": tiny(**PLAIN, training__loss="dice"),
    "croma frozen": tiny(**PLAIN, model=croma(mode="frozen")),
    "croma finetuned": tiny(**PLAIN, model=croma(mode="finetune")),
}


@pytest.fixture
def room_for(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return a function that gives an encoder memory for so many frames at once, in training alone."""

    def limit(encoder: type[Encoder], frames: int, in_backward: bool = False) -> None:
        forward_features = encoder.forward_features

        def limited(self: Encoder, images_NCHW: Tensor) -> list[Tensor]:
            training = not torch.is_inference_mode_enabled()
            if training and not in_backward and len(images_NCHW) > frames:
                raise torch.OutOfMemoryError(FULL)
            maps = forward_features(self, images_NCHW)
            if training and in_backward and len(images_NCHW) > frames:
                maps[-1].register_hook(raising)
            return maps

        monkeypatch.setattr(encoder, "forward_features", limited)

    return limit


def raising(*_: object) -> None:
    raise torch.OutOfMemoryError(FULL)


def trained(config: TrialConfig, places: Places, folder: Path) -> Setup:
    """Return what a trial is after its last step."""
    folder.mkdir()
    setup = set_up(config, places, Role.SEARCH, "cpu")
    loop.train(setup, folder, lambda progress: None, lambda: False)
    return setup


def assert_same(ours: Segmenter, theirs: Segmenter) -> None:
    torch.testing.assert_close(ours.state_dict(), theirs.state_dict(), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "in_backward"),
    [(name, False) for name in CONFIGS] + [(name, True) for name in CONFIGS if name != "croma frozen"],
)
def test_a_trial_without_room_ends_with_the_weights_statistics_and_chance_of_one_with_room(
    places: Places, tmp_path: Path, room_for: Callable[..., None], name: str, in_backward: bool
) -> None:
    roomy = trained(CONFIGS[name], places, tmp_path / "roomy")
    chance = torch.get_rng_state()
    room_for(CromaEncoder if "croma" in name else UtaeEncoder, 1, in_backward)
    tight = trained(CONFIGS[name], places, tmp_path / "tight")
    assert (roomy.model.pieces, tight.model.pieces) == (1, 4)
    assert_same(tight.model, roomy.model)
    assert torch.equal(torch.get_rng_state(), chance)


def test_weights_of_other_trials_differ_by_more(places: Places, tmp_path: Path) -> None:
    """What :func:`assert_same` lets pass is less than what one other random number does."""
    other = CONFIGS["utae"].model_copy(update={"seed": 1})
    models = [trained(each, places, tmp_path / str(each.seed)).model for each in (CONFIGS["utae"], other)]
    with pytest.raises(AssertionError):
        assert_same(*models)


def test_pieces_are_as_large_as_there_is_room_for_and_told_with_the_result(
    places: Places, folder: Path, room_for: Callable[..., None]
) -> None:
    room_for(UtaeEncoder, 2)
    result = run_trial(CONFIGS["utae"], places, folder, device="cpu")
    assert result.pieces == result.metrics()["cost/pieces"] == 2
    stored = TrialResult.load(folder)
    assert stored is not None
    assert stored.pieces == 2


def test_a_trial_that_fits_in_no_pieces_fails_and_says_what_to_change(
    places: Places, folder: Path, room_for: Callable[..., None]
) -> None:
    room_for(UtaeEncoder, 0)
    with pytest.raises(OutOfMemory) as caught:
        run_trial(CONFIGS["utae"], places, folder, device="cpu")
    for part in (
        "in 4 pieces",
        "training.batch_size (2)",
        "data.temporal_length (2)",
        "data.augmentation.crop (none)",
        "resources.gpu",
        "Tried to allocate 2.00 GiB",
    ):
        assert part in str(caught.value)


def test_there_are_few_tries(places: Places, folder: Path, room_for: Callable[..., None]) -> None:
    room_for(UtaeEncoder, 0)
    config = tiny(**PLAIN | {"data__temporal_length": 6, "training__batch_size": 8})
    with pytest.raises(OutOfMemory, match="in 32 pieces"):
        run_trial(config, places, folder, device="cpu")


def test_an_encoder_with_batch_norms_in_training_is_not_cut(
    places: Places, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = {
        "name": "timm",
        "backbone": "test_resnet",
        "layers": [1, 2],
        "tuning": "scratch",
        "temporal": {"name": "ltae", "heads": 2, "width": 8},
        "decoder": {"name": "linear"},
    }
    monkeypatch.setattr("shapeft_tune.models.timm_backbone.TimmEncoder.forward_features", raising)
    with pytest.raises(OutOfMemory, match="cannot be encoded in pieces"):
        run_trial(tiny(**PLAIN, model=model), places, folder, device="cpu")


def test_a_trial_that_goes_on_begins_with_the_pieces_it_had(
    places: Places, folder: Path, room_for: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny(**PLAIN | {"training__steps": 12, "validation__every": 12})
    room_for(UtaeEncoder, 2)
    with pytest.raises(Interrupted):
        run_trial(config, places, folder, device="cpu", should_stop=stopping_after(0))
    monkeypatch.undo()
    assert run_trial(config, places, folder, device="cpu").pieces == 2


def test_running_out_in_the_optimisers_step_is_final(
    places: Places, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some weights may have moved already, so the step cannot be repeated."""
    monkeypatch.setattr(torch.optim.SGD, "step", raising)
    with pytest.raises(OutOfMemory, match="in the optimiser's step"):
        run_trial(CONFIGS["utae"], places, folder, device="cpu")


def test_a_network_that_does_not_fit_at_all_is_told_as_such(
    places: Places, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Segmenter, "to", raising)
    with pytest.raises(OutOfMemory, match=r"resources\.gpu"):
        run_trial(CONFIGS["utae"], places, folder, device="cpu")


def test_a_batch_that_has_no_room_on_the_device_is_put_together_again(
    places: Places, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    roomy = trained(CONFIGS["utae"], places, tmp_path / "roomy")
    left = iter([True, True, False])

    class Full(Stored):
        def batch(self, draws: Sequence[Draw]) -> Batch:
            if not next(left, True):
                raise torch.OutOfMemoryError(FULL)
            return super().batch(draws)

    monkeypatch.setattr(loop, "samples_on", lambda device, split: Full(split))
    tight = trained(CONFIGS["utae"], places, tmp_path / "tight")
    assert tight.model.pieces == 2
    assert_same(tight.model, roomy.model)


def test_what_a_failed_try_held_is_freed_before_the_next(
    places: Places, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    living: list[int] = []

    class Marked(Tensor):
        """A map that is easy to find."""

    forward_features = UtaeEncoder.forward_features

    def limited(self: UtaeEncoder, images_NCHW: Tensor) -> list[Tensor]:
        if torch.is_inference_mode_enabled() or len(images_NCHW) == 1:
            return forward_features(self, images_NCHW)
        living.append(sum(type(each) is Marked for each in gc.get_objects()))
        marked = images_NCHW.clone().as_subclass(Marked)
        raise torch.OutOfMemoryError(f"{FULL} {marked.shape}")

    monkeypatch.setattr(UtaeEncoder, "forward_features", limited)
    trained(CONFIGS["utae"], places, tmp_path / "tight")
    assert living == [0, 0]
