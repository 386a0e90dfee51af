"""Which strategy to take in a setting, and which cheaper one is not told apart from it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from shapeft_tune.report.comparison.cells import CellSummary
from shapeft_tune.report.comparison.differences import Difference, Verdict, differences_between


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
    """Every other tested strategy against the best, corrected for their number."""

    @property
    def setting(self) -> tuple[float, int]:
        """Label fraction and number of dates."""
        return self.label_fraction, self.temporal_length


def recommended(cells: Sequence[CellSummary]) -> Recommendation | None:
    """Return what the cells of one setting amount to; None while none of them is tested."""
    tested = [cell for cell in cells if cell.test_miou_mean is not None]
    if not tested:
        return None
    best = max(tested, key=lambda cell: cell.test_miou_mean or 0.0)
    differences = differences_between([(cell, best) for cell in tested if cell is not best])
    alike = {each.strategy for each in differences if each.verdict is Verdict.NOT_TOLD_APART}
    candidates = [best, *(cell for cell in tested if cell.strategy in alike)]
    cheapest = min(candidates, key=_cost) if best.training_device_hours is not None else best
    return Recommendation(*best.setting, best.strategy, cheapest.strategy, differences)


def _cost(cell: CellSummary) -> float:
    return math.inf if cell.training_device_hours is None else cell.training_device_hours
