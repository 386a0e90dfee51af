"""What a cell took, and what a training of its best configuration takes."""

from __future__ import annotations

import math
from collections.abc import Sequence

from shapeft_tune.config.merge import value_at
from shapeft_tune.report.comparison.pareto import COST
from shapeft_tune.report.runs import Run

LOST_COST = "cost/lost_device_seconds"
"""Metric of what tries took that ended in a fault, after their last checkpoint."""


def device_hours(runs: Sequence[Run]) -> float:
    """Return what all trials took so far, what was lost to faults included."""
    return math.fsum(run.score(name) or 0.0 for run in runs for name in (COST, LOST_COST)) / 3600


def training_device_hours(best: Run | None, confirmations: Sequence[Run]) -> float | None:
    """Return what one training takes: the mean of the confirmations or, without any, that of the search."""
    costs = [cost for run in confirmations if (cost := run.score(COST)) is not None]
    if not costs and best is not None and (cost := best.score(COST)) is not None:
        costs = [cost]
    return math.fsum(costs) / len(costs) / 3600 if costs else None


def training_steps(best: Run | None, confirmations: Sequence[Run]) -> int | None:
    """Return the optimiser steps of one training: the configuration's, or those taken where it has epochs."""
    if best is None:
        return None
    wanted = value_at(best.facts.config, "training.steps")
    if isinstance(wanted, int):
        return wanted
    taken = [steps for run in (*confirmations, best) if (steps := run.score("cost/steps"))]
    return round(taken[0]) if taken else None
