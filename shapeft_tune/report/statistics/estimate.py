"""A mean over seeds with its uncertainty, from two crossed sources: the trainings and the land.

A score varies with the seed (weights, order, label subset) and with the patches that it is computed on. Both
are samples, and all seeds are scored on the same patches, so the two are crossed, not nested. Of the mean
over S seeds,

* the variance over seeds, s^2 / S, holds what trainings differ by, with S - 1 degrees of freedom;
* the variance over draws of the patches, the same for all seeds, holds what the land differs by. It also
  holds, as s^2 does, what is due to a seed on a patch; that part is known from how the seeds differ within a
  draw, and is taken off, so that it counts once (Owen 2007 has the components of such crossed data).

Their sum is the squared standard error. What it is a multiple of is in ``two_variances.py``. Percentiles of a
bootstrap over three seeds would be too narrow: it never draws beyond the best and the worst of the three, and
its variance is two thirds of theirs (Hesterberg 2015, section 4).

Legend: S seeds, B draws.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from shapeft_tune.report.statistics.pooled import Floats
from shapeft_tune.report.statistics.two_variances import Part, quantile, tail

CONFIDENCE = 0.95
NOTHING: Part = (0.0, 1)
ROUNDING = 1e-12
"""Of fractions of 1: what is off by less is the same."""


@dataclass(frozen=True)
class Estimate:
    """A mean and how sure it is."""

    mean: float
    trainings: Part
    """What the mean varies by as seeds differ."""
    land: Part = NOTHING
    """What it varies by as patches differ, for any seed; nothing where patches are not known."""

    @property
    def variance(self) -> float:
        """Of the mean: that over trainings and that over the land."""
        return self.trainings[0] + self.land[0]

    @property
    def standard_error(self) -> float:
        """Its root."""
        return math.sqrt(self.variance)

    @property
    def varies(self) -> bool:
        """Whether anything varied beyond rounding; else nothing is known of how sure the mean is.

        The IoU of a class that no seed ever found is 0 on every draw of the patches, which does not mean that
        it is known to be 0; nor are two seeds with the same score proof that a third would have it.
        """
        return self.standard_error > ROUNDING

    def interval(self, confidence: float = CONFIDENCE) -> tuple[float, float]:
        """Return the interval that holds the true mean with this probability."""
        reach = quantile(confidence, self.trainings, self.land)
        return self.mean - reach, self.mean + reach

    @property
    def p_value(self) -> float:
        """How probable a mean as far from 0, or farther, would be if the true one were 0."""
        return tail(abs(self.mean), self.trainings, self.land)


def estimate(
    values_S: Sequence[float], replicates_BS: Floats | None = None, patches: int = 0
) -> Estimate | None:
    """Estimate the mean over all seeds that there could be and, with replicates, over all the land.

    Args:
        values_S: the score of every seed, or a difference of two scores.
        replicates_BS: the same over draws of the patches, of all these seeds or of some of them; None where
            patches are not known: the land is then taken as it is.
        patches: how many there are to draw from.

    Returns:
        None with fewer than two seeds.
    """
    seeds = len(values_S)
    if seeds < 2:
        return None
    mean = math.fsum(values_S) / seeds
    over_seeds = math.fsum((value - mean) ** 2 for value in values_S) / (seeds - 1) / seeds
    land = NOTHING if replicates_BS is None else (land_variance(replicates_BS), max(patches - 1, 1))
    return Estimate(mean, (over_seeds, seeds - 1), land)


def land_variance(replicates_BS: Floats) -> float:
    """Return what a mean over seeds varies by from land to land, without what is due to seed and patch."""
    seeds = replicates_BS.shape[1]
    of_mean = float(np.var(replicates_BS.mean(axis=1), ddof=1))
    if seeds == 1:
        return of_mean
    off_BS = replicates_BS - replicates_BS.mean(axis=0)
    of_seed_and_patch = float(np.var(off_BS, axis=1, ddof=1).mean()) / seeds
    rest: float = max(of_mean - of_seed_and_patch, 0.0)
    return rest
