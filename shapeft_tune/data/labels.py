"""Which training patches keep their labels: nested, seeded, the same wherever and whenever it is asked."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from shapeft_tune.data.pastis import Patch


def labelled_patches(patches: Iterable[Patch], fraction: float, seed: int) -> tuple[Patch, ...]:
    """Return the patches whose labels may be used: ``max(1, round(fraction x N))`` of them, ordered by id.

    For one seed, a smaller fraction's patches are among a larger one's. The order in which the patches come
    does not matter. The draw is uniform: a rare class may be missing from a small subset, as it may be in
    a small survey.
    """
    order = shuffled(patches, f"labels {seed}")
    count = max(1, round(fraction * len(order)))
    return tuple(sorted(order[:count], key=lambda patch: patch.id))


def shuffled(patches: Iterable[Patch], salt: str) -> list[Patch]:
    """Return the patches in an order that depends on the salt and the ids alone.

    Sorting by a hash and not by a random generator: the order survives every version of every library, and
    adding or losing a patch leaves the others in place.
    """
    return sorted(patches, key=lambda patch: hashlib.sha256(f"{salt}/{patch.id}".encode()).digest())
