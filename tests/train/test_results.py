from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from shapeft_tune.config.places import Places
from shapeft_tune.config.protocol import Role
from shapeft_tune.scores import CONFUSION_FILE
from shapeft_tune.train import TrialResult, run_trial
from shapeft_tune.train.results import LABELS_FILE, RESULT_FILE
from tests.train.tiny import tiny


def test_the_result_of_a_trial_tells_its_speed_without_validation(places: Places, folder: Path) -> None:
    result = run_trial(tiny(), places, folder, device="cpu")
    assert 0 < result.train_seconds < result.seconds
    assert result.metrics()["cost/steps_per_second"] == pytest.approx(12 / result.train_seconds)


def test_a_result_on_a_cpu_tells_nothing_of_memory(places: Places, folder: Path) -> None:
    result = run_trial(tiny(), places, folder, device="cpu")
    assert result.peak_memory_bytes is None
    assert "cost/peak_memory_gb" not in result.metrics()


def test_a_result_that_was_stored_before_speed_and_memory_were_is_read(places: Places, folder: Path) -> None:
    result = run_trial(tiny(), places, folder, device="cpu")
    content = json.loads((folder / RESULT_FILE).read_text())
    for name in ("train_seconds", "pieces", "peak_memory_bytes"):
        del content[name]
    (folder / RESULT_FILE).write_text(json.dumps(content))
    stored = TrialResult.load(folder)
    assert stored is not None
    assert (stored.validation, stored.pieces) == (result.validation, 1)
    assert stored.steps_per_second is None
    assert "cost/steps_per_second" not in stored.metrics()


def test_the_metrics_of_a_confirmation_tell_every_class_and_both_conventions(
    places: Places, folder: Path
) -> None:
    result = run_trial(tiny(), places, folder, role=Role.CONFIRMATION, device="cpu")
    metrics, test = result.metrics(), result.test
    assert test is not None
    assert (metrics["test/miou"], metrics["test/miou_seed20"]) == (test.miou, test.miou_seed20)
    assert metrics["test/macro_f1"] == test.macro_f1
    assert metrics["best/val_miou_seed20"] == result.validation.miou_seed20
    for prefix, scores in (("best/iou/", result.validation), ("test/iou/", test)):
        told = {name.removeprefix(prefix): iou for name, iou in metrics.items() if name.startswith(prefix)}
        by_class = zip(result.class_names, scores.iou, strict=True)
        assert told == {name: iou for name, iou in by_class if iou is not None}


@pytest.mark.parametrize(
    ("role", "splits"), [(Role.SEARCH, {"validation"}), (Role.CONFIRMATION, {"validation", "test"})]
)
def test_a_trial_notes_on_how_many_patches_it_is_scored(
    places: Places, folder: Path, role: Role, splits: set[str]
) -> None:
    run_trial(tiny(), places, folder, role=role, device="cpu")
    noted = json.loads((folder / LABELS_FILE).read_text())
    with np.load(folder / CONFUSION_FILE) as arrays:
        assert noted["patches"] == {name: len(arrays[f"{name}_ids"]) for name in splits}
