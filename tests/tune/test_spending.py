"""Budgets: what of them is used up, what ends then, and that a larger one goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from shapeft_tune.config import SweepConfig
from shapeft_tune.config.budget import Total
from shapeft_tune.config.places import Places
from shapeft_tune.config.protocol import Role
from shapeft_tune.tracking import Recorder
from shapeft_tune.tune import driver as driver_file
from shapeft_tune.tune.driver import Driver
from shapeft_tune.tune.ledger.ledger import Ledger
from shapeft_tune.tune.ledger.trials import Spent, State
from shapeft_tune.tune.orders import INTERRUPTED, STOP_FILE, Order, Outcome
from shapeft_tune.tune.spending import Spending
from tests.tune.synthetic import ONE_CELL, in_memory, only, smooth

HOUR = 3600.0


class Clock:
    """A clock that stands still until it is told to go on."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def limited(settings: dict[str, Any] = ONE_CELL, **budget: Any) -> SweepConfig:
    return smooth(budget={"trials": 9, "confirmation_seeds": 1} | budget, settings=settings)


# A cell

LIMITS = pytest.mark.parametrize(
    ("limit", "larger"),
    [({"steps": 30}, {"steps": 45}), ({"device_hours": 2.0}, {"device_hours": 3.0})],
    ids=["steps", "device_hours"],
)


@LIMITS
def test_what_is_reached_first_ends_a_cells_search_what_runs_ends_and_confirmations_follow(
    limit: dict[str, Any], larger: dict[str, Any], tmp_path: Path
) -> None:
    cell = only(Ledger.open(tmp_path, limited(**limit), "d"))
    first, second, third = (cell.next() for _ in range(3))
    assert first is not None
    assert second is not None
    assert third is not None
    for trial in (first, second):
        assert cell.search_todo() == 6
        cell.spend(trial, Spent(15, HOUR / 2, HOUR))
        cell.end(trial, State.COMPLETE, 0.5)
    assert cell.budget_reached == next(iter(limit))
    assert cell.search_todo() == 0
    assert cell.next() is None  # the third one is still running
    cell.spend(third, Spent(15, HOUR / 2, HOUR))
    cell.end(third, State.COMPLETE, 0.4)
    confirmation = cell.next()
    assert confirmation is not None
    assert confirmation.role is Role.CONFIRMATION
    cell.spend(confirmation, Spent(1000, 99 * HOUR, 99 * HOUR))  # which no cell's budget counts
    cell.end(confirmation, State.COMPLETE, 0.5)
    assert not cell.has_work()
    more = only(Ledger.open(tmp_path, limited(**{name: 2 * most for name, most in larger.items()}), "d"))
    assert (more.budget_reached, more.search_todo()) == ("", 6)
    again = more.next()
    assert again is not None
    assert again.role is Role.SEARCH


def test_a_trial_at_work_counts_before_it_has_ended(tmp_path: Path) -> None:
    ledger = Ledger.open(tmp_path, limited(steps=20), "d")
    cell = only(ledger)
    trial = cell.next()
    assert trial is not None
    cell.spend(trial, Spent(steps=20), write=False)
    assert cell.budget_reached == "steps"
    assert cell.next() is None


def test_a_cells_wall_time_runs_while_it_has_search_trials_at_work_however_many(
    clock: Clock, tmp_path: Path
) -> None:
    ledger = Ledger.open(tmp_path, limited(wall_hours=3.0), "d")
    cell, spending = only(ledger), Spending(ledger, Total(), clock)
    one, other = cell.next(), cell.next()
    assert one is not None
    assert other is not None
    spending.started(one)
    clock.now += HOUR
    spending.started(other)
    clock.now += HOUR
    spending.took(one, Spent(), ended=True)
    clock.now += HOUR / 2
    spending.took(other, Spent(), ended=True)
    assert cell.wall_seconds == 2.5 * HOUR
    clock.now += 100 * HOUR  # nothing of this cell is at work
    later = cell.next()
    assert later is not None
    spending.started(later)
    clock.now += HOUR / 4
    spending.took(later, Spent(), ended=False)
    assert (cell.wall_seconds, cell.budget_reached) == (2.75 * HOUR, "")
    clock.now += HOUR / 4
    spending.took(later, Spent(), ended=True)
    assert cell.budget_reached == "wall_hours"
    assert only(Ledger.look(tmp_path, limited(wall_hours=3.0))).budget_reached == "wall_hours"
    assert only(Ledger.look(tmp_path, limited(wall_hours=4.0))).budget_reached == ""


