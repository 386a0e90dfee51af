"""Which strategy to take in a setting, and which cheaper one is not told apart from it."""

from __future__ import annotations

from dataclasses import dataclass

from shapeft_tune.report.comparison.differences import Difference


@dataclass(frozen=True)
class Recommendation:
    """What a setting's results amount to."""

    label_fraction: float
    temporal_length: int
    best: str
    """The strategy with the best mean test mIoU."""
    cheapest: str
    """The one that takes the fewest device hours for a training, of those not told apart from the best."""
    differences: tuple[Difference, ...]
    """Every other tested strategy against the best, corrected for their number."""

    @property
    def setting(self) -> tuple[float, int]:
        """Label fraction and number of dates."""
        return self.label_fraction, self.temporal_length
