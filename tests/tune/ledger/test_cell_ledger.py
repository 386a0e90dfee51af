"""What a cell's ledger answers from memory, two objectives, and failed trials that are run again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from shapeft_tune.config import SweepConfig, load_sweep
from shapeft_tune.config.protocol import Role
from shapeft_tune.errors import ConfigError, LedgerError
from shapeft_tune.tune.ledger import asking
from shapeft_tune.tune.ledger.asking import VOID, void
from shapeft_tune.tune.ledger.cell_ledger import CellLedger
from shapeft_tune.tune.ledger.ledger import Ledger
from shapeft_tune.tune.ledger.trials import LedgerTrial, Spent, State
from tests.tune.small import SMALL, written
from tests.tune.synthetic import ONE_CELL, in_memory, only, peaked, smooth, worked_off

Open = Callable[..., CellLedger]


@pytest.fixture
def opened(tmp_path: Path) -> Open:
    """Return a function that opens the ledger of one cell, as a new driver would."""
    return lambda sweep: only(Ledger.open(tmp_path, sweep, "d"))


# Memory

pytestmark = pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
DEEDS = ["next", "next", "complete", "pruned", "failed", "retry", "report", "reopen", "wall"]
STEPS = st.lists(st.tuples(st.sampled_from(DEEDS), st.integers(1, 5)), min_size=10, max_size=25)


def carry_out(cell: CellLedger, deed: str, number: int) -> None:
    """Do something to the cell that a driver may do, to one of its running trials where it is about one."""
    running = cell.unfinished()
    if deed == "next":
        cell.next()
    elif deed == "reopen":
        cell.reopen_failed()
    elif deed == "wall":
        cell.note_wall_seconds(cell.wall_seconds + number)
    elif running:
        trial = running[number % len(running)]
        if deed == "report":
            cell.report(trial, 4, number / 5)
            return
        cell.spend(trial, Spent(number, 2.0 * number, 3.0 * number))
        if deed == "retry":
            cell.retry(trial, f"fault {number}")
        else:
            state = State(deed)
            cell.end(trial, state, number / 5, f"fault {number}" if state is State.FAILED else "")


def answers(cell: CellLedger) -> dict[str, Any]:
    return {
        "trials": tuple(map(plain, cell.trials())),
        "unfinished": tuple(map(plain, cell.unfinished())),
        "best": (best := cell.best()) and plain(best),
        "spent": (cell.spent(), cell.spent(Role.SEARCH), cell.spent(Role.CONFIRMATION)),
        "wall_seconds": cell.wall_seconds,
        "todo": (cell.search_todo(), cell.confirmations_to_come(), cell.has_work()),
        "confirmed": tuple(map(plain, cell.current_confirmations())),
        "budget": cell.budget_reached,
    }


def plain(trial: LedgerTrial) -> LedgerTrial:
    """Return a trial without its cell, which a file read twice makes twice."""
    return replace(trial, cell=None)  # type: ignore[arg-type]


@given(STEPS, st.sampled_from(["miou", "miou_and_cost"]))
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_what_is_answered_from_memory_is_what_a_ledger_opened_afresh_says(
    deeds: list[tuple[str, int]], objective: str
) -> None:
    budget = {"trials": 5, "confirmation_seeds": 2, "steps": 12, "device_hours": 0.01}
    sweep = smooth(budget=budget, objective=objective)
    with TemporaryDirectory() as folder:
        cell = only(Ledger.open(Path(folder), sweep, "d"))
        for deed, number in deeds:
            carry_out(cell, deed, number)
        assert answers(cell) == answers(only(Ledger.look(Path(folder), sweep)))


# Two objectives


def by_cost(**changes: Any) -> SweepConfig:
    return smooth(**{"objective": "miou_and_cost", "pruner": None} | changes)


def ended(cell: CellLedger, score: float, seconds: float) -> LedgerTrial:
    """Run the cell's next trial to its end, at a price."""
    trial = cell.next()
    assert trial is not None
    cell.spend(trial, Spent(8, seconds, seconds))
    return cell.end(trial, State.COMPLETE, score)


def test_two_objectives_are_told_to_optuna_and_the_best_is_the_best_miou(opened: Open) -> None:
    cell = opened(by_cost())
    trials = [ended(cell, score, seconds) for score, seconds in ((0.5, 90.0), (0.4, 5.0), (0.6, 200.0))]
    study = cell._studies.study(Role.SEARCH)
    assert study.directions == [StudyDirection.MAXIMIZE, StudyDirection.MINIMIZE]
    assert [each.values for each in study.get_trials()] == [[0.5, 90.0], [0.4, 5.0], [0.6, 200.0]]
    assert {each.number for each in study.best_trials} == {0, 1, 2}
    again = opened(by_cost())
    assert again.best() == cell.best() == trials[2]
    assert [trial.score for trial in again.search_trials()] == [0.5, 0.4, 0.6]


