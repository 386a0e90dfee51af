"""Five folds: what the ledger hands out, and a sweep of them as a user runs it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest
from optuna.trial import TrialState, create_trial

from shapeft_tune.config import SweepConfig
from shapeft_tune.config.places import Places
from shapeft_tune.config.protocol import Role
from shapeft_tune.scores import CONFUSION_FILE, Scores
from shapeft_tune.tune.ledger.cell_ledger import CellLedger
from shapeft_tune.tune.ledger.ledger import Ledger
from shapeft_tune.tune.ledger.trials import LedgerTrial, State
from shapeft_tune.tune.trainable import trial_folder
from tests.tune.small import SMALL, run, small, written

SPLITS = [
    ((1, 2, 3), (4,), (5,)),
    ((2, 3, 4), (5,), (1,)),
    ((3, 4, 5), (1,), (2,)),
    ((4, 5, 1), (2,), (3,)),
    ((5, 1, 2), (3,), (4,)),
]
"""Train, validation and test, in the order of the five rotations."""
ONE_CELL = {"settings": {"label_fractions": [1.0], "temporal_lengths": [1]}}


def sweep(folds: str = "rotate", **changes: Any) -> SweepConfig:
    return small(**ONE_CELL | {"folds": folds} | changes)


@pytest.fixture
def opened(tmp_path: Path) -> Callable[..., CellLedger]:
    """Return a function that opens the ledger of the one cell, as a new driver would."""

    def open_cell(folds: str = "rotate", **changes: Any) -> CellLedger:
        (cell,) = Ledger.open(tmp_path, sweep(folds, **changes), "d").cells.values()
        return cell

    return open_cell


def worked_off(cell: CellLedger, most: int = 1000) -> list[LedgerTrial]:
    """Run what there is to run, one trial after another, and return the trials in order."""
    trials: list[LedgerTrial] = []
    while len(trials) < most and (trial := cell.next()):
        cell.end(trial, State.COMPLETE, 1 - trial.config.training.optimiser.lr)
        trials.append(trial)
    return trials


def splits(trials: list[LedgerTrial]) -> list[tuple[int, Any]]:
    """Return the seed and the folds of each trial."""
    folds = [(trial.config.seed, trial.config.data.folds) for trial in trials]
    return [(seed, (each.train, each.validation, each.test)) for seed, each in folds]


def test_the_search_keeps_its_folds_and_each_seed_is_confirmed_on_all_five(
    opened: Callable[..., CellLedger],
) -> None:
    trials = worked_off(opened())
    assert splits(trials) == [
        *[(0, SPLITS[0])] * 3,
        *[(1, split) for split in SPLITS],
        *[(2, split) for split in SPLITS],
    ]
    assert [trial.role for trial in trials] == [Role.SEARCH] * 3 + [Role.CONFIRMATION] * 10
    assert len({trial.fingerprint for trial in trials}) == 13


def test_a_ledger_without_a_file_hands_out_the_same(
    opened: Callable[..., CellLedger], tmp_path: Path
) -> None:
    (in_memory,) = Ledger.look(tmp_path / "none", sweep()).cells.values()
    assert [trial.fingerprint for trial in worked_off(in_memory)] == [
        trial.fingerprint for trial in worked_off(opened())
    ]


def test_every_rotation_is_the_best_configuration(opened: Callable[..., CellLedger]) -> None:
    cell = opened()
    worked_off(cell)
    best = cell.best()
    assert best is not None
    for trial in cell.confirmation_trials():
        assert trial.sampled == best.sampled
        data = trial.config.data.model_copy(update={"folds": best.config.data.folds})
        assert trial.config.model_copy(update={"data": data, "seed": 0}) == best.config


def test_the_true_number_of_trials_is_counted_from_before_the_first_to_after_the_last(
    opened: Callable[..., CellLedger], tmp_path: Path
) -> None:
    def count() -> Any:
        (there,) = Ledger.look(tmp_path, sweep()).counts()
        return there

    assert (count().confirmations_todo, count().confirmations_wanted, count().trials_todo) == (10, 10, 13)
    worked_off(opened(), most=3)
    assert (count().confirmations_todo, count().trials_todo) == (10, 10)
    worked_off(opened(), most=4)
    assert (count().confirmations_done, count().confirmations_todo, count().trials_done) == (4, 6, 7)
    worked_off(opened())
    assert (count().confirmations_done, count().trials_todo, count().done) == (10, 0, True)


@pytest.mark.parametrize("ended", range(3, 13))
def test_a_driver_that_died_in_the_middle_of_a_seed_goes_on_with_its_next_fold(
    opened: Callable[..., CellLedger], tmp_path: Path, ended: int
) -> None:
    (undisturbed,) = Ledger.open(tmp_path / "undisturbed", sweep(), "d").cells.values()
    expected = [trial.fingerprint for trial in worked_off(undisturbed)]
    cell = opened()
    before = worked_off(cell, most=ended)
    running = cell.next()  # handed out, and then the driver dies
    again = opened()
    left_over = again.unfinished()
    assert left_over == (running,)
    again.end(left_over[0], State.COMPLETE, 0.5)
    trials = [*before, *left_over, *worked_off(again)]
    assert [trial.fingerprint for trial in trials] == expected


def test_a_sweep_that_begins_to_rotate_adds_the_other_four_folds(opened: Callable[..., CellLedger]) -> None:
    fixed = worked_off(opened("fixed"))
    assert splits(fixed)[3:] == [(1, SPLITS[0]), (2, SPLITS[0])]
    added = worked_off(opened("rotate"))
    assert splits(added) == [(seed, split) for seed in (1, 2) for split in SPLITS[1:]]
    current = {trial.fingerprint for trial in opened("rotate").current_confirmations()}
    assert {trial.fingerprint for trial in fixed[3:]} < current
    assert len(current) == 10


def test_a_sweep_that_no_longer_rotates_is_done_and_keeps_its_trials(
    opened: Callable[..., CellLedger],
) -> None:
    worked_off(opened("rotate"))
    fixed = opened("fixed")
    assert worked_off(fixed) == []
    assert splits(list(fixed.current_confirmations())) == [(1, SPLITS[0]), (2, SPLITS[0])]
    assert len(fixed.confirmation_trials()) == 10


def test_confirmations_of_a_ledger_from_before_rotation_are_of_the_files_own_folds(
    opened: Callable[..., CellLedger],
) -> None:
    cell = opened("fixed")
    worked_off(cell, most=3)
    best = cell.best()
    assert best is not None
    attributes = {"seed": 1, "sampled": dict(best.sampled)}  # all that was written then
    cell._studies.study(Role.CONFIRMATION).add_trial(
        create_trial(state=TrialState.COMPLETE, value=0.5, user_attrs=attributes)
    )
    assert splits(list(opened("fixed").confirmation_trials())) == [(1, SPLITS[0])]
    assert splits(worked_off(opened("rotate")))[:5] == [*[(1, split) for split in SPLITS[1:]], (2, SPLITS[0])]


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return the file and the home of a sweep of one cell and one seed over five folds that has run."""
    folder = tmp_path_factory.mktemp("rotating")
    budget = {"trials": 1, "confirmation_seeds": 1}
    content = SMALL | ONE_CELL | {"name": "rotating", "folds": "rotate", "budget": budget}
    file = written(folder / "rotating.yaml", content)
    done = run("sweep", file, "--home", folder / "home", "--cpus", 2)
    assert done.returncode == 0, done.stderr
    assert all(f" on fold {fold}" in done.stdout for fold in range(1, 6))
    assert "five folds, confusions summed" in done.stdout
    return file, folder / "home"


