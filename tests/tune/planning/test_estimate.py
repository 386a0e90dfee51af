"""What is left of a sweep, against numbers worked out by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from shapeft_tune.config.budget import Budget
from shapeft_tune.config.optimisation import NoPruner, Pruner, SuccessiveHalving
from shapeft_tune.config.protocol import Role
from shapeft_tune.tune.cluster.slots import Slot
from shapeft_tune.tune.ledger.trials import Spent
from shapeft_tune.tune.planning.demand import demand_of
from shapeft_tune.tune.planning.estimate import (
    Basis,
    CellEstimate,
    estimate_cell,
    estimate_sweep,
)
from shapeft_tune.tune.planning.measured import Measured, measured_or_scaled
from shapeft_tune.tune.planning.work import Machine, Work
from tests.tune.small import SMALL, small

MACHINE = Machine(cpus=8, gpus=2)
MEASURED = Measured(
    "utae", 1, steps_per_second=2.0, source="calibration", validation_seconds=3.0, begin_seconds=5.0,
    test_seconds=7.0, best_bytes=100, last_bytes=300, peak_memory_bytes=10**9,
)  # fmt: skip


def work(**changes: Any) -> Work:
    """Three search trials and two confirmations of 8 steps, validated twice each; nothing has begun."""
    cell = small().cells[0]
    fresh = Work(
        cell=cell,
        slot=Slot(cpu=2, gpu=0),
        demand=demand_of(cell),
        search_done=0,
        search_todo=3,
        confirmations_done=0,
        confirmations_todo=2,
        steps_done=dict.fromkeys(Role, 0),
        spent_on_search=Spent(),
        wall_seconds=0.0,
        budget_reached="",
    )
    return replace(fresh, **changes)


def estimated(
    of: Work, measured: Measured | None = MEASURED, budget: Budget | None = None, pruner: Pruner | None = None
) -> CellEstimate:
    return estimate_cell(of, measured, budget or Budget(), pruner or NoPruner(), MACHINE)


# One cell


def test_seconds_of_a_cell_add_up_to_steps_validations_beginnings_and_tests() -> None:
    cell = estimated(work())
    trial = 8 / 2.0 + 2 * 3.0 + 5.0
    assert cell.search_seconds == pytest.approx(3 * trial)
    assert cell.confirmation_seconds == pytest.approx(2 * (trial + 7.0))
    assert cell.device_hours == pytest.approx((5 * trial + 2 * 7.0) * 2 / 3600)  # two cores each
    assert cell.basis is Basis.MEASURED


def test_steps_that_running_trials_have_behind_them_are_not_taken_again() -> None:
    cell = estimated(work(steps_done={Role.SEARCH: 4, Role.CONFIRMATION: 0}))
    assert cell.search_seconds == pytest.approx(3 * (4 + 6 + 5) - 4 * (4 + 6) / 8)


def test_a_pruner_shortens_the_search_and_not_the_confirmations() -> None:
    pruner = SuccessiveHalving(min_steps=4, reduction=2)
    # At step 4 of 8 the first goes on, the second and third with a chance of 1/2 and 1/3.
    share = (3 * 4 + (1 + 1 / 2 + 1 / 3) * 4) / (3 * 8)
    cell = estimated(work(), pruner=pruner)
    assert cell.share.value == pytest.approx(share, rel=0.02)
    assert cell.search_seconds == pytest.approx(3 * cell.share.value * (4 + 6) + 3 * 5)
    assert cell.confirmation_seconds == estimated(work()).confirmation_seconds


def test_what_was_not_measured_is_unknown() -> None:
    cell = estimated(work(), measured=None)
    assert (cell.seconds, cell.device_hours, cell.kept_bytes) == (None, None, None)
    assert (cell.basis, cell.unknown) == (Basis.UNKNOWN, "not measured")


@pytest.mark.parametrize(("device", "gpu"), [("cpu", 0.5), ("some GPU", 0)])
def test_what_was_measured_on_another_kind_of_device_says_nothing(device: str, gpu: float) -> None:
    measured = replace(MEASURED, device=device)
    cell = estimated(work(slot=Slot(cpu=1, gpu=gpu)), measured)
    assert (cell.seconds, cell.unknown) == (None, "measured on another kind of device")
    assert estimated(work(slot=Slot(cpu=1, gpu=0.5 - gpu)), measured).seconds is not None


def test_a_done_cell_takes_nothing_measured_or_not() -> None:
    done = work(search_done=3, search_todo=0, confirmations_done=2, confirmations_todo=0)
    assert estimated(done).device_hours == estimated(done, measured=None).device_hours == 0


def test_epochs_are_unknown_until_labelled_patches_are_counted() -> None:
    training = SMALL["base"]["training"] | {"steps": {"epochs": 3}}
    cell = small(base=SMALL["base"] | {"training": training}).cells[0]
    unknown = estimated(work(demand=demand_of(cell)))
    assert unknown.seconds is None
    assert "epochs" in unknown.unknown
    assert demand_of(cell, labelled=5).steps == 8  # 3 x 5 patches in batches of 2
    assert estimated(work(demand=demand_of(cell, labelled=5))).seconds is not None


def test_hours_of_a_share_that_is_still_to_be_measured_are_unknown() -> None:
    cell = estimated(work(slot=None))
    assert cell.seconds is not None
    assert cell.device_hours is None


def test_kept_are_the_checkpoints_of_the_winner_and_of_each_confirmation() -> None:
    assert estimated(work()).kept_bytes == 3 * 100


@pytest.mark.parametrize(
    ("limits", "spent", "seconds"),
    [
        ({"steps": 10}, Spent(), 10 * 10 / 8),
        ({"steps": 10}, Spent(steps=6), 4 * 10 / 8),
        ({"device_hours": 20 / 3600}, Spent(device_seconds=8), 6),  # 12 core seconds on two cores
        ({"wall_hours": 5 / 3600}, Spent(), 5 * 4),  # four trials of two cores beside each other
    ],
)
def test_a_limit_of_the_budget_ends_the_search(limits: dict[str, Any], spent: Spent, seconds: float) -> None:
    cell = estimated(work(spent_on_search=spent), budget=Budget(**limits))
    assert cell.search_seconds == pytest.approx(seconds)
    assert cell.limit == next(iter(limits))
    assert cell.confirmation_seconds == estimated(work()).confirmation_seconds


def test_a_limit_that_is_not_reached_changes_nothing() -> None:
    assert estimated(work(), budget=Budget(steps=10_000)) == estimated(work())


# Other numbers of dates


def test_time_and_memory_grow_with_the_dates_and_checkpoints_do_not() -> None:
    scaled = measured_or_scaled(("utae", 6), {("utae", 1): MEASURED})
    assert scaled is not None
    assert (scaled.steps_per_second, scaled.validation_seconds) == (pytest.approx(2 / 6), 18)
    assert (scaled.peak_memory_bytes, scaled.best_bytes, scaled.scaled_from) == (6 * 10**9, 100, 1)
    assert estimated(work(), scaled).basis is Basis.SCALED


def test_the_nearest_number_of_dates_is_scaled_and_other_strategies_are_not() -> None:
    far = replace(MEASURED, temporal_length=35, steps_per_second=0.1)
    known = {("utae", 1): MEASURED, ("utae", 35): far}
    scaled = measured_or_scaled(("utae", 25), known)
    assert scaled is not None
    assert scaled.scaled_from == 35
    assert measured_or_scaled(("utae", 35), known) is far
    assert measured_or_scaled(("croma", 1), known) is None


# A whole sweep


def test_a_sweep_takes_its_cells_together_with_all_slots_at_work() -> None:
    cell = estimated(work())
    estimate = estimate_sweep([cell] * 4, Budget(), MACHINE, Spent(), 0.0)
    assert estimate.device_hours == pytest.approx(4 * cell.device_hours)
    assert estimate.wall_hours == pytest.approx(cell.seconds / 3600)  # four cells, four at once
    assert estimate.kept_bytes == 4 * 300
    assert estimate.peak_bytes == 4 * 300 + 4 * (100 + 300)
    assert estimate.largest_memory is MEASURED


def test_a_sweep_is_not_faster_than_a_search_trial_and_a_confirmation_in_turn() -> None:
    one = estimated(work(search_todo=1, confirmations_todo=1))
    estimate = estimate_sweep([one], Budget(), MACHINE, Spent(), 0.0)
    assert estimate.wall_hours == pytest.approx(one.seconds / 3600)


def test_a_total_budget_limits_the_sweep() -> None:
    cells = [estimated(work())] * 4
    hours = Budget(total={"device_hours": 0.01})
    estimate = estimate_sweep(cells, hours, MACHINE, Spent(device_seconds=18), 0.0)
    assert estimate.device_hours == pytest.approx(0.005)
    assert estimate.limit == "total.device_hours"
    wall = estimate_sweep(cells, Budget(total={"wall_hours": 0.001}), MACHINE, Spent(), 0.0)
    assert (wall.wall_hours, wall.limit) == (pytest.approx(0.001), "total.wall_hours")


def test_cells_of_unknown_time_are_counted_and_left_out_of_the_sum() -> None:
    known, unknown = estimated(work()), estimated(work(), measured=None)
    estimate = estimate_sweep([known, unknown], Budget(), MACHINE, Spent(), 0.0)
    assert estimate.device_hours == known.device_hours
    assert estimate.unknown == (unknown,)
    assert estimate.peak_bytes is None


def test_where_no_slot_is_large_enough_there_is_no_wall_time() -> None:
    wide = estimated(work(slot=Slot(cpu=1, gpu=1, workers=4)))
    assert estimate_sweep([wide], Budget(), MACHINE, Spent(), 0.0).wall_hours is None


def test_hours_on_a_machine_are_unknown_where_those_of_every_cell_are() -> None:
    unknown = estimated(work(), measured=None)
    assert estimate_sweep([unknown], Budget(), MACHINE, Spent(), 0.0).wall_hours is None
    done = estimated(work(search_todo=0, confirmations_todo=0), measured=None)
    assert estimate_sweep([done], Budget(), MACHINE, Spent(), 0.0).wall_hours == 0
