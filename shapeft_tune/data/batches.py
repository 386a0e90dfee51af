"""From samples to batches: the endless training stream, the one pass of an evaluation, reading ahead.

Legend: B patches of a batch, T frames, C bands, H and W pixels.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import chain
from queue import SimpleQueue
from typing import Protocol, Self, TypeVar

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
ALL = slice(None)


@dataclass(frozen=True)
class Batch:
    """Several patches; images as stored, to be normalised on the device."""

    images_BTCHW: torch.Tensor
    """int16: half the way to the device of what float32 would take."""
    days_BT: torch.Tensor
    """int64, days since the data set's 1 September."""
    valid_BT: torch.Tensor
    """bool, False for padding."""
    target_BHW: torch.Tensor
    """uint8, ``Folder.void`` where unknown."""
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


@dataclass(frozen=True)
class Draw:
    """What stands at one place of the stream: a patch, and what is seen of it."""

    index: int
    """Of the patch in its split."""
    frames: tuple[int, ...]
    window: Window = WHOLE
    quarter_turns: int = 0
    flipped: bool = False
    """Left to right, after the turns."""


class Samples(Protocol):
    """What makes batches of draws, from files or from what the device holds already."""

    def batch(self, draws: Sequence[Draw]) -> Batch:
        """Return these draws together."""
        ...


class Stored:
    """Samples that are read from files, each when it is drawn.

    Several ``readers`` read the patches of a batch at once. That pays where reading waits, for a network; a
    local disk's page cache is copied as fast by one. What a batch holds does not depend on their number.
    """

    def __init__(self, split: Split, readers: int = 1) -> None:
        self.split = split
        self._pool = ThreadPoolExecutor(readers, "reader") if readers > 1 else None

    def batch(self, draws: Sequence[Draw]) -> Batch:
        """Read these draws. Raises DataError where a file does not hold what it should."""
        if self._pool is None:
            return _collated(map(self._read, draws), len(draws))
        return _collated(self._pool.map(self._read, draws), len(draws))

    def _read(self, draw: Draw) -> Sample:
        return _turned(
            self.split.sample(draw.index, draw.frames, draw.window), draw.quarter_turns, draw.flipped
        )


def training_batches(
    split: Split,
    *,
    batch_size: int,
    seed: int,
    augmentation: Augmentation,
    first_step: int,
    last_step: int,
    samples: Samples | None = None,
    rows: slice = ALL,
) -> Iterator[Batch]:
    """Yield the batches of optimiser steps ``first_step``, ..., ``last_step - 1``, counted from 0.

    The stream goes through one permutation of the patches after another; a batch may hold the end of one and
    the start of the next, so all batches have the same size. What stands at a place of the stream, and how it
    is augmented, depends on the seed and the place alone: a trial that is resumed at any step sees what it
    would have seen, whoever makes the batches: by default the files are read by one thread. Processes that
    share a trial ask for their ``rows`` of every batch, and read those only.
    """
    samples = samples or Stored(split)
    for step in range(first_step, last_step):
        places = range(step * batch_size, (step + 1) * batch_size)
        yield samples.batch([_draw(split, place, seed, augmentation) for place in places[rows]])


def evaluation_batches(
    split: Split, batch_size: int, samples: Samples | None = None, turn: slice = ALL
) -> Iterator[Batch]:
    """Yield every patch once, in order; the last batch may be smaller. ``turn``: of these batches."""
    samples = samples or Stored(split)
    for first in range(0, len(split), batch_size)[turn]:
        last = min(first + batch_size, len(split))
        yield samples.batch([Draw(index, split.frames(index)) for index in range(first, last)])


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


def _draw(split: Split, place: int, seed: int, augmentation: Augmentation) -> Draw:
    index, chance = _patch_at(place, len(split), seed), np.random.default_rng([seed, AUGMENTATION, place])
    frames = _kept(split.frames(index, chance), augmentation.drop_dates, chance)
    window = _random_window(split, index, augmentation.crop, chance)
    quarter_turns, flipped = chance.integers((4, 2)) if augmentation.flips_and_rotations else (0, 0)
    return Draw(index, tuple(frames), window, int(quarter_turns), bool(flipped))


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
    return slice(int(top), int(top + side)), slice(int(left), int(left + side))


def _patch_at(place: int, count: int, seed: int) -> int:
    epoch, offset = divmod(place, count)
    return int(_permutation(count, seed, epoch)[offset])


@lru_cache(maxsize=4)  # a batch needs one epoch's, or two at the border
def _permutation(count: int, seed: int, epoch: int) -> NDArray[np.int64]:
    return np.random.default_rng([seed, ORDER, epoch]).permutation(count)


def _turned(sample: Sample, quarter_turns: int, flipped: bool) -> Sample:
    """Return one of the eight symmetries of the square; images and labels alike."""

    def turn(array: NDArray[Scalar]) -> NDArray[Scalar]:
        turned = np.rot90(array, quarter_turns, axes=(-2, -1))
        return turned[..., ::-1] if flipped else turned

    return replace(sample, images_TCHW=turn(sample.images_TCHW), target_HW=turn(sample.target_HW))


def _collated(samples: Iterable[Sample], count: int) -> Batch:
    """Return ``count`` samples as a batch. Each is copied into it before the next is asked for.

    So the memory of one sample serves all, and turned images become contiguous by the same copy.
    """
    parts = iter(samples)
    first = next(parts)
    images_BTCHW = np.empty((count, *first.images_TCHW.shape), first.images_TCHW.dtype)
    target_BHW = np.empty((count, *first.target_HW.shape), first.target_HW.dtype)
    days: list[NDArray[np.int64]] = []
    valid: list[NDArray[np.bool_]] = []
    ids: list[int] = []
    for place, sample in enumerate(chain([first], parts)):
        assert sample.images_TCHW.shape == first.images_TCHW.shape  # otherwise NumPy might repeat a part
        images_BTCHW[place], target_BHW[place] = sample.images_TCHW, sample.target_HW
        days.append(sample.days_T)
        valid.append(sample.valid_T)
        ids.append(sample.patch_id)
        del sample
    return Batch(
        images_BTCHW=torch.from_numpy(images_BTCHW),
        days_BT=torch.from_numpy(np.stack(days)),
        valid_BT=torch.from_numpy(np.stack(valid)),
        target_BHW=torch.from_numpy(target_BHW),
        patch_ids=tuple(ids),
    )
