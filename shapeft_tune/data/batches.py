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

from shapeft_tune.config.data import Augmentation
from shapeft_tune.data.folder import WHOLE, Window
from shapeft_tune.data.splits import Sample, Split

Item = TypeVar("Item")
Scalar = TypeVar("Scalar", bound=np.generic)

ORDER, AUGMENTATION = 0, 1
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
    augmentation: Augmentation,
    first_step: int,
    last_step: int,
) -> Iterator[Batch]:
    """Yield the batches of optimiser steps ``first_step``, ..., ``last_step - 1``, counted from 0.

    The stream goes through one permutation of the patches after another; a batch may hold the end of one and
    the start of the next, so all batches have the same size. What stands at a place of the stream, and how it
    is augmented, depends on the seed and the place alone: a trial that is resumed at any step sees what it
    would have seen, however many threads read.
    """
    for step in range(first_step, last_step):
        places = range(step * batch_size, (step + 1) * batch_size)
        yield _collated([_augmented(split, place, seed, augmentation) for place in places])


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


def _augmented(split: Split, place: int, seed: int, augmentation: Augmentation) -> Sample:
    index, chance = _patch_at(place, len(split), seed), np.random.default_rng([seed, AUGMENTATION, place])
    frames = _kept(split.frames(index), augmentation.drop_dates, chance)
    sample = split.sample(index, frames, _random_window(split, index, augmentation.crop, chance))
    quarter_turns, flipped = chance.integers((4, 2)) if augmentation.flips_and_rotations else (0, 0)
    return _turned(sample, int(quarter_turns), int(flipped))


def _kept(frames: Sequence[int], drop: float, chance: np.random.Generator) -> list[int]:
    """Return the frames that are not left out; one at least."""
    if not drop:
        return list(frames)
    draws = chance.random(len(frames))
    kept = [frame for frame, draw in zip(frames, draws, strict=True) if draw >= drop]
    return kept or [frames[int(draws.argmax())]]


def _random_window(split: Split, index: int, side: int | None, chance: np.random.Generator) -> Window:
    if side is None:
        return WHOLE
    height, width = split.size(index)
    top, left = chance.integers((height - side + 1, width - side + 1))
    return slice(top, top + side), slice(left, left + side)


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


def _collated(samples: Sequence[Sample]) -> Batch:
    return Batch(
        images_BTCHW=torch.from_numpy(np.stack([sample.images_TCHW for sample in samples])),
        days_BT=torch.from_numpy(np.stack([sample.days_T for sample in samples])),
        valid_BT=torch.from_numpy(np.stack([sample.valid_T for sample in samples])),
        target_BHW=torch.from_numpy(np.stack([sample.target_HW for sample in samples])),
        patch_ids=tuple(sample.patch_id for sample in samples),
    )
