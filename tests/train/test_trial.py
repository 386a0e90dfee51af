from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from shapeft_tune.config import TrialConfig
from shapeft_tune.config.places import Places
from shapeft_tune.config.protocol import Role
from shapeft_tune.data import open_dataset
from shapeft_tune.errors import DataError, Interrupted, NonFiniteLoss, TrialError, UserError, WeightsError
from shapeft_tune.models import load_encoder
from shapeft_tune.train import Progress, Scores, TrialResult, evaluate_trial, find_trial, run_trial
from shapeft_tune.train.checkpoint import load_tensors
from shapeft_tune.train.loop import BEST, LAST
from tests.train.tiny import tiny

CROMA = {
    "name": "croma_optical",
    "size": "small",
    "temporal": {"name": "ltae", "heads": 2, "width": 8},
    "decoder": {"name": "upernet", "channels": 8, "pool_sizes": [1, 2]},
}


TO_BE_STOPPED: dict[str, Any] = {"training__steps": 26, "validation__every": 13}


def stopping_after(looks: int) -> Callable[[], bool]:
    """Return a wish to stop that comes with the given look."""
    left = iter(range(looks))
    return lambda: next(left, None) is None


def test_a_trial_tells_of_each_validation_and_ends_with_the_best(places: Places, folder: Path) -> None:
    told: list[Progress] = []
    result = run_trial(tiny(), places, folder, on_progress=told.append)
    assert [progress.step for progress in told] == [4, 8, 12]
    best = max(told, key=lambda progress: progress.validation.miou)
    assert (result.best_step, result.validation) == (best.step, best.validation)
    assert result.test is None
    assert TrialResult.load(folder) == result


@pytest.mark.parametrize(
    "config",
    [
        tiny(**TO_BE_STOPPED),
        tiny(**TO_BE_STOPPED, training__optimiser={"name": "sgd"}),
        *(
            tiny(**TO_BE_STOPPED, model=CROMA | {"tuning": {"weights": "none", **tuning}})
            for tuning in (
                {"mode": "frozen"},
                {"mode": "finetune", "frozen_share": 0.9},
                {"mode": "finetune", "frozen_share": 0.4, "layer_decay": 0.5},
                {"mode": "lora", "rank": 2, "dropout": 0.1},
            )
        ),
    ],
    ids=["adamw", "sgd", "frozen encoder", "in the first stage", "in the second stage", "lora"],
)
def test_a_trial_that_was_stopped_between_validations_ends_with_the_weights_of_an_undisturbed_one(
    places: Places, tmp_path: Path, config: TrialConfig
) -> None:
    undisturbed: list[Progress] = []
    run_trial(config, places, tmp_path / "undisturbed", on_progress=undisturbed.append)
    told: list[Progress] = []
    with pytest.raises(Interrupted, match="step 20 of 26"):
        run_trial(
            config, places, tmp_path / "stopped", on_progress=told.append, should_stop=stopping_after(2)
        )
    torch.manual_seed(999)  # nothing but the checkpoint may decide what comes
    run_trial(config, places, tmp_path / "stopped", on_progress=told.append)
    ours, theirs = (load_tensors(tmp_path / name / BEST)["model"] for name in ("stopped", "undisturbed"))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert [progress.validation for progress in told] == [progress.validation for progress in undisturbed]


def test_a_finished_trial_is_not_run_again(places: Places, folder: Path) -> None:
    first = run_trial(tiny(), places, folder)
    told: list[Progress] = []
    assert run_trial(tiny(), places, folder, on_progress=told.append) == first
    assert not told


def test_the_seed_decides_weights_order_and_labels(places: Places, tmp_path: Path) -> None:
    first, same, other = (
        run_trial(tiny(seed=seed, data__label_fraction=0.5), places, tmp_path / name)
        for seed, name in ((1, "a"), (1, "b"), (2, "c"))
    )
    assert first.validation == same.validation
    assert first.labelled_patches == same.labelled_patches != other.labelled_patches