def test_of_equally_good_trials_the_cheaper_is_the_best_and_then_the_older(opened: Open) -> None:
    for sweep in (smooth(), by_cost(name="by_cost")):
        cell = opened(sweep)
        trials = [ended(cell, 0.5, seconds) for seconds in (30.0, 20.0, 20.0)]
        assert cell.best() == trials[1]
        assert opened(sweep).best() == trials[1]


def test_confirmations_of_a_sweep_with_two_objectives_follow_the_best_miou(opened: Open) -> None:
    sweep = by_cost(budget={"trials": 2, "confirmation_seeds": 1})
    cell = opened(sweep)
    ended(cell, 0.4, 1.0)
    best = ended(cell, 0.5, 9.0)
    confirmation = ended(cell, 0.45, 9.0)
    assert confirmation.role is Role.CONFIRMATION
    assert confirmation.sampled == best.sampled
    assert not opened(sweep).has_work()


def test_nothing_is_stopped_where_cost_is_an_objective(opened: Open) -> None:
    cell = opened(by_cost())
    for _ in range(6):
        trial = cell.next()
        assert trial is not None
        assert not any(cell.report(trial, step, 0.9 / step) for step in (4, 8))
        cell.end(trial, State.COMPLETE, 0.9)


@pytest.mark.parametrize("sampler", ["tpe", "random", "quasi_random", "gaussian_process", "grid"])
def test_every_sampler_but_cma_es_takes_two_objectives(sampler: str) -> None:
    options = {} if sampler in ("random", "quasi_random", "grid") else {"startup_trials": 3}
    cell = only(in_memory(by_cost(sampler={"name": sampler} | options, trials=8)))
    assert len(worked_off(cell)) == 8


def test_tpe_learns_both_objectives() -> None:
    cell = only(in_memory(by_cost(sampler="tpe", trials=30)))
    for _ in range(30):
        trial = cell.next()
        assert trial is not None
        cell.spend(trial, Spent(8, 1.0, 100 * trial.config.training.optimiser.weight_decay))
        cell.end(trial, State.COMPLETE, peaked(trial))
    late = [trial.config.training.optimiser.weight_decay for trial in cell.search_trials()[15:]]
    assert min(late) < 0.02  # the cheap end, where mIoU alone is poor
    assert max(map(peaked, cell.search_trials()[15:])) > 0.97


@pytest.mark.parametrize(
    ("optimisation", "field"),
    [
        ({"pruner": {"name": "median"}}, "optimisation.pruner"),
        ({"sampler": "cma_es", "pruner": "none"}, "optimisation.sampler"),
    ],
)
def test_a_pruner_and_cma_es_are_refused_beside_two_objectives(
    optimisation: dict[str, Any], field: str, tmp_path: Path
) -> None:
    content = SMALL | {"optimisation": {"objective": "miou_and_cost"} | optimisation}
    with pytest.raises(ConfigError) as caught:
        load_sweep(written(tmp_path / "sweep.yaml", content))
    assert field in [problem.path for problem in caught.value.problems]


def test_the_pruner_is_none_by_default_where_cost_is_an_objective() -> None:
    assert by_cost().optimisation.stopping.name == "none"
    assert smooth(pruner=None).optimisation.stopping.name == "median"


@pytest.mark.parametrize("first", ["miou", "miou_and_cost"])
def test_another_objective_is_refused_because_a_study_has_its_objectives_for_good(
    first: str, opened: Open
) -> None:
    (other,) = {"miou", "miou_and_cost"} - {first}
    ended(opened(smooth(objective=first)), 0.5, 1.0)
    with pytest.raises(LedgerError, match="objective was"):
        opened(smooth(objective=other))


# Failed trials that are run again


def with_rate(rate: float) -> dict[str, Any]:
    training = SMALL["base"]["training"] | {"optimiser": {"name": "adamw", "lr": rate}}
    return SMALL["base"] | {"training": training}


def failing(cell: CellLedger, which: Callable[[LedgerTrial], bool]) -> list[LedgerTrial]:
    """Work the cell off; trials that are told fail, the others score alike."""
    trials: list[LedgerTrial] = []
    while trial := cell.next():
        state = State.FAILED if which(trial) else State.COMPLETE
        trials.append(cell.end(trial, state, 0.5 if state is State.COMPLETE else None, "a fault"))
    return trials


