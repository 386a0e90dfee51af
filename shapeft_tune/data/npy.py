"""Parts of ``.npy`` files, by reading exactly their bytes.

Mapping a file into memory reads as little, but costs more than an image does: 90 microseconds in place of 24
for one date of PASTIS. So whole frames are read, and windows are mapped.

Legend: T frames, C channels, H and W pixels.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO, FileIO
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
USUAL_HEADER = 128
"""Bytes before the values of arrays of up to five or so dimensions, as NumPy writes them."""
LONGEST_HEADER = 10_000
"""NumPy refuses longer ones."""


@dataclass(frozen=True)
class ArrayFile:
    """What the header of a ``.npy`` file says."""

    path: Path
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fortran_order: bool
    start: int
    """Bytes before the first value."""

    @classmethod
    def open(cls, path: Path) -> Self:
        """Read the header. Raises ValueError where it is none, or where values are missing; OSError."""
        with path.open("rb", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            beginning = file.read(USUAL_HEADER)
            try:
                shape, dtype, fortran_order, start = _parsed(beginning)
            except ValueError:
                if size <= USUAL_HEADER:
                    raise
                shape, dtype, fortran_order, start = _parsed(beginning + file.read(LONGEST_HEADER))
        if any(side < 0 for side in shape):
            raise ValueError(f"a shape of {list(shape)}")
        if size < (whole := start + math.prod(shape) * dtype.itemsize):
            raise ValueError(f"{size} bytes in place of {whole}")
        return cls(path, shape, dtype, fortran_order, start)

    def mapped(self) -> NDArray[Any]:
        """Return all of it, mapped into memory: values are read where they are used."""
        return np.asarray(np.load(self.path, mmap_mode="r", allow_pickle=False))

    def plane(self) -> NDArray[Any]:
        """Return the first [H, W] of an array of two dimensions or more; nothing else is read."""
        if self.fortran_order:
            return np.array(self.mapped()[(0,) * (len(self.shape) - 2)])
        plane_HW = np.empty(self.shape[-2:], self.dtype)
        with self.path.open("rb", buffering=0) as file:
            file.seek(self.start)
            _fill(plane_HW, file)
        return plane_HW

    def part(self, frames: Sequence[int], channels: slice, window: tuple[slice, slice]) -> NDArray[Any]:
        """Return a part of an array [T, C, H, W]; nothing else is read but the rest of a window's pages."""
        count, height, width = self.shape[1:]
        first, last, stride = channels.indices(count)
        inside = [side.indices(length) for side, length in zip(window, (height, width), strict=True)]
        if self.fortran_order or stride != 1 or inside != [(0, height, 1), (0, width, 1)]:
            return self._part_of_map(frames, channels, window)
        part_TCHW = np.empty((len(frames), max(last - first, 0), height, width), self.dtype)
        image, channel = (self.dtype.itemsize * math.prod(self.shape[axis:]) for axis in (1, 2))
        with self.path.open("rb", buffering=0) as file:
            for place, frame in enumerate(frames):
                file.seek(self.start + range(self.shape[0])[frame] * image + first * channel)
                _fill(part_TCHW[place], file)
        return part_TCHW

    def _part_of_map(
        self, frames: Sequence[int], channels: slice, window: tuple[slice, slice]
    ) -> NDArray[Any]:
        seen_TCHW = self.mapped()[(slice(None), channels, *window)]
        part_TCHW = np.empty((len(frames), *seen_TCHW.shape[1:]), seen_TCHW.dtype)
        for place, frame in enumerate(frames):  # an index of several would walk through pixels one by one
            part_TCHW[place] = seen_TCHW[frame]
        return part_TCHW


@lru_cache(maxsize=256)  # headers differ in the number of dates alone; parsing takes as long as reading
def _parsed(beginning: bytes) -> tuple[tuple[int, ...], np.dtype[Any], bool, int]:
    """Return shape, type, whether the order is Fortran's, and the bytes before the values."""
    file = BytesIO(beginning)
    version = np.lib.format.read_magic(file)
    if version not in HEADERS:
        raise ValueError(f"format {version}, which is not for plain numbers")
    shape, fortran_order, dtype = HEADERS[version](file)
    if dtype.hasobject:
        raise ValueError("Python objects, which are not read")
    return shape, dtype, fortran_order, file.tell()


def _fill(array: NDArray[Any], file: FileIO) -> None:
    """Read the values of a contiguous array. Raises ValueError where the file ends before."""
    content = array.reshape(-1).view(np.uint8).data
    read = 0
    while read < len(content):
        if not (more := file.readinto(content[read:])):
            raise ValueError("a file that became shorter while it was read")
        read += more
