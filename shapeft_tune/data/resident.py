"""Small splits stay on the GPU: each patch goes there once, and batches are put together there.

A batch made here equals, bit for bit, the one that is read from the files for the same draws. On a CPU the
page cache does the same, for all trials of the machine at once, and no trial has memory of its own for it.

Legend: T frames, C bands, H and W pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from shapeft_tune.data.batches import Batch, Draw, Samples, Stored
from shapeft_tune.data.cache import CachedFolder
from shapeft_tune.data.folder import READERS
from shapeft_tune.data.splits import Split

MOST_BYTES = 2 * 2**30
"""Of a split that stays on a device."""
MOST_OF_FREE = 1 / 16
"""Of the memory that is free there before training: the networks of several trials need the rest."""


@dataclass(frozen=True)
class _Patch:
    """One patch on the device, with all frames that can be drawn."""

    frames: tuple[int, ...]
    images_TCHW: torch.Tensor
    days_T: NDArray[np.int64]
    target_HW: torch.Tensor
    id: int


class Resident:
    """Samples of a split that stay on a device once they were drawn.

    Where the dates are random, all dates of a patch stay.
    """

    def __init__(self, split: Split, device: torch.device | str) -> None:
        self.split = split
        self.device = torch.device(device)
        self._patches: dict[int, _Patch] = {}

    def batch(self, draws: Sequence[Draw]) -> Batch:
        """Return these draws, on the device. Raises DataError as reading does, the first time."""
        patches = [self._patch(draw.index) for draw in draws]
        length = self.split.temporal_length
        valid_BT = torch.tensor([[place < len(draw.frames) for place in range(length)] for draw in draws])
        return Batch(
            images_BTCHW=torch.stack([self._images(*each) for each in zip(patches, draws, strict=True)]),
            days_BT=torch.from_numpy(
                np.stack([self._days(*each) for each in zip(patches, draws, strict=True)])
            ).to(self.device),
            valid_BT=valid_BT.to(self.device),
            target_BHW=torch.stack(
                [_seen(patch.target_HW, draw) for patch, draw in zip(patches, draws, strict=True)]
            ),
            patch_ids=tuple(patch.id for patch in patches),
        )

    def _patch(self, index: int) -> _Patch:
        if index not in self._patches:
            frames = _drawable(self.split, index)
            sample = self.split.sample(index, frames)
            self._patches[index] = _Patch(
                frames,
                torch.from_numpy(sample.images_TCHW[: len(frames)]).to(self.device),
                sample.days_T[: len(frames)],
                torch.from_numpy(sample.target_HW).to(self.device),
                sample.patch_id,
            )
        return self._patches[index]

    def _images(self, patch: _Patch, draw: Draw) -> torch.Tensor:
        images_TCHW = patch.images_TCHW
        if draw.frames != patch.frames:
            images_TCHW = torch.stack([images_TCHW[patch.frames.index(frame)] for frame in draw.frames])
        seen_TCHW = _seen(images_TCHW, draw)
        lacking = self.split.temporal_length - len(seen_TCHW)
        if lacking <= 0:
            return seen_TCHW
        return torch.cat([seen_TCHW, seen_TCHW.new_zeros(lacking, *seen_TCHW.shape[1:])])

    def _days(self, patch: _Patch, draw: Draw) -> NDArray[np.int64]:
        days_T = patch.days_T[[patch.frames.index(frame) for frame in draw.frames]]
        return np.pad(days_T, (0, max(self.split.temporal_length - len(days_T), 0)), mode="edge")


def samples_on(device: torch.device, split: Split) -> Samples:
    """Return what makes a split's batches for a device: kept there if it is a GPU and they are small.

    Otherwise files are read, by several threads where they lie on a slow disk.
    """
    if device.type == "cuda" and bytes_of(split) <= room_on(device):
        return Resident(split, device)
    return Stored(split, READERS if isinstance(split.folder, CachedFolder) else 1)


def bytes_of(split: Split) -> int:
    """Return what all patches take on a device, if they are of one size, as a trial's are."""
    if not len(split):
        return 0
    height, width = split.size(0)
    bands = sum(len(source.bands) for source in split.sources)
    frames = sum(len(_drawable(split, index)) for index in range(len(split)))
    return (2 * bands * frames + len(split)) * height * width


def room_on(device: torch.device) -> int:
    """Return the bytes that a split may take on a GPU, of which this process may have a share alone."""
    free, total = torch.cuda.mem_get_info(device)
    own = torch.cuda.get_per_process_memory_fraction(device) * total - torch.cuda.memory_reserved(device)
    return min(MOST_BYTES, int(max(min(free, own), 0) * MOST_OF_FREE))


def _drawable(split: Split, index: int) -> tuple[int, ...]:
    """Return the frames that can be drawn of a patch."""
    if split.dates == "random":
        return tuple(range(len(split.patches[index].days)))
    return split.frames(index)


def _seen(image: torch.Tensor, draw: Draw) -> torch.Tensor:
    """Return the window of an image or of labels, turned."""
    turned = torch.rot90(image[(..., *draw.window)], draw.quarter_turns, dims=(-2, -1))
    return turned.flip(-1) if draw.flipped else turned
