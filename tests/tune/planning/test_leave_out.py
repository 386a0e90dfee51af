"""What of a sweep takes most, in words that carry numbers."""

from __future__ import annotations

from typing import Any

from shapeft_tune.config import SweepConfig
from shapeft_tune.config.protocol import Role
from shapeft_tune.tune.cluster.slots import Slot
from shapeft_tune.tune.ledger.trials import Spent
from shapeft_tune.tune.planning.demand import demand_of
from shapeft_tune.tune.planning.estimate import Estimate, estimate_cell, estimate_sweep
from shapeft_tune.tune.planning.leave_out import could_be_left_out
from shapeft_tune.tune.planning.measured import Measured, measured_or_scaled
from shapeft_tune.tune.planning.work import Machine, Work
from tests.tune.small import SMALL, small

HOUR_A_TRIAL = Measured("utae", 1, steps_per_second=8 / 3600, source="calibration")


def estimate(sweep: SweepConfig, known: Measured | None = HOUR_A_TRIAL) -> Estimate:
    """Estimate a sweep in which nothing has begun and trials take an hour for each date."""
    cells = []
    for cell in sweep.cells:
        seeds = sweep.budget.confirmation_seeds
        nothing = dict.fromkeys(Role, 0)
        work = Work(cell, Slot(1, 0), demand_of(cell), 0, cell.trials, 0, seeds, nothing, Spent(), 0.0, "")
        measured = measured_or_scaled(
            (cell.strategy, cell.temporal_length), {known.kind: known} if known else {}
        )
        cells.append(estimate_cell(work, measured, sweep.budget, sweep.optimisation.stopping, Machine(4, 0)))
    return estimate_sweep(cells, sweep.budget, Machine(4, 0), Spent(), 0.0)


def words(sweep: SweepConfig, **how: Any) -> list[str]:
    return [saving.words for saving in could_be_left_out(sweep, estimate(sweep, **how))]


def test_dates_that_take_most_hours_are_named_with_their_share_and_cells() -> None:
    lengths = {"label_fractions": [0.5, 1.0], "temporal_lengths": [1, 3, 6]}
    said = words(small(settings=lengths))
    # Two cells each of 5 trials: 10 x (1 + 3 + 6) hours, of which 60 are those of T = 6.
    assert "T = 6: 60 % of the hours, 2 of 6 cells" in said
    assert not any(sentence.startswith(("T = 1", "T = 3", "labels")) for sentence in said)


def test_one_seed_less_saves_its_trials_in_all_cells() -> None:
    assert "confirmation seeds 2 -> 1 saves 4.0 h" in words(small())  # 1 + 3 hours
    assert not any("seeds" in each for each in words(small(budget={"trials": 3, "confirmation_seeds": 1})))


def test_a_pruner_is_named_where_trials_are_long_enough_for_it() -> None:
    training = SMALL["base"]["training"] | {"steps": 1000}
    long = SMALL["base"] | {"training": training, "validation": {"every": 100}}
    (said,) = (each for each in words(small(base=long)) if "pruner" in each)
    assert said.startswith("pruner none -> successive_halving (min_steps 100, reduction 3) would save about")
    assert not any("pruner" in each for each in words(small()))
    halving = small(base=long, optimisation={"pruner": "successive_halving"})
    assert not any("pruner" in each for each in words(halving))


def test_nothing_is_said_of_what_was_not_measured() -> None:
    assert words(small(), known=None) == []
