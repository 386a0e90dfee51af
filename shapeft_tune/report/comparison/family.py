"""Differences that are tested together, so that a pair of cells has one verdict wherever it is told."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from shapeft_tune.report.comparison.cells import CellSummary
from shapeft_tune.report.comparison.differences import Difference, differences_between

Pair = tuple[CellSummary, CellSummary]
Place = tuple[str, str, float, int]
"""Strategy, what it is compared with, label fraction and number of dates."""


@dataclass(frozen=True)
class Family:
    """The tested cells of every setting against the baseline and against the best, each pair once."""

    differences: Mapping[Place, Difference]
    """Either way round: one less another, and the other less the one."""

    @classmethod
    def of(cls, settings: Iterable[Sequence[CellSummary]], baseline: str | None) -> Family:
        """Test all pairs of all settings at once.

        Args:
            settings: the cells of each.
            baseline: the strategy that others are compared with; None where there is no other.
        """
        pairs = {
            frozenset((one.strategy, other.strategy, one.setting)): (one, other)
            for cells in settings
            for one, other in _pairs(cells, baseline)
        }
        found = differences_between(list(pairs.values()))
        both_ways = (each for difference in found for each in (difference, difference.mirrored()))
        return cls({(each.strategy, each.baseline, *each.setting): each for each in both_ways})

    def less(self, other: str, cells: Iterable[CellSummary]) -> tuple[Difference, ...]:
        """Return each cell less the other strategy's in its setting, leaving out what was not compared."""
        places = [(cell.strategy, other, *cell.setting) for cell in cells]
        return tuple(self.differences[place] for place in places if place in self.differences)


def best_of(cells: Iterable[CellSummary]) -> CellSummary | None:
    """Return the cell with the best mean test mIoU; None while none is tested."""
    tested = [cell for cell in cells if cell.is_tested]
    return max(tested, key=lambda cell: cell.test_miou_mean or 0.0, default=None)


def _pairs(cells: Sequence[CellSummary], baseline: str | None) -> Iterator[Pair]:
    """Yield every cell of a setting with the baseline's, and with the best one; some of them twice."""
    references = (next((cell for cell in cells if cell.strategy == baseline), None), best_of(cells))
    for other in filter(None, references):
        yield from ((cell, other) for cell in cells if cell is not other)
