"""Which training patches keep their labels: nested, seeded, the same wherever and whenever it is asked.

Whatever the draw, it is an order of all patches, of which a share is the beginning: so a smaller share lies
in a larger one.

Legend: N patches, K classes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from shapeft_tune.data.folder import Patch

ClassPixels = Mapping[int, Sequence[int]]
"""Labelled pixels of each class, by patch id."""
CANDIDATES = 16
"""Patches of which the best is taken at each place of a stratified order. With more, classes are followed
more closely, and seeds have less to differ in."""


def labelled_patches(
    patches: Iterable[Patch], fraction: float, seed: int, pixels: ClassPixels | None = None
) -> tuple[Patch, ...]:
    """Return the patches whose labels may be used: ``max(1, round(fraction x N))`` of them, ordered by id.

    For one seed, a smaller fraction's patches are among a larger one's. The order in which the patches come
    does not matter. With ``pixels`` the draw is stratified, see :func:`stratified`. Without, it is uniform: a
    rare class may be missing from a small subset, as it may be in a small survey.
    """
    order = shuffled(patches, f"labels {seed}")
    if pixels is not None:
        order = stratified(order, pixels)
    count = max(1, round(fraction * len(order)))
    return tuple(sorted(order[:count], key=lambda patch: patch.id))


def shuffled(patches: Iterable[Patch], salt: str) -> list[Patch]:
    """Return the patches in an order that depends on the salt and the ids alone.

    Sorting by a hash and not by a random generator: the order survives every version of every library, and
    adding or losing a patch leaves the others in place.
    """
    return sorted(patches, key=lambda patch: hashlib.sha256(f"{salt}/{patch.id}".encode()).digest())


def stratified(patches: Sequence[Patch], pixels: ClassPixels) -> list[Patch]:
    """Return the patches in an order whose every beginning has, nearly, the classes of the whole.

    At each place stands the best of the next few patches in the given, random order. While a class is
    missing, the next few are those that have the rarest missing one, and the best has most of the missing
    ones; ties, and all later places, go to the patch with which the shares of the classes come closest to the
    whole's. So the rarest come first, as in iterative stratification (Sechidis et al., 2011), which makes
    parts of given sizes where an order is needed here.
    """
    pixels_NK = np.array([pixels[patch.id] for patch in patches], dtype=np.int64)
    whole_K = pixels_NK.sum(axis=0)
    remaining, order = list(range(len(patches))), []
    chosen_K = np.zeros_like(whole_K)
    while remaining:
        missing = (whole_K > 0) & (chosen_K == 0)
        candidates = np.array(_next_few(remaining, pixels_NK, missing))
        best = int(candidates[_best(pixels_NK[candidates], chosen_K, missing, whole_K)])
        remaining.remove(best)
        order.append(best)
        chosen_K = chosen_K + pixels_NK[best]
    return [patches[place] for place in order]


def _next_few(remaining: list[int], pixels_NK: NDArray[np.int64], missing: NDArray[np.bool_]) -> list[int]:
    if not missing.any():
        return _first_few(remaining)
    patches_with_K = np.where(missing, (pixels_NK[remaining] > 0).sum(axis=0), len(remaining) + 1)
    rarest = int(patches_with_K.argmin())
    return _first_few([place for place in remaining if pixels_NK[place, rarest]])


def _first_few(places: list[int]) -> list[int]:
    """Return a third of the places at most: of all of them the best would be the same for every seed."""
    return places[: max(1, min(CANDIDATES, len(places) // 3))]


def _best(
    candidates_NK: NDArray[np.int64],
    chosen_K: NDArray[np.int64],
    missing: NDArray[np.bool_],
    whole_K: NDArray[np.int64],
) -> int:
    """Return which candidate has most of the missing classes or, if several do, brings the shares closest."""
    found_N = (candidates_NK[:, missing] > 0).sum(axis=1)
    with_NK = chosen_K + candidates_NK
    shares_NK = with_NK / with_NK.sum(axis=1, keepdims=True).clip(min=1)
    distance_N = np.abs(shares_NK - whole_K / max(whole_K.sum(), 1)).sum(axis=1)
    return int(np.lexsort((distance_N, -found_N))[0])
