"""From samples to batches: the endless training stream, the one pass of an evaluation, reading ahead.

Legend: B patches of a batch, T frames, C bands, H and W pixels.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from queue import SimpleQueue
from typing import Self, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from shapeft_tune.data.splits import Sample, Split

Item = TypeVar("Item")
Scalar = TypeVar("Scalar", bound=np.generic)

ORDER, SYMMETRY, CROP = 0, 1, 2
"""Kinds of chance: one seed draws each from its own stream."""


@dataclass(frozen=True)
class Batch:
    """Several patches; images as stored, to be normalised on the device."""

    images_BTCHW: torch.Tensor
    """int16: half the way to the device of what float32 would take."""
    days_BT: torch.Tensor
    """int64, days since ``pastis.SEASON_START``."""
    valid_BT: torch.Tensor
    """bool, False for padding."""
    target_BHW: torch.Tensor
    """uint8, ``pastis.VOID`` where unknown."""
    patch_ids: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.patch_ids)

    def to(self, device: torch.device | str) -> Self:
        """Return the batch on another device."""
        return replace(
            self,
            images_BTCHW=self.images_BTCHW.to(device),
            days_BT=self.days_BT.to(device),
            valid_BT=self.valid_BT.to(device),
            target_BHW=self.target_BHW.to(device),
        )


def training_batches(
    split: Split,
    *,
    batch_size: int,
    seed: int,
    augmentation: str,
    first_step: int,
    last_step: int,
    crop: int | None = None,
) -> Iterator[Batch]:
    """Yield the batches of optimiser steps ``first_step``, ..., ``last_step - 1``, counted from 0.

    The stream goes through one permutation of the patches after another; a batch may hold the end of one and
    the start of the next, so all batches have the same size. What a step sees depends on the seed and the
    step alone: a trial that is resumed at any step sees what it would have seen. ``crop`` is the side, in
    pixels, of a square cut out of every patch at a random place.
    """
    for step in range(first_step, last_step):
        places = range(step * batch_size, (step + 1) * batch_size)
        samples = [split.sample(_patch_at(place, len(split), seed)) for place in places]
        if crop is not None:
            chance = np.random.default_rng([seed, CROP, step])
            samples = [_cropped(sample, crop, chance) for sample in samples]
        if augmentation == "flips_and_rotations":
            chance = np.random.default_rng([seed, SYMMETRY, step])
            samples = [_turned(sample, *chance.integers((4, 2))) for sample in samples]
        yield _collated(samples)


def evaluation_batches(split: Split, batch_size: int) -> Iterator[Batch]:
    """Yield every patch once, in order; the last batch may be smaller."""
    for first in range(0, len(split), batch_size):
        last = min(first + batch_size, len(split))
        yield _collated([split.sample(index) for index in range(first, last)])


def prefetched(iterable: Iterable[Item], depth: int = 2) -> Iterator[Item]:
    """Yield the items of ``iterable``, made by a thread that is at most ``depth`` items ahead.

    What the iterable raises is raised here, after the items before it. When the consumer stops early, the
    thread ends after the item it is at.
    """
    made: SimpleQueue[tuple[Item] | BaseException | None] = SimpleQueue()
    room = threading.Semaphore(depth - 1)  # asked for after each item, so not before the first
    stopped = threading.Event()

    def make() -> None:
        try:
            for item in iterable:
                made.put((item,))
                room.acquire()
                if stopped.is_set():
                    return
            made.put(None)
        except BaseException as error:
            made.put(error)

    maker = threading.Thread(target=make, name="prefetch", daemon=True)
    maker.start()
    try:
        while (entry := made.get()) is not None:
            if isinstance(entry, BaseException):
                raise entry
            room.release()
            yield entry[0]
    finally:
        stopped.set()
        room.release()
        maker.join()


def _patch_at(place: int, count: int, seed: int) -> int:
    epoch, offset = divmod(place, count)
    return int(_permutation(count, seed, epoch)[offset])


@lru_cache(maxsize=4)  # a batch needs one epoch's, or two at the border
def _permutation(count: int, seed: int, epoch: int) -> NDArray[np.int64]:
    return np.random.default_rng([seed, ORDER, epoch]).permutation(count)


def _turned(sample: Sample, quarter_turns: int, flipped: int) -> Sample:
    """Return one of the eight symmetries of the square; images and labels alike."""

    def turn(array: NDArray[Scalar]) -> NDArray[Scalar]:
        turned = np.rot90(array, quarter_turns, axes=(-2, -1))
        return turned[..., ::-1] if flipped else turned

    return replace(sample, images_TCHW=turn(sample.images_TCHW), target_HW=turn(sample.target_HW))


def _cropped(sample: Sample, side: int, chance: np.random.Generator) -> Sample:
    height, width = sample.target_HW.shape
    top, left = chance.integers((height - side + 1, width - side + 1))
    inside = (..., slice(top, top + side), slice(left, left + side))
    return replace(sample, images_TCHW=sample.images_TCHW[inside], target_HW=sample.target_HW[inside])


def _collated(samples: Sequence[Sample]) -> Batch:
    return Batch(
        images_BTCHW=torch.from_numpy(np.stack([sample.images_TCHW for sample in samples])),
        days_BT=torch.from_numpy(np.stack([sample.days_T for sample in samples])),
        valid_BT=torch.from_numpy(np.stack([sample.valid_T for sample in samples])),
        target_BHW=torch.from_numpy(np.stack([sample.target_HW for sample in samples])),
        patch_ids=tuple(sample.patch_id for sample in samples),
    )
