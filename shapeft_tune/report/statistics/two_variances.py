"""The distribution of a mean's error whose variance is the sum of two that are each estimated.

``t_1 s_1 + t_2 s_2`` with Student's t of the degrees of freedom by which each variance is known: the solution
of Behrens (1929) and Fisher (1935), which errs on the safe side (Robinson 1976, Annals of Statistics 4, 963).
Satterthwaite's single t (1946) does not where a variance is known by two or three values: when these happen
to be close together it takes that variance for nothing. In the worlds of ``benchmarks/coverage.py``, with
three seeds, six strategies that were all the same and Holm's correction, it told some apart in 22 % of the
studies.

A t is a normal deviate whose variance is ``f / chi^2_f``, so the sum is one whose variance is drawn: tails
are means of normal tails over both chi-squared distributions, by Gauss and Legendre's quadrature.

Legend: Q nodes of the quadrature.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from shapeft_tune.report.statistics.pooled import Floats

NODES = 48
CLUSTERED = 4
"""Power by which nodes move to where chi-squared is small, and the variance is not: heavy tails are there."""
Part = tuple[float, float]
"""A variance and its degrees of freedom."""


def tail(error: float, first: Part, second: Part) -> float:
    """Return the probability of an error of this size or a larger one, to either side."""
    from scipy.special import erfc, stdtr  # type: ignore[import-untyped]  # here: it takes half a second

    alone = _alone(first, second)
    if alone:
        variance, freedom = alone
        return float(2 * stdtr(freedom, -error / math.sqrt(variance))) if variance else float(error == 0)
    variances_QQ, weights_QQ = _mixture(first, second)
    return float((weights_QQ * erfc(error / np.sqrt(2 * variances_QQ))).sum())


def quantile(confidence: float, first: Part, second: Part) -> float:
    """Return the error that is not exceeded, to either side, with this probability."""
    from scipy.optimize import brentq  # type: ignore[import-untyped]

    alone = _alone(first, second)
    if alone:
        return _reach(confidence, alone)
    reaches = [_reach(confidence, part) for part in (first, second)]
    # No less than by the larger part alone, and no more than by both at once
    least, most = 0.9 * max(reaches), 1.1 * sum(reaches)
    return float(brentq(lambda error: tail(error, first, second) - (1 - confidence), least, most))


def _reach(confidence: float, part: Part) -> float:
    """Return the quantile where there is no other variance than this: Student's."""
    from scipy.special import stdtrit

    variance, freedom = part
    return float(stdtrit(freedom, (1 + confidence) / 2)) * math.sqrt(variance)


def _alone(first: Part, second: Part) -> Part | None:
    """Return the part that there is where the other is nothing."""
    if second[0] == 0:
        return first
    return second if first[0] == 0 else None


def _mixture(first: Part, second: Part) -> tuple[Floats, Floats]:
    """Return what the sum's variance may be, and how probable that is."""
    of_first, weights = _inflations(first[1])
    of_second, _ = _inflations(second[1])
    return first[0] * of_first[:, None] + second[0] * of_second, weights[:, None] * weights


@lru_cache
def _inflations(freedom: float) -> tuple[Floats, Floats]:
    """Return values of ``f / chi^2_f`` with their weights."""
    from scipy.special import chdtri

    nodes, weights = np.polynomial.legendre.leggauss(NODES)
    spread, weights = (nodes + 1) / 2, weights / 2
    probable = spread**CLUSTERED
    inflations = freedom / chdtri(freedom, 1 - probable)
    return np.asarray(inflations), np.asarray(weights * CLUSTERED * spread ** (CLUSTERED - 1))
