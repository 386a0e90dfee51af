"""The PASTIS layout: its facts as constants, and a reader that opens no more than it is asked for.

Format: V. Sainte Fare Garnot and L. Landrieu, "Panoptic Segmentation of Satellite Image Time Series with
Convolutional Temporal Attention Networks", ICCV 2021; https://github.com/VSainteuf/pastis-benchmark.
Only what is asked for is opened: a PASTIS-R folder's radar stays untouched by a network that sees none.

Legend: T frames of one patch, C bands, H and W pixels.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import os
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from shapeft_tune.config.bands import BandStatistics
from shapeft_tune.data.sources import RADAR, S2, Source, as_integers
from shapeft_tune.errors import DataError

CLASS_NAMES = (
    "background",
    "meadow",
    "soft winter wheat",
    "corn",
    "winter barley",
    "winter rapeseed",
    "spring barley",
    "sunflower",
    "grapevine",
    "beet",
    "winter triticale",
    "winter durum wheat",
    "fruits, vegetables, flowers",
    "potatoes",
    "leguminous fodder",
    "soybeans",
    "orchard",
    "mixed cereal",
    "sorghum",
)
NUM_CLASSES = len(CLASS_NAMES)
VOID = 19
"""Label of pixels that are neither learnt nor scored."""
FOLDS = (1, 2, 3, 4, 5)
SEASON_START = date(2018, 9, 1)
"""Day 0 of every series."""

METADATA = "metadata.geojson"
STATISTICS = S2.statistics
IMAGE_FOLDER = S2.folder
TARGET_FOLDER = "ANNOTATIONS"
READERS = 8
"""Threads that read patches at once; reading waits for the disk, not for a core."""


@dataclass(frozen=True)
class Patch:
    """One square of land: its fold and when it was seen."""

    id: int
    fold: int
    days: tuple[int, ...]
    """Days since ``SEASON_START`` of each Sentinel-2 frame, ascending."""
    days_S1A: tuple[int, ...] = ()
    """Those of each Sentinel-1 frame on an ascending orbit; empty where there are none."""
    days_S1D: tuple[int, ...] = ()
    """Those on a descending orbit."""

    def days_of(self, source: Source) -> tuple[int, ...]:
        """Return the days of a source's frames."""
        return {"S2": self.days, "S1A": self.days_S1A, "S1D": self.days_S1D}[source.name]


