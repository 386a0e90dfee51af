"""A cell's scores on the test folds: means over seeds, with intervals over seeds and patches."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from shapeft_tune.config import Cell
from shapeft_tune.report.comparison.seeds import SeedScores, patches_of_seeds, scores_of_seeds
from shapeft_tune.report.runs import Run
from shapeft_tune.report.statistics.estimate import Estimate, estimate
from shapeft_tune.report.statistics.scored import ScoredPatches

SEEDS_AND_PATCHES, SEEDS = "seeds and patches", "seeds"
"""What an interval is over."""
FEWEST_PATCHES = 2
"""With pixels of a class, below which nothing is known of how its IoU varies over the land."""


@dataclass(frozen=True)
class ClassScore:
    """A class's IoU on the test folds, a fraction of 1."""

    mean: float | None
    """Over the seeds in which the class occurs; None where it occurs in none."""
    low: float | None = None
    """Ends of its 95 % interval over seeds and patches; None with fewer than two seeds, where fewer than two
    patches have pixels of it, and where nothing varied: no seed found any of it."""
    high: float | None = None


@dataclass(frozen=True)
class TestScores:
    """What the seeds of a cell's best configuration came to."""

    __test__ = False  # pytest takes it for a test by its name

    seeds: tuple[SeedScores, ...] = ()
    scored: ScoredPatches | None = field(default=None, compare=False, repr=False)

    @classmethod
    def of(cls, cell: Cell, confirmations: Sequence[Run]) -> TestScores:
        """Score the confirmations of one configuration."""
        return cls(scores_of_seeds(cell, confirmations), patches_of_seeds(cell, confirmations))

    @property
    def miou_by_seed(self) -> Mapping[int, float]:
        """Ascending by seed."""
        return {each.seed: each.values["miou"] for each in self.seeds if "miou" in each.values}

    def mean(self, name: str) -> float | None:
        """Return the mean over the seeds of a score; None where none has it."""
        values = [each.values[name] for each in self.seeds if name in each.values]
        return math.fsum(values) / len(values) if values else None

    def interval(self) -> tuple[float | None, float | None, str]:
        """Return the ends of the mean mIoU's 95 % interval and what it is over; None and empty if none."""
        values = tuple(self.miou_by_seed.values())
        drawn_BS = self.scored.replicates.miou_BS if self.scored else None
        patches = len(self.scored.patches) if self.scored else 0
        low, high = fraction_interval(estimate(values, drawn_BS, patches))
        over = SEEDS_AND_PATCHES if self.scored else SEEDS
        return low, high, "" if low is None else over

    def iou_by_class(self) -> Mapping[str, ClassScore]:
        """Return the IoU of each class, in the data set's order where that is known."""
        if self.scored is None:
            names = dict.fromkeys(name for each in self.seeds for name in each.iou)
            return {name: self._class_score(name, None) for name in names}
        return {name: self._class_score(name, at) for at, name in enumerate(self.scored.class_names)}

    def _class_score(self, name: str, at: int | None) -> ClassScore:
        values = [each.iou[name] for each in self.seeds if name in each.iou]
        if not values:
            return ClassScore(None)
        found = estimate(values) if at is None else self._class_estimate(values, at)
        return ClassScore(math.fsum(values) / len(values), *fraction_interval(found))

    def _class_estimate(self, values: Sequence[float], at: int) -> Estimate | None:
        """Estimate a class's mean IoU from the draws in which it occurs."""
        assert self.scored is not None
        patches = int(self.scored.target_SNK[0, :, at].astype(bool).sum())
        if patches < FEWEST_PATCHES:
            return None
        iou_BS = self.scored.replicates.iou_BSK[:, :, at]
        return estimate(values, iou_BS[~np.isnan(iou_BS).any(axis=1)], patches)


def fraction_interval(found: Estimate | None) -> tuple[float, float] | tuple[None, None]:
    """Return the 95 % interval of a mean that lies between 0 and 1; None twice where there is none."""
    if found is None or not found.varies:
        return None, None
    low, high = found.interval()
    return max(0.0, low), min(1.0, high)
