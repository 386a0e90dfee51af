from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from shapeft_tune.config.protocol import Role
from shapeft_tune.errors import LedgerError
from shapeft_tune.tune.ledger.cell_ledger import CellLedger
from shapeft_tune.tune.ledger.ledger import Ledger
from shapeft_tune.tune.ledger.ledger_storage import LEDGER_FILE
from shapeft_tune.tune.ledger.trials import LedgerTrial, State
from tests.tune.small import SMALL, UTAE, small

Score = Callable[[LedgerTrial], float]


@pytest.fixture
def opened(tmp_path: Path) -> Callable[..., Ledger]:
    return lambda sweep=None, data="d": Ledger.open(tmp_path, sweep or small(), data)


def first(ledger: Ledger) -> CellLedger:
    return next(iter(ledger.cells.values()))


def by_lr(trial: LedgerTrial) -> float:
    """Score a trial by its learning rate: a peak at 0.004."""
    return 1 - abs(trial.config.training.optimiser.lr - 0.004) * 100


def worked_off(ledger: Ledger, score: Score = by_lr) -> list[LedgerTrial]:
    """Run everything there is to run, one trial after another, and return the trials in order."""
    trials: list[LedgerTrial] = []
    for cell in ledger.cells.values():
        while trial := cell.next():
            cell.end(trial, State.COMPLETE, score(trial))
            trials.append(trial)
    return trials


def test_a_worked_off_ledger_has_nothing_more_to_do_when_opened_again(opened: Callable[..., Ledger]) -> None:
    trials = worked_off(opened())
    assert len({trial.fingerprint for trial in trials}) == len(trials) == 2 * (3 + 2)
    assert all(count.done for count in opened().counts())
    assert worked_off(opened()) == []


def test_the_configuration_of_the_file_is_tried_first(opened: Callable[..., Ledger]) -> None:
    trial = first(opened()).next()
    assert trial is not None
    assert trial.config.training.optimiser.lr == 0.002


def test_confirmations_wait_for_the_end_of_the_search(opened: Callable[..., Ledger]) -> None:
    cell = first(opened())
    running = [cell.next() for _ in range(3)]
    assert cell.next() is None
    for trial in running[:2]:
        cell.end(trial, State.COMPLETE, 0.5)
    assert cell.next() is None
    cell.end(running[2], State.FAILED, message="diverged")
    assert cell.next().role is Role.CONFIRMATION


def test_confirmations_repeat_the_best_configuration_with_other_seeds(opened: Callable[..., Ledger]) -> None:
    ledger = opened()
    trials = [trial for trial in worked_off(ledger) if trial.cell is first(ledger).cell]
    search = [trial for trial in trials if trial.role is Role.SEARCH]
    best = max(search, key=by_lr)
    confirmations = [trial for trial in trials if trial.role is Role.CONFIRMATION]
    assert [trial.config.seed for trial in confirmations] == [1, 2]
    assert {trial.config.seed for trial in search} == {0}
    assert all(trial.config.model_copy(update={"seed": 0}) == best.config for trial in confirmations)


def test_confirmations_do_not_teach_the_search(opened: Callable[..., Ledger]) -> None:
    worked_off(opened(), lambda trial: 0.9 if trial.role is Role.CONFIRMATION else by_lr(trial))
    best = first(opened()).best()
    assert best.role is Role.SEARCH


def test_an_interrupted_search_draws_what_an_undisturbed_one_would(tmp_path: Path) -> None:
    undisturbed = worked_off(Ledger.open(tmp_path / "a", small(), "d"))
    ledger = Ledger.open(tmp_path / "b", small(), "d")
    for cell in ledger.cells.values():
        cell.next()  # handed out, and then the driver dies
    again = Ledger.open(tmp_path / "b", small(), "d")
    left_over = [trial for cell in again.cells.values() for trial in cell.unfinished()]
    assert len(left_over) == 2
    for trial in left_over:
        again.cells[trial.cell.key].end(trial, State.COMPLETE, by_lr(trial))
    continued = left_over + worked_off(again)
    assert {trial.fingerprint for trial in continued} == {trial.fingerprint for trial in undisturbed}


def test_a_checkpoint_that_was_overwritten_is_refused_with_both_digests(tmp_path: Path) -> None:
    worked_off(Ledger.open(tmp_path, small(), "d", {"utae": {"mine.pt": "aa"}}))
    with pytest.raises(LedgerError, match=r"content of mine\.pt was 'aa', is now 'bb'"):
        Ledger.open(tmp_path, small(), "d", {"utae": {"mine.pt": "bb"}})