@dataclass(frozen=True)
class PastisFolder:
    """A folder in the PASTIS or PASTIS-R layout. Opening reads ``metadata.geojson`` and nothing else."""

    root: Path
    patches: tuple[Patch, ...]
    """Ordered by id."""

    @classmethod
    def open(cls, root: Path) -> Self:
        """Read the metadata. Raises DataError with every fault found in it."""
        patches, faults = read_metadata(root)
        if faults:
            raise DataError(f"{root / METADATA} cannot be used:\n  " + "\n  ".join(_first(faults, 10)))
        return cls(root, patches)

    def in_folds(self, folds: Collection[int]) -> tuple[Patch, ...]:
        """Return the patches of these folds, ordered by id."""
        return tuple(patch for patch in self.patches if patch.fold in folds)

    def shape(self, patch: Patch, source: Source = S2) -> tuple[int, int, int, int]:
        """Return (T, C, H, W) of a patch's series from its file's header; channels are those stored."""
        frames, channels, height, width = self._series_TCHW(patch, source).shape
        return frames, channels, height, width

    def size(self, patch: Patch, sources: Sequence[Source] = (S2,)) -> tuple[int, int]:
        """Return (H, W) from the headers of these sources, which have to agree."""
        sizes = {source: self.shape(patch, source)[-2:] for source in sources}
        first = sizes[sources[0]]
        for source, size in sizes.items():
            if size != first:
                path = self.image_path(patch, source)
                raise _unreadable(path, f"the size {first} of {sources[0].name}", str(size))
        return first

    def images(self, patch: Patch, frames: Sequence[int], source: Source = S2) -> NDArray[np.int16]:
        """Return the bands of these frames as int16 [len(frames), C, H, W]; no other is read from disk.

        Units are those of ``config.bands``: radar comes as hundredths of a decibel.
        """
        stored_TCHW = self._series_TCHW(patch, source)[list(frames), : len(source.bands)]
        try:
            return as_integers(stored_TCHW, source)
        except ValueError as error:
            raise _unreadable(self.image_path(patch, source), "numbers", str(error)) from None

    def target(self, patch: Patch) -> NDArray[np.uint8]:
        """Return the class of each pixel as uint8 [H, W]; ``VOID`` where unknown."""
        path = self.target_path(patch)
        array = open_array(path)
        if array.ndim not in (2, 3) or array.dtype.kind not in "ui":
            raise _unreadable(path, "whole numbers [3, H, W] or [H, W]", _described(array))
        labels_HW = np.array(array if array.ndim == 2 else array[0])  # channels 1 and 2 tell parcels apart
        if labels_HW.size and not 0 <= labels_HW.min() <= labels_HW.max() <= VOID:
            raise _unreadable(
                path, f"labels from 0 to {VOID}", f"labels from {labels_HW.min()} to {labels_HW.max()}"
            )
        return labels_HW.astype(np.uint8)

    def statistics(self, source: Source = S2) -> dict[int, BandStatistics]:
        """Return the official statistics of each fold, in the units of ``config.bands``."""
        path = self.root / source.statistics
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            return {
                int(name.removeprefix("Fold_")): _statistics(entry, source) for name, entry in content.items()
            }
        except FileNotFoundError:
            raise DataError(
                f"{path} is missing: it holds the official mean and standard deviation of each fold"
                " - copy it there, or set `data.normalisation: own`"
            ) from None
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise DataError(
                f'{path}: expected {{"Fold_1": {{"mean": [{source.channels} numbers], "std": [...]}}}}; got'
                f" something else ({error}) - copy it again, or set `data.normalisation: own`"
            ) from None

    def digest(self) -> str:
        """Return 16 hexadecimal digits of metadata, statistics, labels, and names and sizes of images.

        Reads every label: 120 MB of PASTIS.
        """
        seen = hashlib.sha256((self.root / METADATA).read_bytes())
        with ThreadPoolExecutor(READERS) as pool:
            for content in pool.map(_content, sorted((self.root / TARGET_FOLDER).glob("*.npy"))):
                seen.update(content)
        return self._digested(seen, S2)

    def digest_of(self, source: Source) -> str:
        """Return 16 hexadecimal digits of one satellite's statistics and files, by name and size."""
        return self._digested(hashlib.sha256(), source)

    def _digested(self, seen: hashlib._Hash, source: Source) -> str:
        if (path := self.root / source.statistics).is_file():
            seen.update(path.read_bytes())
        for file, size in sorted(_sizes(self.root / source.folder)):
            seen.update(f"{source.folder}/{file}:{size}\n".encode())
        return seen.hexdigest()[:16]

    def image_path(self, patch: Patch, source: Source = S2) -> Path:
        """Return where a patch's series is stored."""
        return self.root / source.folder / f"{source.name}_{patch.id}.npy"

    def target_path(self, patch: Patch) -> Path:
        """Return where a patch's labels are stored."""
        return self.root / TARGET_FOLDER / f"TARGET_{patch.id}.npy"

    def _series_TCHW(self, patch: Patch, source: Source) -> NDArray[Any]:
        days = patch.days_of(source)
        if not days:
            raise DataError(
                f"{self.root / METADATA}: expected {source.dates} of patch {patch.id}; got none that can be"
                " read - only PASTIS-R has Sentinel-1"
            )
        path = self.image_path(patch, source)
        array = open_array(path)
        if array.ndim != 4 or array.shape[1] != source.channels or array.dtype != source.dtype:
            expected = f"{np.dtype(source.dtype)} [dates, {source.channels}, H, W]"
            raise _unreadable(path, expected, _described(array))
        if array.shape[0] != len(days):
            raise _unreadable(path, f"{len(days)} frames, as {METADATA} has dates", str(array.shape[0]))
        return array


def _content(path: Path) -> bytes:
    return path.name.encode() + hashlib.sha256(path.read_bytes()).digest()


def open_array(path: Path) -> NDArray[Any]:
    """Map a ``.npy`` file into memory: its header is read now, its values only where they are used."""
    try:
        return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
    except FileNotFoundError:
        raise _unreadable(path, "a file", "none") from None
    except (ValueError, EOFError, OSError) as error:  # cut short, not a .npy file, not readable
        raise _unreadable(path, "a whole .npy file", str(error)) from None


def read_metadata(root: Path) -> tuple[tuple[Patch, ...], tuple[str, ...]]:
    """Return the usable patches of ``metadata.geojson``, ordered by id, and every fault of the others.

    Raises DataError where there is no such file, or where it is no GeoJSON at all.
    """
    patches: list[Patch] = []
    faults: list[str] = []
    for number, feature in enumerate(_features(root)):
        try:
            patches.append(_patch(feature.get("properties"), number))
        except ValueError as fault:
            faults.append(str(fault))
    counts = Counter(patch.id for patch in patches)
    faults += [f"patch {id}: expected one entry; got {count}" for id, count in counts.items() if count > 1]
    if not patches and not faults:
        faults.append("expected at least one patch; got none")
    return tuple(sorted(patches, key=lambda patch: patch.id)), tuple(faults)


