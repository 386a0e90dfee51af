"""Copies on a fast disk of what was read from a slow one: ``--cache DIR``.

Only what was read is kept, a file for each image of a series, so a trial on one date copies one of 61, and
what another trial needs beyond that is added without anything being written again:

    DIR/taken                                            bytes of all files, as far as is known
    DIR/<data set>/<source>_<patch>/lock                 whose turn it is to read from the slow disk
    DIR/<data set>/<source>_<patch>/<what>-<version>     an image, or the labels

The version says which names, sizes and times of change the slow files had: others are others' copies, which
are not used again and go when room is needed. A file gets its name when it is whole, so a reader needs no
lock, and what a killed writer left is never read. Room is taken, in the form of an empty file of the full
size, before anything is written; where it is lacking, what was not used for longest goes. Whatever fails here
is told in the log and the slow disk is read instead: a cache can cost time, never a trial.

Legend: T frames of one patch, C bands, H and W pixels.
"""

from __future__ import annotations

import functools
import hashlib
import logging
import math
import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Self
from uuid import uuid4

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from shapeft_tune.config.bands import BandStatistics
from shapeft_tune.data.folder import ALL_BANDS, WHOLE, Folder, Patch, Window
from shapeft_tune.data.sources import S2, Source

logger = logging.getLogger(__name__)

VERSION = 1
"""Raised with every change of what is kept or how."""
HEADER = 64
"""Bytes before the values: what wrote them, their type and their shape."""
USED_EVERY = 60.0
"""Seconds within which further uses of a file are not noted."""
WAIT = 60.0
"""Seconds to wait for another process that reads the same images, or makes room."""
LOOK_EVERY = 0.002
"""Seconds between looks whether it is done."""
OWN_FOLDER = "shapeft_tune-cache"
"""Inside the folder that a user names, which may hold other things."""
OWN_FILE = re.compile(r"[0-9a-f]{16}/\w+_\d+/(?:\.?(?:\d+|labels)-[0-9a-f]{16}(?:-[0-9a-f]{32})?)")
"""A copy, or one that is being written."""
TAKEN = "taken"
LOCK = "lock"


