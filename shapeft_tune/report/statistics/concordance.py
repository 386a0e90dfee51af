"""Whether several seeds rank the same things alike: Kendall's W (Kendall and Babington Smith 1939).

Legend: S seeds, M things.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from shapeft_tune.report.statistics.pooled import Floats


def ranks_of(values_SM: npt.ArrayLike) -> Floats:
    """Return each seed's ranks, 1 for the largest value; equals share their mean rank."""
    from scipy.stats import rankdata  # type: ignore[import-untyped]  # here: it takes half a second

    return np.asarray(rankdata(-np.asarray(values_SM, dtype=np.float64), axis=1))


def concordance(ranks_SM: Floats) -> float | None:
    """Return Kendall's W, corrected for ties: 1 where all seeds agree, 0 where the mean ranks are equal.

    None with fewer than two seeds or things, or where every seed has them all equal.
    """
    seeds, things = ranks_SM.shape
    if seeds < 2 or things < 2:
        return None
    sizes = [np.unique(ranks_M, return_counts=True)[1] for ranks_M in ranks_SM]
    tied = sum(float((each**3 - each).sum()) for each in sizes)
    most = seeds**2 * (things**3 - things) - seeds * tied
    if most == 0:
        return None
    sums_M = ranks_SM.sum(axis=0)
    return float(12 * ((sums_M - sums_M.mean()) ** 2).sum() / most)