@pytest.mark.parametrize("restart", [False, True], ids=["at once", "after a restart"])
def test_failed_search_trials_are_run_again_with_the_same_configurations(opened: Open, restart: bool) -> None:
    sweep = smooth(trials=4)
    cell = opened(sweep)
    before = failing(cell, lambda trial: trial.number in (1, 2))
    if restart:
        cell = opened(sweep)
    assert cell.reopen_failed() == 2
    assert (cell.search_todo(), len(cell.search_trials())) == (2, 2)
    again = failing(cell, lambda trial: False)
    assert [trial.fingerprint for trial in again] == [trial.fingerprint for trial in before[1:3]]
    assert [trial.origin for trial in again] == [trial.origin for trial in before[1:3]]
    assert {trial.state for trial in opened(sweep).trials()} == {State.COMPLETE}
    assert not opened(sweep).has_work()
    assert opened(sweep).reopen_failed() == 0


def test_a_default_that_failed_is_run_again_as_the_default(opened: Open) -> None:
    cell = opened(smooth(trials=2))
    failing(cell, lambda trial: trial.number == 0)
    cell.reopen_failed()
    assert [trial.origin for trial in failing(cell, lambda trial: False)] == ["default"]


def test_a_driver_that_dies_after_striking_out_leaves_its_repeats_to_the_next(opened: Open) -> None:
    sweep = smooth(trials=4)
    before = failing(opened(sweep), lambda trial: trial.number in (1, 2))
    opened(sweep).reopen_failed()
    one = opened(sweep)
    repeated = one.next()  # and this driver dies, too
    assert repeated is not None
    again = opened(sweep)
    again.end(repeated, State.COMPLETE, 0.5)
    (other,) = failing(again, lambda trial: False)
    assert [repeated.fingerprint, other.fingerprint] == [trial.fingerprint for trial in before[1:3]]
    assert not opened(sweep).has_work()


def test_a_repeat_that_fails_again_is_not_repeated_for_ever(opened: Open) -> None:
    sweep = smooth(trials=3)
    before = failing(opened(sweep), lambda trial: trial.number == 1)
    assert opened(sweep).reopen_failed() == 1
    assert len(failing(opened(sweep), lambda trial: True)) == 1
    assert not opened(sweep).has_work()
    more = failing(opened(smooth(trials=4)), lambda trial: False)
    assert len(more) == 1
    assert more[0].fingerprint != before[1].fingerprint


def test_only_failed_trials_for_which_there_is_budget_are_run_again(opened: Open) -> None:
    def limited(**budget: int) -> SweepConfig:
        return smooth(budget={"trials": 4, "confirmation_seeds": 0} | budget)

    cell = opened(limited(steps=32))
    while trial := cell.next():
        cell.spend(trial, Spent(8, 1.0, 1.0))
        cell.end(trial, State.FAILED, message="a fault")
    assert opened(limited(steps=32)).reopen_failed() == 0
    assert [trial.state for trial in opened(limited(steps=32)).trials()] == [State.FAILED] * 4
    assert opened(limited(trials=2)).reopen_failed() == 2
    assert len(opened(limited()).trials()) == 2


def test_failed_trials_of_a_space_that_is_exhausted_are_run_again(opened: Open) -> None:
    search = {"training.batch_size": {"choice": [2, 4]}, "training.optimiser.lr": {"uniform": [0.1, 0.2]}}
    few = ["training.optimiser.lr > 0.2 or training.optimiser.lr == 0.1"]
    cell = opened(smooth(search=search, trials=5, constraints=few, base=with_rate(0.1)))
    tried = failing(cell, lambda trial: True)
    assert not cell.has_work()
    assert cell.reopen_failed() == len(tried) > 0
    assert len(failing(cell, lambda trial: False)) == len(tried)


def test_a_failed_confirmation_is_run_again_with_its_seed(opened: Open) -> None:
    sweep = smooth(budget={"trials": 2, "confirmation_seeds": 3})
    cell = opened(sweep)
    failing(cell, lambda trial: trial.role is Role.CONFIRMATION and trial.config.seed == 2)
    assert not cell.has_work()
    again = opened(sweep)
    assert again.reopen_failed() == 1
    (repeated,) = failing(again, lambda trial: False)
    assert (repeated.role, repeated.config.seed) == (Role.CONFIRMATION, 2)
    assert len(opened(sweep).current_confirmations()) == 3


def test_a_failed_rotation_is_run_again_so_that_its_seed_is_complete(opened: Open) -> None:
    sweep = smooth(budget={"trials": 2, "confirmation_seeds": 2}, folds="rotate", settings=ONE_CELL)
    cell = opened(sweep)
    trials = failing(cell, lambda trial: trial.role is Role.CONFIRMATION and trial.number in (3, 7))
    failed = [trial for trial in trials if trial.state is State.FAILED]
    assert [(trial.config.seed, trial.config.data.folds.test) for trial in failed] == [(1, (3,)), (2, (2,))]
    again = opened(sweep)
    assert again.reopen_failed() == 2
    repeated = failing(again, lambda trial: False)
    assert [trial.fingerprint for trial in repeated] == [trial.fingerprint for trial in failed]
    whole = opened(sweep).current_confirmations()
    assert len({(trial.config.seed, trial.config.data.folds.test) for trial in whole}) == 10
    assert {trial.state for trial in whole} == {State.COMPLETE}