def test_a_cell_whose_budget_is_used_up_leaves_another_alone() -> None:
    one, other = in_memory(
        limited({"label_fractions": [1.0], "temporal_lengths": [1, 3]}, steps=5)
    ).cells.values()
    trial = one.next()
    assert trial is not None
    one.spend(trial, Spent(steps=5))
    assert (one.search_todo(), other.search_todo()) == (0, 9)


# The whole sweep


def test_what_all_trials_took_is_kept_over_restarts(clock: Clock, tmp_path: Path) -> None:
    sweep = limited()
    ledger = Ledger.open(tmp_path, sweep, "d")
    spending, trial = Spending(ledger, Total(), clock), only(ledger).next()
    assert trial is not None
    spending.started(trial)
    clock.now += 60
    spending.took(trial, Spent(7, 50.0, 100.0), ended=True)
    only(ledger).end(trial, State.FAILED, message="no")
    again = Ledger.open(tmp_path, sweep, "d")
    assert again.spent() == Spent(7, 50.0, 100.0)
    assert again.wall_seconds == 60
    assert only(again).wall_seconds == 60
    again.reopen_failed()  # its time is gone all the same
    assert again.spent() == Ledger.look(tmp_path, sweep).spent() == Spent(7, 50.0, 100.0)
    after = Spending(again, Total(wall_hours=0.02, device_hours=None), clock)
    assert after.reached == ""
    clock.now += 13
    assert after.reached == "budget.total.wall_hours: 0.0203 of 0.02 are used"


def test_all_trials_of_all_cells_count_for_the_whole_sweep(clock: Clock) -> None:
    ledger = in_memory(limited({"label_fractions": [1.0], "temporal_lengths": [1, 3]}))
    spending = Spending(ledger, Total(device_hours=1.0), clock)
    for cell in ledger.cells.values():
        trial = cell.next()
        assert trial is not None
        spending.started(trial)
        assert spending.reached == ""
        spending.took(trial, Spent(1, 900.0, 1800.0), ended=False)
    assert spending.reached == "budget.total.device_hours: 1 of 1 are used"


@pytest.fixture
def driven(tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Driver]]:
    """Return a function that makes a driver, as a new run of the sweep would."""
    monkeypatch.setattr(driver_file, "Spending", lambda ledger, total: Spending(ledger, total, clock))
    recorder = Recorder.open(f"sqlite:///{tmp_path / 'mlflow.db'}", "small", tmp_path / "small")
    folder = Places(tmp_path).sweep_folder("small")

    def make(**budget: Any) -> Driver:
        (folder / STOP_FILE).unlink(missing_ok=True)
        sweep = limited(**budget)
        return Driver(sweep, Ledger.open(folder, sweep, "digest"), recorder, folder, lambda event: None)

    yield make
    recorder.close()


def handed_out(driver: Driver, name: str) -> Order:
    order = driver.next_order(name)
    assert order is not None
    return order


def test_a_used_up_sweep_stops_in_good_order_and_a_larger_budget_goes_on_with_the_same_trial(
    driven: Callable[..., Driver], clock: Clock, tmp_path: Path
) -> None:
    it = driven(total={"wall_hours": 1.0})
    order = handed_out(it, "a")
    clock.now += HOUR
    assert it.progressed("a", 4, 8, 1.0, {"val/miou": 0.1})  # asked to stop; its checkpoint is written
    assert it.limit == "budget.total.wall_hours: 1 of 1 are used"
    assert (tmp_path / "small" / STOP_FILE).exists()  # so that the others end, too
    assert it.next_order("b") is None
    it.ended("a", Outcome(INTERRUPTED).to_ray()["outcome"])
    assert it.done
    it.close()
    still = driven(total={"wall_hours": 1.0})
    assert still.next_order("a") is None
    assert still.limit
    larger = driven(total={"wall_hours": 2.0})
    assert handed_out(larger, "a") == order
    assert larger.limit == ""