def test_a_new_strategy_may_bring_another_checkpoint_to_a_sweep(tmp_path: Path) -> None:
    worked_off(Ledger.open(tmp_path, small(), "d", {"utae": {"mine.pt": "aa"}}))
    both = SMALL["strategies"] | {"other": {"config": {"model": UTAE}}}
    weights = {"utae": {"mine.pt": "aa"}, "other": {"theirs.pt": "cc"}}
    added = worked_off(Ledger.open(tmp_path, small(strategies=both), "d", weights))
    assert {trial.cell.strategy for trial in added} == {"other"}
    with pytest.raises(LedgerError, match=r"content of theirs\.pt was 'cc', is now 'dd'"):
        Ledger.open(tmp_path, small(strategies=both), "d", weights | {"other": {"theirs.pt": "dd"}})


def test_looking_at_a_ledger_asks_for_no_checkpoints(tmp_path: Path) -> None:
    trials = worked_off(Ledger.open(tmp_path, small(), "d", {"utae": {"mine.pt": "aa"}}))
    assert len(Ledger.look(tmp_path, small()).trials()) == len(trials)


def test_a_trial_half_asked_for_when_the_driver_died_counts_for_nothing(tmp_path: Path) -> None:
    cell = first(Ledger.open(tmp_path, small(), "d"))
    cell._studies.study(Role.SEARCH).ask()  # the driver dies before the parameters are drawn
    assert first(Ledger.look(tmp_path, small())).trials() == ()
    again = first(Ledger.open(tmp_path, small(), "d"))
    assert again.unfinished() == ()
    assert again.search_todo() == 3


def test_more_trials_and_seeds_continue_a_finished_ledger(opened: Callable[..., Ledger]) -> None:
    before = worked_off(opened())
    more = small(budget={"trials": 4, "confirmation_seeds": 3})
    added = worked_off(opened(more), lambda trial: 0.0 if trial.role is Role.SEARCH else 0.5)
    assert [trial.role for trial in added] == [Role.SEARCH, Role.CONFIRMATION] * 2
    assert {trial.fingerprint for trial in added}.isdisjoint(trial.fingerprint for trial in before)


def test_a_new_best_is_confirmed_anew_and_the_old_confirmations_do_not_count(
    opened: Callable[..., Ledger],
) -> None:
    worked_off(opened())
    more = small(budget={"trials": 4, "confirmation_seeds": 2})
    added = worked_off(opened(more), lambda trial: 2.0)
    assert [trial.role for trial in added[:3]] == [Role.SEARCH, Role.CONFIRMATION, Role.CONFIRMATION]
    assert first(opened(more)).current_confirmations() == first(opened(more)).confirmation_trials()[2:]


def test_a_new_setting_adds_a_cell(opened: Callable[..., Ledger]) -> None:
    worked_off(opened())
    wider = small(settings={"label_fractions": [1.0, 0.5], "temporal_lengths": [1, 3]})
    assert {trial.cell.label_fraction for trial in worked_off(opened(wider))} == {0.5}


@pytest.mark.parametrize(
    ("changes", "data", "difference"),
    [
        ({"base": SMALL["base"] | {"seed": 5}}, "d", "seed was 0, is now 5"),
        ({}, "other data", "data was 'd', is now 'other data'"),
        ({"search": {"model.heads": {"choice": [1, 2]}}}, "d", "model.heads was 2, is now 'not set'"),
    ],
)
def test_a_change_of_what_finished_trials_mean_is_refused_with_the_difference(
    opened: Callable[..., Ledger], changes: dict[str, Any], data: str, difference: str
) -> None:
    worked_off(opened())
    with pytest.raises(LedgerError, match=difference):
        opened(small(**changes), data)


def test_a_wider_range_continues(opened: Callable[..., Ledger]) -> None:
    worked_off(opened())
    wider = small(search={"training.optimiser.lr": {"log_uniform": [1e-4, 1e-1]}})
    assert worked_off(opened(wider)) == []


def test_a_small_finite_space_is_tried_out_without_repeats(opened: Callable[..., Ledger]) -> None:
    finite = small(
        search={"model.heads": {"choice": [1, 2, 4, 8]}, "training.batch_size": {"int": [1, 2]}},
        budget={"trials": 50, "confirmation_seeds": 0},
    )
    trials = [
        trial for trial in worked_off(opened(finite), lambda trial: 0.1) if trial.cell is finite.cells[0]
    ]
    tried = {(trial.config.model.heads, trial.config.training.batch_size) for trial in trials}
    assert len(trials) == len(tried) == 8


@pytest.mark.parametrize("sampler", ["random", {"name": "tpe", "startup_trials": 2}])
def test_every_sampler_stays_inside_the_ranges(opened: Callable[..., Ledger], sampler: Any) -> None:
    sweep = small(budget={"trials": 12, "confirmation_seeds": 0}, optimisation={"sampler": sampler})
    rates = [trial.config.training.optimiser.lr for trial in worked_off(opened(sweep))]
    assert len(rates) == 24
    assert all(1e-3 <= rate <= 1e-2 for rate in rates)


