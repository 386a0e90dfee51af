from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from shapeft_tune.config.places import Places
from shapeft_tune.config.protocol import Role
from shapeft_tune.data.batches import Stored
from shapeft_tune.errors import OutOfMemory
from shapeft_tune.train import Progress, loop, run_trial
from shapeft_tune.train.checkpoint import load_tensors
from shapeft_tune.train.evaluate import evaluate_split
from shapeft_tune.train.loop import BEST
from shapeft_tune.train.setup import Setup, set_up
from tests.train.tiny import tiny

ODD = {"data__dataset": {"name": "sample", "patches": 35, "patch_size": 16, "dates": 6}}
"""Seven patches in each fold, so that the last batch is a smaller one."""


@pytest.mark.parametrize("batch_size", [1, 2, 3, 4, 7, 50])
def test_every_patch_is_scored_exactly_once_whatever_the_batch_size(places: Places, batch_size: int) -> None:
    """A sampler that fills up the last batch with duplicates would make the scores depend on its size."""
    setup = set_up(tiny(training__batch_size=batch_size, **ODD), places, Role.SEARCH, "cpu")
    validation = setup.splits.validation
    evaluation = evaluate_split(setup, validation)
    labels = [validation.folder.target(patch) for patch in validation.patches]
    assert evaluation.patch_ids == tuple(patch.id for patch in validation.patches)
    assert evaluation.counts_NKK.sum(axis=(1, 2)).tolist() == [int((each < 19).sum()) for each in labels]


def test_the_loss_is_the_mean_over_pixels_whatever_the_batch_size(places: Places) -> None:
    """Of batches of 7 and of 3, 3 and 1; a mean over these would count the last patch three times."""
    losses, means = [], []
    for batch_size in (7, 3):
        config = tiny(training__batch_size=batch_size, training__precision="fp32", **ODD)
        setup = set_up(config, places, Role.SEARCH, "cpu")
        of_batches: list[float] = []

        def noted(
            logits: torch.Tensor, target: torch.Tensor, loss=setup.loss, seen=of_batches
        ) -> torch.Tensor:
            seen.append(float(loss(logits, target)))
            return loss(logits, target)

        losses.append(evaluate_split(replace(setup, loss=noted), setup.splits.validation).loss)
        means.append(np.mean(of_batches))
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)
    assert means[1] != pytest.approx(losses[0], rel=1e-4)


def test_one_thread_that_reads_and_four_train_the_same_network(
    places: Places, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny(data__augmentation={"crop": 8, "drop_dates": 0.5})
    weights, told = [], []
    for readers in (1, 4):
        monkeypatch.setattr(loop, "samples_on", lambda device, split, readers=readers: Stored(split, readers))
        progress: list[Progress] = []
        run_trial(config, places, tmp_path / str(readers), on_progress=progress.append, device="cpu")
        weights.append(load_tensors(tmp_path / str(readers) / BEST)["model"])
        told.append([(each.train_loss, each.validation) for each in progress])
    assert told[0] == told[1]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_a_trial_with_a_cache_ends_as_one_without(places: Places, tmp_path: Path) -> None:
    cached = replace(places, cache=tmp_path / "cache")
    results = [
        run_trial(tiny(), where, tmp_path / name, device="cpu")
        for name, where in (("without", places), ("first", cached), ("again", cached))
    ]
    assert len({result.validation for result in results}) == 1
    assert any((tmp_path / "cache").rglob("S2_*"))


def with_room_for(patches: int, setup: Setup) -> list[int]:
    """Let a model take so many patches at once and no more; return where it notes how many it took."""
    taken: list[int] = []

    def limited(module: torch.nn.Module, given: tuple[torch.Tensor, ...]) -> None:
        if len(given[0]) > patches:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        taken.append(len(given[0]))

    setup.model.register_forward_pre_hook(limited)
    return taken


@pytest.mark.parametrize("loss", ["cross_entropy", "lovasz"])
def test_a_batch_that_does_not_fit_is_scored_in_parts_with_the_same_scores_and_loss(
    places: Places, loss: str
) -> None:
    config = tiny(training__batch_size=4, training__loss=loss, training__precision="fp32", **ODD)
    setup = set_up(config, places, Role.SEARCH, "cpu")
    whole = evaluate_split(setup, setup.splits.validation)
    taken = with_room_for(2, setup)
    parts = evaluate_split(setup, setup.splits.validation)
    assert taken == [2, 2, 2, 1]
    assert parts.patch_ids == whole.patch_ids
    assert np.array_equal(parts.counts_NKK, whole.counts_NKK)
    assert parts.loss == pytest.approx(whole.loss, rel=1e-5)


def test_a_patch_that_does_not_fit_by_itself_ends_the_evaluation_with_advice(places: Places) -> None:
    setup = set_up(tiny(training__batch_size=4, **ODD), places, Role.SEARCH, "cpu")
    with_room_for(0, setup)
    with pytest.raises(OutOfMemory, match=r"patch by patch.*data\.temporal_length \(2\)"):
        evaluate_split(setup, setup.splits.validation)