# A driver that dies while it asks


class Killed(BaseException):
    """The driver's end."""


SAMPLED_TWICE: dict[str, Any] = {
    "search": {"training.batch_size": {"choice": [2, 4, 8]}, "training.loss": {"choice": ["dice", "focal"]}}
}
AGAINST_A_CONSTRAINT: dict[str, Any] = {"constraints": ["training.optimiser.lr < 0.0005"]}
NO_VALID_TRIAL: dict[str, Any] = {
    "search": {"training.steps": {"int": [4, 40]}, "validation.every": {"int": [2, 30]}},
    "constraints": ["validation.every <= training.steps"],
}
REJECTED = pytest.mark.parametrize("kind", [SAMPLED_TWICE, AGAINST_A_CONSTRAINT, NO_VALID_TRIAL])


@REJECTED
def test_what_a_driver_rejected_when_it_died_is_struck_out(
    opened: Open, kind: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = smooth(trials=6, **kind)

    def die(*arguments: Any) -> None:
        raise Killed

    with monkeypatch.context() as dying:
        dying.setattr(asking, "void", die)
        with pytest.raises(Killed):
            failing(opened(sweep), lambda trial: False)
    cell = opened(sweep)
    assert cell.unfinished() == ()
    states = {each.state for each in cell._studies.study(Role.SEARCH).get_trials() if VOID in each.user_attrs}
    assert states == {TrialState.FAIL}
    failing(cell, lambda trial: False)
    fingerprints = [trial.fingerprint for trial in opened(sweep).search_trials()]
    assert len(fingerprints) == len(set(fingerprints)) == 6


@REJECTED
def test_what_a_driver_is_judging_is_not_seen_by_others(
    opened: Open, kind: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    sweep, seen = smooth(trials=6, **kind), []

    def looked_at(study: Study, trial: FrozenTrial) -> None:
        seen.append(len(only(Ledger.look(tmp_path, sweep)).unfinished()))
        void(study, trial)

    monkeypatch.setattr(asking, "void", looked_at)
    failing(opened(sweep), lambda trial: False)
    assert seen
    assert set(seen) == {0}


def test_a_good_trial_whose_driver_died_before_it_could_hand_it_out_is_handed_out_by_the_next(
    opened: Open, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def die(*arguments: Any) -> None:
        raise Killed

    sweep = smooth(trials=3)
    undisturbed = failing(only(in_memory(sweep)), lambda trial: False)
    with monkeypatch.context() as dying:
        dying.setattr(asking, "hand_out", die)
        with pytest.raises(Killed):
            failing(opened(sweep), lambda trial: False)
    assert only(Ledger.look(tmp_path, sweep)).unfinished() == ()
    cell = opened(sweep)
    (left_over,) = cell.unfinished()
    cell.end(left_over, State.COMPLETE, 0.5)
    failing(cell, lambda trial: False)
    assert [trial.fingerprint for trial in cell.trials()] == [trial.fingerprint for trial in undisturbed]


def test_an_older_ledger_marks_nothing_and_goes_on_with_what_ran_but_not_with_the_same_twice(
    opened: Open,
) -> None:
    sweep = smooth(trials=4)
    cell = opened(sweep)
    ended(cell, 0.5, 1.0)
    study = cell._studies.study(Role.SEARCH)
    ranges = cell._space.distributions
    place = {"training.optimiser.lr": 0.01, "training.optimiser.weight_decay": 0.02}
    for state in (TrialState.COMPLETE, TrialState.RUNNING, TrialState.RUNNING):
        changed = place | ({"training.optimiser.lr": 0.02} if state is TrialState.COMPLETE else {})
        value = 0.4 if state is TrialState.COMPLETE else None
        study.add_trial(create_trial(state=state, params=changed, distributions=ranges, value=value))
    again = opened(sweep)
    assert [trial.state for trial in again.search_trials()] == [
        State.COMPLETE,
        State.COMPLETE,
        State.RUNNING,
    ]
    assert again.unfinished()[0].sampled == place
    assert opened(sweep).unfinished() == again.unfinished()
    assert again.search_todo() == 1


def test_confirmations_of_an_older_ledger_that_ran_go_on(opened: Open) -> None:
    sweep = smooth(budget={"trials": 1, "confirmation_seeds": 1})
    cell = opened(sweep)
    ended(cell, 0.5, 1.0)
    running = cell.next()
    assert running is not None
    assert running.role is Role.CONFIRMATION
    assert opened(sweep).unfinished() == (running,)
