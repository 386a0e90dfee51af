"""Whether the strategies of a setting come in the same order under every seed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class RankStability:
    """The order of the strategies of a setting by test mIoU, seed by seed."""

    label_fraction: float
    temporal_length: int
    seeds: tuple[int, ...]
    """Those that all tested strategies have."""
    ranks: Mapping[str, tuple[float, ...]]
    """By strategy, for each seed: 1 for the best; equals share their mean rank."""
    concordance: float | None
    """Kendall's W: 1 where every seed gives the same order, near 0 where the order is chance; None with
    fewer than two seeds or strategies."""
    first_share: float
    """Share of the seeds under which the strategy with the best mean comes first."""

    @property
    def setting(self) -> tuple[float, int]:
        """Label fraction and number of dates."""
        return self.label_fraction, self.temporal_length