def test_the_median_pruner_stops_what_is_worse_than_its_cell_at_the_same_step(
    opened: Callable[..., Ledger],
) -> None:
    sweep = small(optimisation={"sampler": "random", "pruner": {"name": "median", "startup_trials": 2}})
    one, other = opened(sweep).cells.values()
    for score in (0.5, 0.6):
        trial = one.next()
        assert not one.report(trial, 4, score)
        one.end(trial, State.COMPLETE, score)
    worse = one.next()
    assert one.report(worse, 4, 0.1)
    elsewhere = other.next()
    assert not other.report(elsewhere, 4, 0.1)  # another cell is no measure


def test_a_confirmation_is_never_stopped(opened: Callable[..., Ledger]) -> None:
    cell = first(opened(small(optimisation={"pruner": {"name": "median", "startup_trials": 1}})))
    while (trial := cell.next()).role is Role.SEARCH:
        cell.report(trial, 4, 0.9)
        cell.end(trial, State.COMPLETE, 0.9)
    assert not cell.report(trial, 4, 0.0)


def test_a_step_reported_again_after_a_restart_keeps_its_first_value(tmp_path: Path) -> None:
    cell = first(Ledger.open(tmp_path, small(), "d"))
    trial = cell.next()
    cell.report(trial, 4, 0.5)
    again = first(Ledger.open(tmp_path, small(), "d"))
    again.report(again.unfinished()[0], 4, 0.1)
    assert again._studies._storage.get_trial(trial.storage_id).intermediate_values == {4: 0.5}


def test_the_first_word_about_an_ending_counts(opened: Callable[..., Ledger]) -> None:
    cell = first(opened())
    trial = cell.next()
    cell.end(trial, State.FAILED, message="out of memory")
    cell.end(trial, State.COMPLETE, 0.9)
    assert (cell.trials()[0].state, cell.trials()[0].message) == (State.FAILED, "out of memory")


def test_counts_add_up_while_a_sweep_runs(opened: Callable[..., Ledger]) -> None:
    ledger = opened()
    cell = first(ledger)
    cell.end(cell.next(), State.COMPLETE, 0.4)
    cell.end(cell.next(), State.FAILED, message="diverged")
    cell.next()
    count = ledger.counts()[0]
    assert (count.complete, count.failed, count.running, count.search_todo) == (1, 1, 1, 0)
    assert (count.confirmations_todo, count.trials_done, count.trials_todo) == (2, 2, 3)
    assert (count.best_miou, count.done) == (0.4, False)


def test_a_cell_whose_trials_all_failed_is_done_without_confirmations(opened: Callable[..., Ledger]) -> None:
    ledger = opened()
    cell = first(ledger)
    while trial := cell.next():
        cell.end(trial, State.FAILED, message="diverged")
    assert ledger.counts()[0].done


def test_looking_at_a_sweep_that_never_ran_writes_nothing(tmp_path: Path) -> None:
    counts = Ledger.look(tmp_path / "none", small()).counts()
    assert [count.trials_todo for count in counts] == [5, 5]
    assert not (tmp_path / "none").exists()


def test_half_a_line_at_the_end_of_the_ledger_is_cut_off_and_nothing_else_is_lost(
    opened: Callable[..., Ledger], tmp_path: Path
) -> None:
    before = worked_off(opened())
    with (tmp_path / LEDGER_FILE).open("ab") as journal:
        journal.write(b'{"op_code": 6, "trial')  # the disk was full, or the power went
    more = small(budget={"trials": 4, "confirmation_seeds": 2})
    added = worked_off(opened(more), lambda trial: 0.0)
    assert len(opened(more).trials()) == len(before) + len(added)


def test_a_confirmation_that_failed_is_not_counted_as_one_that_succeeded(
    opened: Callable[..., Ledger],
) -> None:
    ledger = opened()
    cell = first(ledger)
    while trial := cell.next():
        failed = trial.role is Role.CONFIRMATION and trial.config.seed == 1
        cell.end(trial, State.FAILED if failed else State.COMPLETE, None if failed else 0.5)
    count = ledger.counts()[0]
    assert (count.confirmations_done, count.confirmations_failed, count.confirmations_wanted) == (1, 1, 2)
    assert count.done


def test_looking_at_a_ledger_with_a_changed_file_shows_the_difference_too(
    opened: Callable[..., Ledger], tmp_path: Path
) -> None:
    worked_off(opened())
    with pytest.raises(LedgerError, match="seed was 0, is now 5"):
        Ledger.look(tmp_path, small(base=SMALL["base"] | {"seed": 5}))


def test_a_damaged_ledger_is_named(opened: Callable[..., Ledger], tmp_path: Path) -> None:
    worked_off(opened())
    journal = tmp_path / LEDGER_FILE
    journal.write_bytes(b"\xff\xfe nonsense\n" + journal.read_bytes())
    with pytest.raises(LedgerError, match=LEDGER_FILE):
        opened()
