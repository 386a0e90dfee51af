"""Whether the strategies of a setting come in the same order under every seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from shapeft_tune.report.comparison.cells import CellSummary
from shapeft_tune.report.statistics.concordance import concordance, ranks_of


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


def rank_stability(cells: Sequence[CellSummary]) -> RankStability | None:
    """Rank the tested cells of one setting; None with fewer than two, or without a seed that all have."""
    tested = [cell for cell in cells if cell.miou_by_seed]
    seeds = sorted(set.intersection(*(set(cell.miou_by_seed) for cell in tested))) if tested else []
    if len(tested) < 2 or not seeds:
        return None
    ranks_SM = ranks_of([[cell.miou_by_seed[seed] for cell in tested] for seed in seeds])
    best = max(range(len(tested)), key=lambda at: tested[at].test_miou_mean or 0.0)
    return RankStability(
        *tested[0].setting,
        seeds=tuple(seeds),
        ranks={cell.strategy: tuple(ranks_SM[:, at].tolist()) for at, cell in enumerate(tested)},
        concordance=concordance(ranks_SM),
        first_share=float((ranks_SM[:, best] == ranks_SM.min(axis=1)).mean()),
    )