def _features(root: Path) -> list[dict[str, Any]]:
    path = root / METADATA
    if not path.is_file():
        raise DataError(_nothing_at(root))
    try:
        features = json.loads(path.read_text(encoding="utf-8"))["features"]
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{path}: expected a GeoJSON FeatureCollection; got something else ({error}) - copy it again"
        ) from None
    if not isinstance(features, list) or not all(isinstance(feature, dict) for feature in features):
        raise DataError(f"{path}: expected a list of features - copy it again")
    return features


def _nothing_at(root: Path) -> str:
    expected = f"a PASTIS folder: {METADATA}, {IMAGE_FOLDER}/, {TARGET_FOLDER}/"
    if not root.is_dir():
        return f"{root}: expected {expected}; got no such folder - check the path"
    if inner := sorted(path.parent for path in root.glob(f"*/{METADATA}")):
        return f"{root}: expected {expected}; got a folder around one - use {inner[0]}"
    came = f"no {METADATA} in it" if any(root.iterdir()) else "an empty folder"
    return f"{root}: expected {expected}; got {came} - was the archive unpacked to the end?"


def _patch(properties: Any, number: int) -> Patch:
    """Check one feature's properties. Raises ValueError that names the patch and what is wrong with it."""
    if not isinstance(properties, dict):
        raise ValueError(f"feature {number}: expected properties; got none")
    patch_id, fold = properties.get("ID_PATCH"), properties.get("Fold")
    if type(patch_id) is not int or patch_id < 0:  # it becomes part of a file's name
        raise ValueError(f"feature {number}: expected ID_PATCH to be a whole number; got {patch_id!r}")
    if type(fold) is not int or fold not in FOLDS:
        raise ValueError(f"patch {patch_id}: expected Fold to be one of {FOLDS}; got {fold!r}")
    try:
        days = tuple(_days(properties.get("dates-S2")))
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(
            f'patch {patch_id}: expected dates-S2 to be {{"0": YYYYMMDD, ...}}; got {error}'
        ) from None
    if any(after <= before for before, after in itertools.pairwise(days)):
        raise ValueError(f"patch {patch_id}: expected dates-S2 in ascending order; got another order")
    return Patch(patch_id, fold, days, *(_radar_days(properties, source) for source in RADAR.values()))


def _radar_days(properties: dict[str, Any], source: Source) -> tuple[int, ...]:
    """Return the days of a radar source, none where they are faulty: most networks do not need them."""
    try:
        return tuple(_days(properties.get(source.dates)))
    except (ValueError, TypeError, AttributeError):
        return ()


def _days(dates: Any) -> Iterator[int]:
    """Yield the days of ``{"0": 20180924, ...}``, which some writers store as a string of JSON."""
    stored = json.loads(dates) if isinstance(dates, str) else dates
    if not stored:
        raise ValueError("no dates")
    for _, day in sorted(stored.items(), key=lambda item: int(item[0])):
        yield _day(str(day))


@lru_cache(maxsize=4096)  # the patches of one satellite tile share their dates
def _day(yyyymmdd: str) -> int:
    return (date.fromisoformat(yyyymmdd) - SEASON_START).days


def _statistics(entry: dict[str, list[float]], source: Source) -> BandStatistics:
    mean, std = tuple(map(float, entry["mean"])), tuple(map(float, entry["std"]))
    if {len(mean), len(std)} != {source.channels} or not all(map(math.isfinite, mean + std)):
        raise ValueError(f"{len(mean)} means and {len(std)} standard deviations, of {source.channels} each")
    bands, scale = len(source.bands), source.scale
    return BandStatistics(
        tuple(value * scale for value in mean[:bands]), tuple(value * scale for value in std[:bands])
    )


def _sizes(folder: Path) -> Iterator[tuple[str, int]]:
    if folder.is_dir():
        with os.scandir(folder) as entries:
            yield from ((entry.name, entry.stat().st_size) for entry in entries)


def _described(array: NDArray[Any]) -> str:
    return f"{array.dtype} {list(array.shape)}"


def _unreadable(path: Path, expected: str, got: str) -> DataError:
    return DataError(f"{path}: expected {expected}; got {got} - copy or download this file again")


def _first(faults: Sequence[str], count: int) -> list[str]:
    rest = len(faults) - count
    return [*faults[:count], f"... and {rest} more"] if rest > 0 else list(faults)