def test_a_sweep_whose_budget_is_used_up_is_done_before_it_asks_for_a_cluster(
    driven: Callable[..., Driver], clock: Clock
) -> None:
    it = driven(total={"wall_hours": 1.0})
    handed_out(it, "a")
    clock.now += HOUR
    it.ended("a", Outcome("complete", 0.5, steps=8, seconds=1.0).to_ray()["outcome"])
    it.close()
    assert driven(total={"wall_hours": 1.0}).done
    assert not driven(total={"wall_hours": 1.1}).done


def test_a_driver_works_a_cell_off_to_its_confirmations_when_its_budget_is_used_up(
    driven: Callable[..., Driver],
) -> None:
    it = driven(steps=16)
    roles = []
    for name in "abcdef":
        if order := it.next_order(name):
            roles.append(order.role)
            it.ended(name, Outcome("complete", 0.5, steps=8, seconds=1.0).to_ray()["outcome"])
    assert roles == [Role.SEARCH, Role.SEARCH, Role.CONFIRMATION]
    assert it.done
    assert it.limit == ""  # a cell's limit is none of the sweep's
    assert handed_out(driven(steps=32), "a").role == Role.SEARCH


FAULT = Outcome("failed", message="CUDA error", fault="machine").to_ray()["outcome"]


@pytest.mark.parametrize("last_word", [FAULT, {}], ids=["told", "silent"])
def test_the_time_of_a_try_that_fails_is_charged_from_its_slot_or_its_last_checkpoint_on(
    driven: Callable[..., Driver], clock: Clock, last_word: dict[str, Any]
) -> None:
    it = driven(total={"device_hours": 4.0})
    order = handed_out(it, "a")
    clock.now += 50 * HOUR  # it waits for a slot
    it.began("a", "host", 1, "cpu")
    clock.now += HOUR
    it.ended("a", last_word)
    assert it._ledger.spent() == Spent(lost_device_seconds=HOUR)
    assert handed_out(it, "b") == order
    it.began("b", "host", 1, "cpu")
    clock.now += HOUR
    it.progressed("b", 4, 8, HOUR, {"val/miou": 0.1})
    clock.now += HOUR / 2
    it.ended("b", last_word)
    assert it._ledger.spent() == Spent(4, HOUR, HOUR, 1.5 * HOUR)
    assert handed_out(it, "c") == order
    it.began("c", "host", 1, "cpu")
    clock.now += HOUR
    it.progressed("c", 8, 8, 2 * HOUR, {"val/miou": 0.1})  # over all its pieces: none of it counts twice
    it.ended("c", Outcome("complete", 0.5, steps=8, seconds=2.5 * HOUR).to_ray()["outcome"])
    assert it._ledger.spent() == Spent(8, 2.5 * HOUR, 2.5 * HOUR, 1.5 * HOUR)
    assert it.next_order("d") is None
    assert it.limit == "budget.total.device_hours: 4 of 4 are used"


def test_the_time_of_an_interrupted_piece_is_charged_and_not_twice_when_it_goes_on(
    driven: Callable[..., Driver], clock: Clock
) -> None:
    it = driven()
    handed_out(it, "a")
    it.began("a", "host", 1, "cpu")
    clock.now += HOUR
    it.ended("a", Outcome(INTERRUPTED).to_ray()["outcome"])
    again = driven()
    assert again._ledger.spent() == Spent(0, HOUR, HOUR)
    handed_out(again, "a")
    again.progressed("a", 4, 8, 1.5 * HOUR, {"val/miou": 0.1})
    assert again._ledger.spent() == Spent(4, 1.5 * HOUR, 1.5 * HOUR)
