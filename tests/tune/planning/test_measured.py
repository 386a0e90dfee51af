"""What is known of a trial's cost, from the ledger's past and from calibrations that were kept."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from shapeft_tune.tune.ledger.ledger import Ledger
from shapeft_tune.tune.ledger.trials import LedgerTrial, Spent, State
from shapeft_tune.tune.orders import trial_folder
from shapeft_tune.tune.planning.measured import Measured, keep, kept, meaning_of_kind, of_the_past
from tests.tune.small import small

KIND = ("utae", 1)


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger.open(tmp_path, small(), "d")


def ended(ledger: Ledger, spent: Spent, state: State = State.COMPLETE) -> LedgerTrial:
    """Hand out a trial of the first cell and end it."""
    cell = next(iter(ledger.cells.values()))
    trial = cell.next()
    assert trial
    cell.spend(trial, spent)
    return cell.end(trial, state, 0.5)


def with_result(trial: LedgerTrial, folder: Path, **content: Any) -> None:
    """Write what a worker would leave of a complete trial."""
    own = trial_folder(folder, trial.cell.strategy, trial.fingerprint)
    own.mkdir(parents=True)
    result = {"device": "cuda", "steps": 8, "seconds": 10.0, "train_seconds": 4.0} | content
    (own / "result.json").write_text(json.dumps(result))
    (own / "best.pt").write_bytes(bytes(77))


def test_a_ledger_without_an_ended_trial_says_nothing(ledger: Ledger, tmp_path: Path) -> None:
    assert ledger.cells[next(iter(ledger.cells))].next()
    assert of_the_past(ledger, tmp_path) == {}


def test_the_ledger_alone_tells_steps_with_their_validations(ledger: Ledger, tmp_path: Path) -> None:
    ended(ledger, Spent(8, 10.0, 10.0))
    ended(ledger, Spent(4, 2.0, 2.0), State.PRUNED)
    past = of_the_past(ledger, tmp_path)
    assert past.keys() == {KIND}
    assert past[KIND].steps_per_second == pytest.approx(12 / 12)
    assert (past[KIND].validation_seconds, past[KIND].trials, past[KIND].batch_size) == (None, 2, 2)


def test_results_of_complete_trials_tell_steps_and_validations_apart(ledger: Ledger, tmp_path: Path) -> None:
    with_result(ended(ledger, Spent(8, 10.0, 10.0)), tmp_path, peak_memory_bytes=5)
    with_result(ended(ledger, Spent(8, 12.0, 12.0)), tmp_path, seconds=12.0, peak_memory_bytes=9)
    past = of_the_past(ledger, tmp_path)[KIND]
    assert past.steps_per_second == pytest.approx(16 / 8)
    assert past.validation_seconds == pytest.approx((6 + 8) / 4)  # each was validated twice
    assert (past.peak_memory_bytes, past.best_bytes, past.device) == (9, 77, "cuda")


def test_a_result_that_does_not_tell_training_apart_is_passed_over(ledger: Ledger, tmp_path: Path) -> None:
    with_result(ended(ledger, Spent(8, 10.0, 10.0)), tmp_path, train_seconds=0.0)
    past = of_the_past(ledger, tmp_path)[KIND]
    assert (past.steps_per_second, past.validation_seconds) == (pytest.approx(0.8), None)


def test_a_calibration_is_kept_for_what_it_ran_and_for_nothing_else(tmp_path: Path) -> None:
    measured = Measured(*KIND, steps_per_second=2.5, source="calibration", meaning="aa", last_bytes=3)
    keep(measured, tmp_path)
    assert kept(tmp_path, {KIND: "aa", ("utae", 3): "aa"}) == {KIND: measured}
    assert kept(tmp_path, {KIND: "bb"}) == {}


def test_a_file_of_another_version_is_no_calibration(tmp_path: Path) -> None:
    keep(Measured(*KIND, steps_per_second=2.5, source="calibration"), tmp_path)
    (file,) = (tmp_path / "measured").iterdir()
    file.write_text('{"strategy": "utae", "colour": "red"}')
    assert kept(tmp_path, {KIND: ""}) == {}


def test_labels_make_no_difference_to_what_a_calibration_means() -> None:
    cells = small(settings={"label_fractions": [0.5, 1.0], "temporal_lengths": [1, 3]}).cells
    meanings = {
        (cell.label_fraction, cell.temporal_length): meaning_of_kind(cell.trial(cell.first_corners))
        for cell in cells
    }
    assert meanings[0.5, 1] == meanings[1.0, 1] != meanings[1.0, 3]
