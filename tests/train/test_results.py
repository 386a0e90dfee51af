from __future__ import annotations

import json
from pathlib import Path

import pytest

from shapeft_tune.config.places import Places
from shapeft_tune.train import TrialResult, run_trial
from shapeft_tune.train.results import RESULT_FILE
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