@dataclass(frozen=True)
class Cache:
    """A folder of arrays, each under its path, which together take no more than ``limit`` bytes."""

    root: Path
    limit: int

    def read(self, path: Path, into: NDArray[Any] | None = None) -> NDArray[Any] | None:
        """Return what is kept under a path, in ``into`` where it fits there; None where nothing is."""
        try:
            with open(path, "rb", buffering=0) as file:
                status = os.fstat(file.fileno())
                dtype, shape = _described(file.read(HEADER) or b"")
                if status.st_size != HEADER + math.prod(shape) * dtype.itemsize:
                    return None
                fits = into is not None and (into.dtype, into.shape) == (dtype, shape)
                array = into if into is not None and fits else np.empty(shape, dtype)
                if file.readinto(array.reshape(-1).view(np.uint8).data) != array.nbytes:
                    return None
                _note_use(path, status.st_mtime)
                return array
        except (OSError, ValueError, TypeError):
            return None

    def keep(self, arrays: Mapping[Path, NDArray[Any]]) -> None:
        """Keep these arrays, where there is room for them."""
        written: dict[Path, Path] = {}
        try:
            written = self._taken_room({path: HEADER + array.nbytes for path, array in arrays.items()})
            for path, temporary in written.items():
                with temporary.open("r+b") as file:
                    file.write(_header(arrays[path]))
                    file.write(np.ascontiguousarray(arrays[path]).reshape(-1).view(np.uint8).data)
                os.replace(temporary, path)
        except (OSError, NotImplementedError) as error:
            self._tell(error)
            for temporary in written.values():
                with suppress(OSError):
                    _remove(temporary)

    @contextmanager
    def turn(self, folder: Path) -> Iterator[bool]:
        """Let one process at a time read from the slow disk what belongs to ``folder``, which is made.

        Yields False where that cannot be had: then nothing can be kept either.
        """
        lock = FileLock(folder / LOCK)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            lock.acquire(timeout=WAIT, poll_interval=LOOK_EVERY)
        except (OSError, NotImplementedError) as error:
            self._tell(error)
        try:
            yield lock.is_locked
        finally:
            lock.release()

    def _taken_room(self, sizes: Mapping[Path, int]) -> dict[Path, Path]:
        """Return a file of the size asked for, to be written and renamed, for each path; none if too much."""
        needed = sum(sizes.values())
        if needed > self.limit:
            return {}
        temporaries: dict[Path, Path] = {}
        with FileLock(self.root / f"{TAKEN}.{LOCK}", timeout=WAIT, poll_interval=LOOK_EVERY):
            taken = self._taken()
            if taken is None or taken + needed > self.limit:
                taken = self._evicted(down_to=max(self.limit * 9 // 10 - needed, 0))
            _write_number(self.root / TAKEN, taken + needed)
            for path, size in sizes.items():  # of the full size from now on: whoever counts, counts it
                temporaries[path] = path.with_name(f".{path.name}-{uuid4().hex}")
                with temporaries[path].open("wb") as file:
                    file.truncate(size)
        return temporaries

    def _taken(self) -> int | None:
        try:
            return int((self.root / TAKEN).read_text(encoding="ascii"))
        except (OSError, ValueError):
            return None

    def _evicted(self, down_to: int) -> int:
        """Remove what was not used for longest until the rest takes that much; return what it takes."""
        found = sorted(_files(self.root), key=lambda each: each[1])
        total = sum(size for _, _, size in found)
        for path, _, size in found:
            if total <= down_to:
                break
            _remove(path)
            total -= size
        return total

    def _tell(self, error: Exception) -> None:
        logger.warning("%s: no copy is kept there now, and the data set is read: %s", self.root, error)


@dataclass(frozen=True)
class CachedFolder(Folder):
    """Another folder, of which every image and label is read once, and then from the cache.

    Files are looked at (not opened) at every use, to see that they are still those of which the copies were
    made. Copies are of whole images, also where a window is asked for. Single bands of images that are not
    yet there are read without being kept: whoever asks for them goes through the whole data set once.
    """

    inner: Folder = field(kw_only=True)
    cache: Cache = field(kw_only=True)
    name: str = field(kw_only=True)
    """Of the folder in the cache: another data set, or the same read in another way, has another."""
    _shapes: dict[tuple[int, Source], tuple[int, int, int, int]] = field(
        default_factory=dict, repr=False, compare=False
    )

    @classmethod
    def around(cls, inner: Folder, cache: Cache) -> Self:
        """Return a folder that reads as ``inner`` does."""
        ways = {
            each.name: getattr(inner, each.name)
            for each in fields(inner)
            if each.name not in ("patches", "facts")
        }
        seen = f"{VERSION} {type(inner).__name__} {ways}"
        name = hashlib.sha256(seen.encode()).hexdigest()[:16]
        return cls(
            inner.root, inner.patches, inner.class_names, inner.facts, inner=inner, cache=cache, name=name
        )

    def shape(self, patch: Patch, source: Source = S2) -> tuple[int, int, int, int]:
        """Return (T, C, H, W) of a patch's series without reading it; channels are those stored."""
        if (patch.id, source) not in self._shapes:
            self._shapes[patch.id, source] = self.inner.shape(patch, source)
        return self._shapes[patch.id, source]

    def stored(
        self,
        patch: Patch,
        frames: Sequence[int],
        source: Source = S2,
        window: Window = WHOLE,
        bands: slice = ALL_BANDS,
    ) -> NDArray[Any]:
        """Return these frames' bands as stored, [len(frames), C, H, W]."""
        paths = self._copies(patch, frames, source)
        if (images_TCHW := self._kept(paths)) is not None:
            return _part(images_TCHW, bands, window)
        if paths and bands == ALL_BANDS:
            with self.cache.turn(paths[0].parent) as mine:
                if mine:
                    return _part(self._completed(patch, frames, source, paths), bands, window)
        return self.inner.stored(patch, frames, source, window, bands)

    def target(self, patch: Patch, window: Window = WHOLE) -> NDArray[np.uint8]:
        """Return the class of each pixel as uint8 [H, W]; ``void`` where unknown."""
        try:
            version = _version([_state(self.inner.target_path(patch))])
        except OSError:  # whoever reads it will say what is wrong with it
            return self.inner.target(patch, window)
        path = self._place("labels", patch) / f"labels-{version}"
        if (kept_HW := self.cache.read(path)) is not None:
            return np.ascontiguousarray(kept_HW[window])
        with self.cache.turn(path.parent) as mine:
            if not mine:
                return self.inner.target(patch, window)
            if (labels_HW := self.cache.read(path)) is None:  # again: another may have been first
                labels_HW = self.inner.target(patch)
                self.cache.keep({path: labels_HW})
        return np.ascontiguousarray(labels_HW[window])

    def statistics(self, source: Source = S2) -> dict[int, BandStatistics]:
        """Return the official statistics of each fold, in the units of ``config.bands``."""
        return self.inner.statistics(source)

    def name_of(self, patch: Patch) -> str:
        """Return what the data set's owner calls a patch."""
        return self.inner.name_of(patch)

    @property
    def told(self) -> tuple[str, ...]:
        """What was done to the data that nobody may overlook, in sentences."""
        return self.inner.told

    def digest(self) -> str:
        """Return the digest of the folder itself, never of copies."""
        return self.inner.digest()

    def digest_of(self, source: Source) -> str:
        """Return the digest of one satellite's part of the folder itself, never of copies."""
        return self.inner.digest_of(source)

    def image_paths(
        self, patch: Patch, source: Source = S2, frames: Sequence[int] | None = None
    ) -> tuple[Path, ...]:
        """Return the files that hold a patch's series, or these frames of it, not their copies."""
        return self.inner.image_paths(patch, source, frames)

    def target_path(self, patch: Patch) -> Path:
        """Return the file that holds a patch's labels, not its copy."""
        return self.inner.target_path(patch)

    def _place(self, kind: str, patch: Patch) -> Path:
        return self.cache.root / self.name / f"{kind}_{patch.id}"

    def _copies(self, patch: Patch, frames: Sequence[int], source: Source) -> list[Path]:
        """Return where each frame's copy is or would be; nothing if its file cannot be looked at.

        A copy is of its own file and the labels, on whose grid images of rasters are read. Each file is
        looked at once, however many of the frames it holds.
        """
        labels = self.inner.target_path(patch)
        state_of = functools.cache(_state)
        version_of = functools.cache(lambda files: _version([*map(state_of, files), state_of(labels)]))
        place = self._place(source.name, patch)
        try:
            return [
                place / f"{frame}-{version_of(self.inner.image_paths(patch, source, (frame,)))}"
                for frame in frames
            ]
        except OSError:  # whoever reads it will say what is wrong with it
            return []

    def _kept(self, paths: Sequence[Path]) -> NDArray[Any] | None:
        """Return the images under these paths, or None where one is not kept."""
        if not paths or (first := self.cache.read(paths[0])) is None:
            return None
        images_TCHW = np.empty((len(paths), *first.shape), first.dtype)
        images_TCHW[0] = first
        for place, path in enumerate(paths[1:], start=1):
            image_CHW = images_TCHW[place]
            if self.cache.read(path, image_CHW) is not image_CHW:
                return None
        return images_TCHW

    def _completed(
        self, patch: Patch, frames: Sequence[int], source: Source, paths: Sequence[Path]
    ) -> NDArray[Any]:
        """Read what is not kept yet, keep it, and return all."""
        images = {path: self.cache.read(path) for path in paths}  # again, as of labels
        lacking = {path: frame for path, frame in zip(paths, frames, strict=True) if images[path] is None}
        if lacking:
            read_TCHW = self.inner.stored(patch, list(lacking.values()), source, WHOLE)
            read = dict(zip(lacking, read_TCHW, strict=True))
            self.cache.keep(read)
            images |= read
        return np.stack([image for path in paths if (image := images[path]) is not None])


def _version(states: Sequence[str]) -> str:
    """Return 16 digits for files in these states."""
    return hashlib.sha256("".join(f"{state}\n" for state in states).encode()).hexdigest()[:16]


def _state(path: Path) -> str:
    """Return a file's name, size and time of change. Raises OSError where it cannot be looked at."""
    status = path.stat()
    return f"{path}:{status.st_size}:{status.st_mtime_ns}"


def _part(images_TCHW: NDArray[Any], bands: slice, window: Window) -> NDArray[Any]:
    return np.ascontiguousarray(images_TCHW[(slice(None), bands, *window)])


def _header(array: NDArray[Any]) -> bytes:
    shape = ",".join(map(str, array.shape))
    header = f"shapeft_tune {VERSION} {array.dtype.str} {shape} ".encode().ljust(HEADER)
    if len(header) > HEADER:
        raise OSError(f"an array of shape {array.shape} has no place here")
    return header


@functools.lru_cache(maxsize=64)
def _described(header: bytes) -> tuple[np.dtype[Any], tuple[int, ...]]:
    """Return type and shape of what follows. Raises ValueError or TypeError where this is no header."""
    writer, version, dtype, shape = header.decode("ascii").split()
    if (writer, version) != ("shapeft_tune", str(VERSION)) or np.dtype(dtype).kind not in "iufb":
        raise ValueError("not written by this project, or by another version")
    return np.dtype(dtype), tuple(map(int, shape.split(",")))


def _note_use(path: Path, used: float) -> None:
    if time.time() - used > USED_EVERY:
        # By its path: not every platform can by an open file. A disk that cannot be written to is still read.
        with suppress(OSError, NotImplementedError):
            os.utime(path)


def _files(root: Path) -> Iterator[tuple[Path, float, int]]:
    """Yield path, time of last use and size of each file that holds data, or is being written."""
    for folder, _, names in os.walk(root):
        for name in names:
            if not OWN_FILE.fullmatch(Path(folder, name).relative_to(root).as_posix()):
                continue  # whoever put it there: it is not counted, and not removed
            path = Path(folder, name)
            try:
                status = path.stat()
            except OSError:  # gone meanwhile
                continue
            yield path, status.st_mtime, status.st_size


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)


def _write_number(path: Path, number: int) -> None:
    temporary = path.with_name(f".{path.name}-{uuid4().hex}")
    temporary.write_text(str(number), encoding="ascii")
    os.replace(temporary, path)
