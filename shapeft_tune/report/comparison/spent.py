"""What the record says of a cell's troubles and its budget."""

from __future__ import annotations

from collections.abc import Sequence

from shapeft_tune.config import Cell
from shapeft_tune.config.budget import Budget
from shapeft_tune.config.protocol import Role
from shapeft_tune.report.comparison.pareto import COST
from shapeft_tune.report.runs import Run
from shapeft_tune.tracking.facts import CELL_WALL_SECONDS, Ending


def retries_of(runs: Sequence[Run]) -> int:
    """Return how often a cell's trials were tried again after a fault of the machine."""
    return int(_sum(runs, "cost/retries"))


def left_out_by_budget(cell: Cell, runs: Sequence[Run], budget: Budget) -> int:
    """Return how many search trials a cell will not have, as a limit beside their number ended its search.

    Confirmations wait for the end of the search: where there are any and trials are missing, the budget has
    ended it. Where there are none (yet), what the search took says it; wall time, the trial that ended last.
    """
    search = [run for run in runs if run.facts.role == Role.SEARCH]
    missing = max(0, cell.trials - sum(run.state in tuple(Ending) for run in search))
    if budget.steps is budget.device_hours is budget.wall_hours is None:
        return 0
    reached = (
        len(runs) > len(search),
        budget.steps is not None and _sum(search, "cost/steps") >= budget.steps,
        budget.device_hours is not None and _sum(search, COST) >= 3600 * budget.device_hours,
        budget.wall_hours is not None and _wall_seconds(search) >= 3600 * budget.wall_hours,
    )
    return missing if any(reached) else 0


def _wall_seconds(search: Sequence[Run]) -> float:
    return max((run.score(CELL_WALL_SECONDS) or 0.0 for run in search), default=0.0)


def _sum(runs: Sequence[Run], metric: str) -> float:
    return sum(run.score(metric) or 0.0 for run in runs)
