"""Strategies against a baseline in the same setting, over the same patches and seeds."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """What a difference allows to say, after correction for the number of comparisons."""

    BETTER = "better"
    WORSE = "worse"
    NOT_TOLD_APART = "not told apart"
    TOO_FEW_SEEDS = "too few seeds"


@dataclass(frozen=True)
class Difference:
    """A strategy's test mIoU less another's, in one setting. Scores are fractions of 1."""

    strategy: str
    baseline: str
    label_fraction: float
    temporal_length: int
    mean: float
    """Over the seeds that both have."""
    low: float | None
    """Lower end of the interval at the level at which Holm's procedure tests this difference, so that it
    leaves out 0 exactly where the verdict is better or worse; None with fewer than two common seeds."""
    high: float | None
    p_value: float | None
    """Adjusted by Holm's procedure."""
    comparisons: int
    """Over how many it is adjusted."""
    seeds: tuple[int, ...]
    """Those that both have."""
    verdict: Verdict

    @property
    def setting(self) -> tuple[float, int]:
        """Label fraction and number of dates."""
        return self.label_fraction, self.temporal_length
