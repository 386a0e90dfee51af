"""Which strategy to take in a setting, and which cheaper one is not told apart from it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from shapeft_tune.report.comparison.cells import CellSummary
from shapeft_tune.report.comparison.differences import Difference, Verdict
from shapeft_tune.report.comparison.family import Family, best_of


@dataclass(frozen=True)
class Recommendation:
    """What a setting's results amount to."""

    label_fraction: float
    temporal_length: int
    best: str
    """The strategy with the best mean test mIoU."""
    cheapest: str
    """The one that takes the fewest device hours for a training, of those not told apart from the best.

    Only a test can fail to tell two apart: one with too few seeds in common was not tested, and is no cheaper
    choice; nor is one whose cost is not known."""
    differences: tuple[Difference, ...]
    """Every other tested strategy against the best, corrected together with those to the baseline."""

    @property
    def setting(self) -> tuple[float, int]:
        """Label fraction and number of dates."""
        return self.label_fraction, self.temporal_length


def recommended(cells: Sequence[CellSummary], family: Family) -> Recommendation | None:
    """Return what the cells of one setting amount to; None while none of them is tested."""
    best = best_of(cells)
    if best is None:
        return None
    differences = family.less(best.strategy, cells)
    alike = {each.strategy for each in differences if each.verdict is Verdict.NOT_TOLD_APART}
    candidates = [best, *(cell for cell in cells if cell.strategy in alike)]
    cheapest = min(candidates, key=_cost) if best.training_device_hours is not None else best
    return Recommendation(*best.setting, best.strategy, cheapest.strategy, differences)


def _cost(cell: CellSummary) -> float:
    return math.inf if cell.training_device_hours is None else cell.training_device_hours
