"""What each test patch was scored under each seed: all that intervals and differences are computed from.

Legend: S seeds, N patches, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from shapeft_tune.report.counts import PatchCounts
from shapeft_tune.report.statistics.pooled import Floats
from shapeft_tune.report.statistics.resampling import Replicates, resampled
from shapeft_tune.scores import Counts


@dataclass(frozen=True, eq=False)
class ScoredPatches:
    """Pixels of every test patch under every seed, as far as scores need them; void is left out.

    A confusion matrix's diagonal and margins are enough for IoU, F1 and accuracy, and take K/3 less room.
    """

    seeds: tuple[int, ...]
    patches: tuple[str, ...]
    """Ids, in the same order for every seed; every test fold's patches where folds rotate."""
    class_names: tuple[str, ...]
    hit_SNK: Counts
    """Pixels of a class that were called it."""
    target_SNK: Counts
    """Pixels of a class."""
    predicted_SNK: Counts
    """Pixels that were called a class."""

    @cached_property
    def replicates(self) -> Replicates:
        """The scores over many random draws of the patches; the same draws wherever the patches are."""
        return resampled(self.hit_SNK, self.target_SNK, self.predicted_SNK)

    def miou_drawn_for(self, seeds: Sequence[int]) -> Floats:
        """Return the mIoU of some of the seeds over the draws of the patches, ``[B, S]``."""
        return self.replicates.miou_BS[:, [self.seeds.index(seed) for seed in seeds]]


def scored_patches(parts_by_seed: Mapping[int, Sequence[PatchCounts]]) -> ScoredPatches | None:
    """Put the patches of all seeds together, ascending by seed and id.

    Args:
        parts_by_seed: the test folds of each seed, all of them.

    Returns:
        None where there is no seed. A seed with other patches or classes than the first is left out: an
        earlier version of the data set was tested.
    """
    seeds = {seed: _joined(parts) for seed, parts in sorted(parts_by_seed.items())}
    if not seeds:
        return None
    first = next(iter(seeds.values()))
    alike = {
        seed: part
        for seed, part in seeds.items()
        if (part.ids, part.class_names) == (first.ids, first.class_names)
    }
    counts = [part.counts_NKK for part in alike.values()]
    return ScoredPatches(
        tuple(alike),
        first.ids,
        first.class_names,
        hit_SNK=np.stack([np.diagonal(each_NKK, axis1=1, axis2=2) for each_NKK in counts]),
        target_SNK=np.stack([each_NKK.sum(axis=2) for each_NKK in counts]),
        predicted_SNK=np.stack([each_NKK.sum(axis=1) for each_NKK in counts]),
    )


def _joined(parts: Sequence[PatchCounts]) -> PatchCounts:
    ids = np.array([each for part in parts for each in part.ids])
    order = np.argsort(ids, kind="stable")
    counts_NKK = np.concatenate([part.counts_NKK for part in parts])[order]
    return PatchCounts(tuple(ids[order].tolist()), parts[0].class_names, counts_NKK)
