"""The difference of two cells' mIoU, from the seeds that both have, on the same draws of the same patches.

What moves both alike is taken out: hard patches, and the label subset that a seed chooses for all strategies.

Legend: B draws, S seeds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from shapeft_tune.report.statistics.estimate import Estimate, estimate
from shapeft_tune.report.statistics.pooled import Floats
from shapeft_tune.report.statistics.scored import ScoredPatches


@dataclass(frozen=True)
class Paired:
    """One cell less another."""

    seeds: tuple[int, ...]
    """Those that both have, ascending; one at least."""
    mean: float
    """Over these."""
    estimate: Estimate | None
    """The mean with its uncertainty; None with fewer than two seeds."""
    over_patches: bool
    """Whether that is over patches, too: both have been scored on the same ones."""


def paired(
    one: Mapping[int, float],
    other: Mapping[int, float],
    one_scored: ScoredPatches | None = None,
    other_scored: ScoredPatches | None = None,
) -> Paired | None:
    """Subtract the other's mIoU from the one's.

    Args:
        one: mIoU by seed.
        other: the same of what it is compared with.
        one_scored: the patches behind it, of all its seeds or of some; None where they are not known.
        other_scored: the same of the other.

    Returns:
        None without a common seed.
    """
    seeds = tuple(sorted(one.keys() & other.keys()))
    if not seeds:
        return None
    values_S = [one[seed] - other[seed] for seed in seeds]
    apart_BS = _drawn_apart(one_scored, other_scored, seeds)
    patches = len(one_scored.patches) if one_scored else 0
    found = estimate(values_S, apart_BS, patches)
    return Paired(seeds, math.fsum(values_S) / len(seeds), found, apart_BS is not None)


def _drawn_apart(
    one: ScoredPatches | None, other: ScoredPatches | None, seeds: Sequence[int]
) -> Floats | None:
    """Return the difference over the draws of the patches, ``[B, S]``, for the seeds that have patches.

    None where there is no such seed, or patches or classes are not the same.
    """
    if one is None or other is None:
        return None
    known = [seed for seed in seeds if seed in one.seeds and seed in other.seeds]
    if not known or (one.patches, one.class_names) != (other.patches, other.class_names):
        return None
    return one.miou_drawn_for(known) - other.miou_drawn_for(known)
