"""What every data set on disk promises, whatever its files are: patches, their series and their labels.

A kind of data set is a subclass of :class:`Folder`: it says how one series is read (``stored``), where labels
are and what identifies the content. Everything else in the project knows this promise alone.

Legend: T frames of one patch, C bands, K classes, H and W pixels.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shapeft_tune.config.bands import BandStatistics
from shapeft_tune.data.sources import S2, Source, as_integers
from shapeft_tune.errors import DataError

READERS = 8
"""Threads that read patches at once; reading waits for the disk, not for a core."""

Window = tuple[slice, slice]
"""Rows and columns of a patch, in pixels."""
WHOLE: Window = (slice(None), slice(None))
ALL_BANDS = slice(None)

OnProgress = Callable[[int, int], None]
"""Is told how many of how many patches are done."""


def no_progress(done: int, total: int) -> None:
    """Tell nobody."""


@dataclass(frozen=True)
class Patch:
    """One square of land: its fold and when it was seen."""

    id: int
    fold: int
    days: tuple[int, ...]
    """Days since the data set's 1 September of each Sentinel-2 frame, ascending."""
    days_S1A: tuple[int, ...] = ()
    """Those of each Sentinel-1 frame on an ascending orbit; empty where there are none."""
    days_S1D: tuple[int, ...] = ()
    """Those on a descending orbit."""

    def days_of(self, source: Source) -> tuple[int, ...]:
        """Return the days of a source's frames."""
        return {"S2": self.days, "S1A": self.days_S1A, "S1D": self.days_S1D}[source.name]


@dataclass(frozen=True)
class Folder(ABC):
    """A data set on disk. Opening one reads what lists its patches, and no image."""

    root: Path
    patches: tuple[Patch, ...]
    """Ordered by id."""
    class_names: tuple[str, ...]
    facts: Path | None = None
    """Where what was counted once is kept for all trials (see ``facts.py``); nowhere by default."""

    @property
    def void(self) -> int:
        """Label of pixels that are neither learnt nor scored: the number after the last class."""
        return len(self.class_names)

    @abstractmethod
    def shape(self, patch: Patch, source: Source = S2) -> tuple[int, int, int, int]:
        """Return (T, C, H, W) of a patch's series without reading it; channels are those stored."""

    @abstractmethod
    def stored(
        self,
        patch: Patch,
        frames: Sequence[int],
        source: Source = S2,
        window: Window = WHOLE,
        bands: slice = ALL_BANDS,
    ) -> NDArray[Any]:
        """Return these frames' bands as stored, [len(frames), C, H, W]; nothing else is read from disk.

        ``bands`` is a part of ``source.bands``.
        """

    @abstractmethod
    def target(self, patch: Patch, window: Window = WHOLE) -> NDArray[np.uint8]:
        """Return the class of each pixel as uint8 [H, W]; ``void`` where unknown."""

    @abstractmethod
    def statistics(self, source: Source = S2) -> dict[int, BandStatistics]:
        """Return the official statistics of each fold, in the units of ``config.bands``.

        Raises DataError where the data set comes with none.
        """

    @abstractmethod
    def digest(self) -> str:
        """Return 16 hexadecimal digits of patches, labels and statistics, and of images' samples."""

    @abstractmethod
    def digest_of(self, source: Source) -> str:
        """Return 16 hexadecimal digits of one satellite's statistics and files, by name and size."""

    @abstractmethod
    def image_paths(
        self, patch: Patch, source: Source = S2, frames: Sequence[int] | None = None
    ) -> tuple[Path, ...]:
        """Return the files that hold a patch's series, or these frames of it, each file once."""

    @abstractmethod
    def target_path(self, patch: Patch) -> Path:
        """Return the file that holds a patch's labels."""

    @property
    def told(self) -> tuple[str, ...]:
        """What was done to the data and nobody may overlook, in sentences."""
        return ()

    def name_of(self, patch: Patch) -> str:
        """Return what the data set's owner calls a patch."""
        return str(patch.id)

    def in_folds(self, folds: Collection[int]) -> tuple[Patch, ...]:
        """Return the patches of these folds, ordered by id."""
        return tuple(patch for patch in self.patches if patch.fold in folds)

    def size(self, patch: Patch, sources: Sequence[Source] = (S2,)) -> tuple[int, int]:
        """Return (H, W) of these sources. Raises DataError where they differ."""
        sizes = {source: self.shape(patch, source)[-2:] for source in sources}
        first = sizes[sources[0]]
        for source, size in sizes.items():
            if size != first:
                path = self.image_paths(patch, source)[0]
                raise unreadable(path, f"the size {first} of {sources[0].name}", str(size))
        return first

    def images(
        self,
        patch: Patch,
        frames: Sequence[int],
        source: Source = S2,
        window: Window = WHOLE,
        bands: slice = ALL_BANDS,
    ) -> NDArray[np.int16]:
        """Return the bands of these frames as int16 [len(frames), C, H, W], in the units of ``config.bands``.

        Radar comes as hundredths of a decibel.
        """
        try:
            return as_integers(self.stored(patch, frames, source, window, bands), source)
        except ValueError as error:
            raise unreadable(self.image_paths(patch, source)[0], "numbers", str(error)) from None


def unreadable(path: Path, expected: str, got: str) -> DataError:
    """Return the error for a file that does not hold what it should."""
    return DataError(f"{path}: expected {expected}; got {got} - copy or download this file again")
