"""Which training patches keep their labels: nested, seeded, the same wherever and whenever it is asked.

Whatever the draw, it is an order of all patches, of which a share is the beginning: so a smaller share lies
in a larger one.

Legend: N patches, K classes.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from shapeft_tune.config.data import DataConfig
from shapeft_tune.data.facts import class_pixels_of
from shapeft_tune.data.folder import Folder, Patch

Draw = Literal["random", "stratified", "oversampled"]
"""How patches are drawn; see ``DataConfig.labels``."""
ClassPixels = Mapping[int, Sequence[int]]
"""Labelled pixels of each class, by patch id."""
CANDIDATES = 16
"""Patches of which the best is taken at each place of a stratified order. With more, classes are followed
more closely, and seeds have less to differ in."""


@dataclass(frozen=True)
class Labelled:
    """The patches that a trial may learn from, and what their labels hold."""

    patches: tuple[Patch, ...]
    """Ordered by id."""
    pixels_K: tuple[int, ...]
    """Their labelled pixels of each class, void left out."""


def draw_labels(config: DataConfig, seed: int, folder: Folder) -> Labelled:
    """Return what a trial with this seed may learn from, reading each label once at most.

    A folder that keeps facts has its training folds counted once for all trials; without them a uniform draw
    reads the labels of the drawn patches alone.
    """
    patches, fraction = folder.in_folds(config.folds.train), config.label_fraction
    draw = config.labels if fraction < 1 else "random"  # all of them are the same ones however drawn
    pixels = class_pixels_of(folder, patches) if draw != "random" else None
    labelled = labelled_patches(patches, fraction, seed, draw, pixels)
    if pixels is None:
        pixels = class_pixels_of(folder, labelled)
    return Labelled(
        labelled, sum_of_pixels((pixels[patch.id] for patch in labelled), len(folder.class_names))
    )


def sum_of_pixels(pixels: Iterable[Sequence[int]], classes: int) -> tuple[int, ...]:
    """Return the pixels of each class in several patches together."""
    total_K = np.zeros(classes, dtype=np.int64)
    for pixels_K in pixels:
        total_K += np.array(pixels_K, dtype=np.int64)
    return tuple(total_K.tolist())


def labelled_patches(
    patches: Iterable[Patch],
    fraction: float,
    seed: int,
    draw: Draw = "random",
    pixels: ClassPixels | None = None,
) -> tuple[Patch, ...]:
    """Return the patches whose labels may be used: ``max(1, round(fraction x N))`` of them, ordered by id.

    For one seed, a smaller fraction's patches are among a larger one's. The order in which the patches come
    does not matter.

    Args:
        patches: to draw from.
        fraction: share of them, above 0, at most 1.
        seed: another one draws others.
        draw: ``random``: evenly; a rare class may be missing from a small subset, as it may be in a small
            survey. ``stratified``, ``oversampled``: by their classes, see the functions of these names.
        pixels: of every patch; a random draw needs none.
    """
    order = shuffled(patches, f"labels {seed}")
    if draw != "random":
        assert pixels is not None, f"a draw that is {draw} needs the pixels of each class"
        order = stratified(order, pixels) if draw == "stratified" else oversampled(order, pixels, seed)
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
    whole's. So the rarest come first, as in iterative stratification (Sechidis et al., 2011). The libraries
    that offer it (iterative-stratification, scikit-multilearn) make parts of given sizes, of which a smaller
    need not lie in a larger; what is needed here is an order.
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


def oversampled(patches: Sequence[Patch], pixels: ClassPixels, seed: int) -> list[Patch]:
    """Return the patches in a random order in which those that are rich in rare classes tend to come first.

    A patch's weight is the chance to hit it by drawing a class, each equally likely, and then one of that
    class's pixels: the sum over classes of its share of all pixels of the class. So every class has the same
    say, however rare. The order is a weighted draw without replacement, each next patch drawn from the rest
    in proportion to its weight: by falling ``u ** (1 / weight)`` with u even between 0 and 1 (Efraimidis and
    Spirakis, "Weighted random sampling with a reservoir", Information Processing Letters 2006). The u of a
    patch is a hash of seed and id, for the reason given in :func:`shuffled`. Patches of nothing but void come
    last, in the order given.
    """
    if not patches:
        return []
    pixels_NK = np.array([pixels[patch.id] for patch in patches], dtype=np.int64)
    weights_N = (pixels_NK / pixels_NK.sum(axis=0).clip(min=1)).sum(axis=1)

    def waiting_time(place: int) -> float:
        """Return -log(u) / weight, which orders as u ** (1 / weight) does and never underflows."""
        weight = float(weights_N[place])
        return -math.log(_even(f"oversampled {seed}/{patches[place].id}")) / weight if weight else math.inf

    return [patches[place] for place in sorted(range(len(patches)), key=waiting_time)]


def _even(text: str) -> float:
    """Return a number between 0 and 1 that depends on the text alone; never 0, and 1 at the most."""
    return (int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) + 1) / 2**64


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
