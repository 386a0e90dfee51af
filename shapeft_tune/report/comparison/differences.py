"""Strategies against a baseline in the same setting, over the same patches and seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from shapeft_tune.report.comparison.cells import CellSummary
from shapeft_tune.report.comparison.tested import SEEDS, SEEDS_AND_PATCHES
from shapeft_tune.report.statistics.estimate import Estimate
from shapeft_tune.report.statistics.holm import Tested, holm
from shapeft_tune.report.statistics.paired import Paired, paired


class Verdict(StrEnum):
    """What a difference allows to say, after correction for the number of comparisons."""

    BETTER = "better"
    WORSE = "worse"
    NOT_TOLD_APART = "not told apart"
    TOO_FEW_SEEDS = "too few seeds"

    @property
    def mirrored(self) -> Verdict:
        """What the same test says of the other of the two."""
        return {Verdict.BETTER: Verdict.WORSE, Verdict.WORSE: Verdict.BETTER}.get(self, self)


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
    leaves out 0 exactly where the verdict is better or worse; None with fewer than two common seeds, and
    where nothing varied: two or three differences that are the same do not show how far others would be."""
    high: float | None
    p_value: float | None
    """Adjusted by Holm's procedure."""
    comparisons: int
    """Over how many it is adjusted; 0 where it was not tested."""
    seeds: tuple[int, ...]
    """Those that both have."""
    verdict: Verdict
    confidence: float | None = None
    """Of the interval from ``low`` to ``high``: 0.95 or more; None where there is none."""
    interval_over: str = ""
    """What it is over: ``seeds and patches``, or ``seeds`` where not both have the same test patches."""

    @property
    def setting(self) -> tuple[float, int]:
        """Label fraction and number of dates."""
        return self.label_fraction, self.temporal_length

    def mirrored(self) -> Difference:
        """Return the other less the one: the same test, with the sign turned."""
        return replace(
            self,
            strategy=self.baseline,
            baseline=self.strategy,
            mean=0.0 - self.mean,  # not -0.0 where it is 0
            low=None if self.high is None else 0.0 - self.high,
            high=None if self.low is None else 0.0 - self.low,
            verdict=self.verdict.mirrored,
        )


def differences_between(pairs: Sequence[tuple[CellSummary, CellSummary]]) -> tuple[Difference, ...]:
    """Compare the first of each pair with the second, corrected for the number of all that can be tested.

    Pairs without a common seed are left out: there is nothing to compare. Those with one, and those that
    nothing varied in, have a mean alone.
    """
    found = [
        (one, other, difference)
        for one, other in pairs
        if (difference := paired(one.miou_by_seed, other.miou_by_seed, one.scored, other.scored))
    ]
    estimates = [each.estimate if each.estimate and each.estimate.varies else None for _, _, each in found]
    tests = holm([estimate.p_value for estimate in estimates if estimate])
    told = iter(tests)
    return tuple(
        _tested(one, other, each, estimate, next(told), len(tests))
        if estimate
        else _untested(one, other, each)
        for (one, other, each), estimate in zip(found, estimates, strict=True)
    )


def _tested(
    one: CellSummary, other: CellSummary, found: Paired, estimate: Estimate, test: Tested, comparisons: int
) -> Difference:
    low, high = estimate.interval(test.confidence)
    told_apart = Verdict.BETTER if found.mean > 0 else Verdict.WORSE
    return Difference(
        one.strategy,
        other.strategy,
        *one.setting,
        mean=found.mean,
        low=max(-1.0, low),
        high=min(1.0, high),
        p_value=test.p_value,
        comparisons=comparisons,
        seeds=found.seeds,
        verdict=told_apart if test.rejected else Verdict.NOT_TOLD_APART,
        confidence=test.confidence,
        interval_over=SEEDS_AND_PATCHES if found.over_patches else SEEDS,
    )


def _untested(one: CellSummary, other: CellSummary, found: Paired) -> Difference:
    return Difference(
        one.strategy,
        other.strategy,
        *one.setting,
        mean=found.mean,
        low=None,
        high=None,
        p_value=None,
        comparisons=0,
        seeds=found.seeds,
        verdict=Verdict.NOT_TOLD_APART if found.estimate else Verdict.TOO_FEW_SEEDS,
    )
