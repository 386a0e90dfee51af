"""What each test patch was scored under each seed: all that intervals and differences are computed from.

Legend: S seeds, N patches, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from shapeft_tune.report.counts import PatchCounts, Pixels
from shapeft_tune.report.statistics.pooled import Floats
from shapeft_tune.report.statistics.resampling import Replicates, resampled


@dataclass(frozen=True, eq=False)
class ScoredPatches:
    """Pixels of every test patch under every seed, as far as scores need them; void is left out."""

    seeds: tuple[int, ...]
    patches: tuple[str, ...]
    """Ids, in the same order for every seed; every test fold's patches where folds rotate."""
    class_names: tuple[str, ...]
    hit_SNK: Pixels
    """Pixels of a class that were called it."""
    target_SNK: Pixels
    """Pixels of a class."""
    predicted_SNK: Pixels
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
    seeds = {seed: _Joined.of(parts) for seed, parts in sorted(parts_by_seed.items())}
    if not seeds:
        return None
    first = next(iter(seeds.values()))
    alike = {
        seed: part
        for seed, part in seeds.items()
        if (part.ids, part.class_names) == (first.ids, first.class_names)
    }
    pixels_3SNK = np.stack([part.pixels_3NK for part in alike.values()], axis=1)
    return ScoredPatches(tuple(alike), first.ids, first.class_names, *pixels_3SNK)


@dataclass(frozen=True, eq=False)
class _Joined:
    """The patches of all test folds of one seed, ascending by id."""

    ids: tuple[str, ...]
    class_names: tuple[str, ...]
    pixels_3NK: Pixels
    """Hit, target and predicted."""

    @classmethod
    def of(cls, parts: Sequence[PatchCounts]) -> _Joined:
        ids = [each for part in parts for each in part.ids]
        order = sorted(range(len(ids)), key=ids.__getitem__)
        pixels = [np.stack([part.hit_NK, part.target_NK, part.predicted_NK]) for part in parts]
        pixels_3NK = np.concatenate(pixels, axis=1)[:, order]
        return cls(tuple(ids[place] for place in order), parts[0].class_names, pixels_3NK)