def test_only_a_confirmation_trial_is_scored_on_the_test_folds(places: Places, folder: Path) -> None:
    result = run_trial(tiny(), places, folder, role=Role.CONFIRMATION)
    assert result.test is not None
    counts = np.load(folder / "confusion.npz")
    assert Scores.of(counts["test_counts"].astype(np.int64).sum(0)) == result.test
    assert Scores.of(counts["validation_counts"].astype(np.int64).sum(0)) == result.validation
    assert set(counts["test_ids"]).isdisjoint(counts["validation_ids"])


def test_a_finished_search_trial_is_scored_on_the_test_folds_without_training_again(
    places: Places, folder: Path, tmp_path: Path
) -> None:
    searched = run_trial(tiny(), places, folder)
    told: list[Progress] = []
    scored = run_trial(tiny(), places, folder, role=Role.CONFIRMATION, on_progress=told.append)
    assert not told
    assert scored.validation == searched.validation
    assert scored.test == run_trial(tiny(), places, tmp_path / "other", role=Role.CONFIRMATION).test


def test_a_stored_trial_scores_the_same_when_evaluated_again(places: Places, folder: Path) -> None:
    result = run_trial(tiny(), places, folder, role=Role.CONFIRMATION)
    assert evaluate_trial(folder, places, "validation").scores == result.validation
    assert evaluate_trial(folder, places, "test").scores == result.test


def test_the_test_folds_of_a_search_trial_stay_closed_to_evaluation(places: Places, folder: Path) -> None:
    run_trial(tiny(), places, folder)
    with pytest.raises(UserError, match="stay closed to a search trial"):
        evaluate_trial(folder, places, "test")


def test_a_loss_that_is_not_finite_ends_the_trial_and_says_what_may_help(
    places: Places, folder: Path
) -> None:
    config = tiny(training__optimiser={"name": "sgd", "lr": 100.0}, training__gradient_clip=None)
    with pytest.raises(NonFiniteLoss, match="lower learning rate"):
        run_trial(config, places, folder)


def test_a_damaged_checkpoint_is_named(places: Places, folder: Path) -> None:
    with pytest.raises(Interrupted):
        run_trial(tiny(training__steps=20), places, folder, should_stop=lambda: True)
    (folder / LAST).write_bytes((folder / LAST).read_bytes()[:100])
    with pytest.raises(TrialError, match=r"last.pt: damaged checkpoint"):
        run_trial(tiny(training__steps=20), places, folder)


def test_the_checkpoint_of_another_trial_is_refused(places: Places, folder: Path) -> None:
    with pytest.raises(Interrupted):
        run_trial(tiny(training__steps=20), places, folder, should_stop=lambda: True)
    with pytest.raises(TrialError, match="expected trial"):
        run_trial(tiny(training__steps=20, seed=5), places, folder)


def test_frozen_parameters_are_not_written_to_checkpoints(places: Places, folder: Path) -> None:
    config = tiny(model=CROMA | {"tuning": {"mode": "frozen", "weights": "none"}})
    run_trial(config, places, folder)
    assert not any(name.startswith("encoder") for name in load_tensors(folder / BEST)["model"])


def test_of_an_encoder_under_lora_only_the_updates_are_written_to_checkpoints(
    places: Places, folder: Path
) -> None:
    run_trial(tiny(model=CROMA | {"tuning": {"mode": "lora", "weights": "none"}}), places, folder)
    kept = [name for name in load_tensors(folder / BEST)["model"] if name.startswith("encoder")]
    assert kept
    assert all("lora_" in name for name in kept)


