"""One cell in two sweeps: the difference of its test scores, and how surely there is one.

Where both were tested on the same patches of the same data, the difference is paired: seed by seed, over the
same draws of the patches, as between the strategies of one sweep. Elsewhere the two means are independent: of
their difference, both the variance over trainings and that over the land are the sums of theirs, each with
the degrees of freedom of such a sum (Welch 1947, Satterthwaite 1946).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from shapeft_tune.report.comparison import CellSummary, Verdict
from shapeft_tune.report.side_by_side.changes import Change, best_changes
from shapeft_tune.report.statistics.estimate import Estimate, estimate
from shapeft_tune.report.statistics.holm import holm
from shapeft_tune.report.statistics.paired import paired
from shapeft_tune.report.statistics.two_variances import Part


@dataclass(frozen=True)
class CellPair:
    """A cell that both have. Differences are those of B less A; scores are fractions of 1."""

    a: CellSummary
    b: CellSummary
    changes: tuple[Change, ...]
    """Where the best configurations differ."""
    mean: float | None = None
    """Of the test mIoU: over common seeds where it is paired, else of the two means; None where either is not
    tested, or was scored by another convention."""
    low: float | None = None
    """Ends of the interval at the level at which Holm's procedure tests this difference."""
    high: float | None = None
    p_value: float | None = None
    """Adjusted by Holm's procedure over all cells that both have."""
    comparisons: int = 0
    paired: bool = False
    """Whether seeds and patches are the same in both."""
    seeds: int = 0
    """Common ones where it is paired, else those of the side with fewer."""
    verdict: Verdict | None = None
    """Of B: better, worse, not told apart, too few seeds; None where there is no difference."""

    @property
    def setting(self) -> tuple[float, int]:
        """Label fraction and number of dates."""
        return self.a.setting

    @property
    def place(self) -> tuple[str, float, int]:
        """Strategy, label fraction and number of dates."""
        return self.a.strategy, *self.a.setting


@dataclass(frozen=True)
class _Measured:
    pair: CellPair
    estimate: Estimate | None
    """None where there is nothing to test."""


def paired_cells(
    cells: Iterable[tuple[CellSummary, CellSummary]], *, same_metric: bool, same_data: bool
) -> tuple[CellPair, ...]:
    """Compare cells, and correct for their number.

    Args:
        cells: the same cell in A and in B.
        same_metric: whether both were scored by one convention; else there is nothing to compare.
        same_data: whether the data of both amount to the same, as far as is known.
    """
    measured = [
        _measured(a, b, same_data) if same_metric else _Measured(CellPair(a, b, best_changes(a, b)), None)
        for a, b in cells
    ]
    known = [each.estimate for each in measured if each.estimate is not None]
    tests = iter(holm([each.p_value for each in known]))
    found = []
    for each in measured:
        if each.estimate is None:
            found.append(each.pair)
            continue
        test = next(tests)
        low, high = each.estimate.interval(test.confidence)
        better = Verdict.BETTER if each.estimate.mean > 0 else Verdict.WORSE
        found.append(
            replace(
                each.pair,
                low=low,
                high=high,
                p_value=test.p_value,
                comparisons=len(known),
                verdict=better if test.rejected else Verdict.NOT_TOLD_APART,
            )
        )
    return tuple(found)


def _measured(a: CellSummary, b: CellSummary, same_data: bool) -> _Measured:
    pair = CellPair(a, b, best_changes(a, b))
    if a.test_miou_mean is None or b.test_miou_mean is None:
        return _Measured(pair, None)
    common = paired(b.miou_by_seed, a.miou_by_seed, b.scored, a.scored)
    if same_data and common and _on_the_same_patches(a, b):
        pair = replace(pair, mean=common.mean, seeds=len(common.seeds), paired=True)
        found = common.estimate
    else:
        seeds = min(len(a.miou_by_seed), len(b.miou_by_seed))
        pair = replace(pair, mean=b.test_miou_mean - a.test_miou_mean, seeds=seeds)
        found = _unpaired(a, b)
    if found is None:
        return _Measured(replace(pair, verdict=Verdict.TOO_FEW_SEEDS), None)
    if not found.varies:
        return _Measured(replace(pair, verdict=Verdict.NOT_TOLD_APART), None)
    return _Measured(pair, found)


def _on_the_same_patches(a: CellSummary, b: CellSummary) -> bool:
    if a.scored is None or b.scored is None:
        return False
    return (a.scored.patches, a.scored.class_names) == (b.scored.patches, b.scored.class_names)


def _unpaired(a: CellSummary, b: CellSummary) -> Estimate | None:
    """Return the difference of two independent means; None where either has fewer than two seeds."""
    one, other = _of_cell(a), _of_cell(b)
    if one is None or other is None:
        return None
    return Estimate(
        other.mean - one.mean,
        trainings=_sum(one.trainings, other.trainings),
        land=_sum(one.land, other.land),
    )


def _sum(one: Part, other: Part) -> Part:
    """Return the variance of two independent means' difference, by Satterthwaite's degrees of freedom."""
    whole = one[0] + other[0]
    if whole == 0:
        return 0.0, min(one[1], other[1])
    return whole, whole**2 / (one[0] ** 2 / one[1] + other[0] ** 2 / other[1])


def _of_cell(cell: CellSummary) -> Estimate | None:
    values = list(cell.miou_by_seed.values())
    if cell.scored is None:
        return estimate(values)
    return estimate(values, cell.scored.replicates.miou_BS, len(cell.scored.patches))