def test_a_swept_seed_is_reported_by_the_sum_of_its_five_matrices(ran: tuple[Path, Path]) -> None:
    _, home = ran
    report = json.loads((home / "rotating" / "report" / "report.json").read_text())
    (cell,) = report["cells"]
    declared = sweep(name="rotating", budget={"trials": 1, "confirmation_seeds": 1})
    folder = Places(home).sweep_folder("rotating")
    trials = [trial for trial in Ledger.look(folder, declared).trials() if trial.role is Role.CONFIRMATION]
    assert splits(trials) == [(1, split) for split in SPLITS]
    files = [trial_folder(folder, "utae", trial.fingerprint) / CONFUSION_FILE for trial in trials]
    tested = [np.load(each) for each in files]
    patches = [patch for each in tested for patch in each["test_ids"]]
    assert len(patches) == len(set(patches)) == 10  # every patch of the sample was tested once
    summed_KK = np.concatenate([each["test_counts"] for each in tested]).sum(axis=0)
    assert cell["test_miou_mean"] == pytest.approx(Scores.of(summed_KK).miou)
    assert cell["test_overall_accuracy_mean"] == pytest.approx(np.trace(summed_KK) / summed_KK.sum())
    assert cell["test_miou_mean"] != pytest.approx(np.mean([trial.score for trial in trials]))
    assert (cell["confirmation_trials"], report["folds"]) == (1, "rotate")


def test_a_second_call_of_a_rotated_sweep_starts_nothing(ran: tuple[Path, Path]) -> None:
    file, home = ran
    plan = json.loads(run("plan", file, "--home", home, "--json").stdout)
    assert (plan["trials_to_do"], plan["trials_done"]) == (0, 6)


def test_the_runs_of_a_rotated_sweep_can_be_filtered_by_their_test_fold(ran: tuple[Path, Path]) -> None:
    client = mlflow.MlflowClient(f"sqlite:///{ran[1] / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("rotating").experiment_id
    for fold in range(1, 6):
        query = f"tags.role = 'confirmation' and tags.test_folds = '{fold}'"
        (found,) = client.search_runs([experiment], query)
        assert np.sum(json.loads(found.data.tags["test_confusion"])) > 0