def test_a_trial_trained_on_windows_is_scored_on_whole_patches(places: Places, folder: Path) -> None:
    model = CROMA | {"tuning": "scratch"}
    run_trial(tiny(model=model | {"input": {"name": "windows", "side": 8}}), places, folder)
    run_trial(tiny(model=model), places, folder.with_name("whole"))
    pixels = [
        np.load(each / "confusion.npz")["validation_counts"].sum(axis=(1, 2))
        for each in (folder, folder.with_name("whole"))
    ]
    assert pixels[0].tolist() == pixels[1].tolist()


def test_a_budget_in_epochs_gives_fewer_labels_fewer_steps(places: Places, tmp_path: Path) -> None:
    whole = run_trial(tiny(training__steps={"epochs": 3}), places, tmp_path / "a")
    half = run_trial(tiny(training__steps={"epochs": 3}, data__label_fraction=0.5), places, tmp_path / "b")
    assert (whole.steps, half.steps) == (9, 5)  # 3 x 6 and 3 x 3 patches in batches of 2


def test_training_lowers_the_loss(places: Places, folder: Path) -> None:
    told: list[Progress] = []
    run_trial(tiny(training__steps=60, validation__every=20), places, folder, on_progress=told.append)
    assert told[-1].train_loss < told[0].train_loss


def test_nothing_half_written_is_left_behind(places: Places, folder: Path) -> None:
    run_trial(tiny(), places, folder)
    assert {path.name for path in folder.iterdir()} == {
        "config.json",
        "environment.json",
        "labels.json",
        "best.pt",
        "result.json",
        "confusion.npz",
    }


def test_a_trial_is_found_by_its_folder_or_the_start_of_its_fingerprint(tmp_path: Path) -> None:
    folder = tmp_path / "sweep" / "trials" / "utae" / "abc123"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({}))
    assert find_trial(str(folder), tmp_path) == find_trial("abc", tmp_path) == folder
    with pytest.raises(UserError, match="found none"):
        find_trial("xyz", tmp_path)


def test_a_trial_that_trained_all_its_weights_is_scored_without_the_checkpoint_it_began_with(
    tmp_path: Path, folder: Path
) -> None:
    places = Places(tmp_path / "home")
    places.weights_folder.mkdir(parents=True)
    state = load_encoder("croma_optical", "none", size="small").state_dict()
    torch.save({"s2_encoder": state}, places.weights_folder / "mine.pt")
    config = tiny(training__steps=4, model=CROMA | {"tuning": {"mode": "finetune", "weights": "mine.pt"}})
    result = run_trial(config, places, folder)
    (places.weights_folder / "mine.pt").unlink()
    assert evaluate_trial(folder, places, "validation").scores == result.validation


def test_patches_of_nothing_but_void_are_refused(places: Places, tmp_path: Path) -> None:
    config = tiny()
    folder = open_dataset(config.data.dataset, data=None, home=places.home).root
    copied = Places(tmp_path / "home", data=tmp_path / "void")
    shutil.copytree(folder, tmp_path / "void")
    for target in (tmp_path / "void" / "ANNOTATIONS").iterdir():
        np.save(target, np.full_like(np.load(target), 19))
    with pytest.raises(DataError, match="nothing but void"):
        run_trial(tiny(data__dataset="pastis"), copied, tmp_path / "trial")


def test_a_stored_trial_is_not_scored_with_another_checkpoint_than_it_began_with(
    tmp_path: Path, folder: Path
) -> None:
    def save(seed: int) -> None:
        torch.manual_seed(seed)
        state = load_encoder("croma_optical", "none", size="small").state_dict()
        torch.save({"s2_encoder": state}, places.weights_folder / "mine.pt")

    places = Places(tmp_path / "home")
    places.weights_folder.mkdir(parents=True)
    save(seed=1)
    config = tiny(training__steps=4, model=CROMA | {"tuning": {"mode": "frozen", "weights": "mine.pt"}})
    result = run_trial(config, places, folder)
    assert evaluate_trial(folder, places, "validation").scores == result.validation
    save(seed=2)
    with pytest.raises(WeightsError, match=r"mine\.pt"):
        evaluate_trial(folder, places, "validation")
