"""The PASTIS layout: its facts as constants, and a reader that opens no more than it is asked for.

Format: V. Sainte Fare Garnot and L. Landrieu, "Panoptic Segmentation of Satellite Image Time Series with
Convolutional Temporal Attention Networks", ICCV 2021; https://github.com/VSainteuf/pastis-benchmark.
Only what is asked for is opened: a PASTIS-R folder's radar stays untouched by a network that sees none.

Other data sets may lie in the same layout, with classes and a first September of their own in
``dataset.json``: ``data import`` writes such folders.

Legend: T frames of one patch, C bands, H and W pixels.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from shapeft_tune.config.bands import BandStatistics
from shapeft_tune.data.digest import digested
from shapeft_tune.data.folder import ALL_BANDS, WHOLE, Folder, Patch, Window, unreadable
from shapeft_tune.data.npy import ArrayFile
from shapeft_tune.data.pastis_metadata import METADATA, SEASON_START, read_metadata
from shapeft_tune.data.sources import S2, Source
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
DESCRIPTION = "dataset.json"
STATISTICS = S2.statistics
IMAGE_FOLDER = S2.folder
TARGET_FOLDER = "ANNOTATIONS"


@dataclass(frozen=True)
class Description:
    """What a data set in the PASTIS layout, but with other classes or years, says of itself."""

    class_names: tuple[str, ...] = CLASS_NAMES
    """Of labels 0, 1, ...; the number after the last is void."""
    season_start: date = SEASON_START
    """Day 0 of every series: a first of September."""

    @classmethod
    def read(cls, root: Path) -> Self:
        """Return what ``dataset.json`` says, or that it is PASTIS where there is no such file."""
        path = root / DESCRIPTION
        if not path.exists():
            return cls()
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            names = content["class_names"]
            if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
                raise ValueError("no list of class names")
            return cls(tuple(names), date.fromisoformat(content["season_start"]))
        except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
            expected = '{"class_names": ["...", ...], "season_start": "YYYY-09-01"}'
            raise DataError(f"{path}: expected {expected}; got something else ({error})") from None

    def write(self, root: Path) -> None:
        """Write ``dataset.json``."""
        content = asdict(self) | {"season_start": self.season_start.isoformat()}
        (root / DESCRIPTION).write_text(json.dumps(content, indent=1), encoding="utf-8")


@dataclass(frozen=True)
class PastisFolder(Folder):
    """A folder in the PASTIS or PASTIS-R layout. Opening reads ``metadata.geojson`` and nothing larger."""

    class_names: tuple[str, ...] = CLASS_NAMES

    @classmethod
    def open(cls, root: Path, facts: Path | None = None) -> Self:
        """Read the metadata. Raises DataError with every fault found in it."""
        description = Description.read(root)
        patches, faults = read_metadata(root, description.season_start)
        if faults:
            raise DataError(f"{root / METADATA} cannot be used:\n  " + "\n  ".join(_first(faults, 10)))
        return cls(root, patches, description.class_names, facts)

    def shape(self, patch: Patch, source: Source = S2) -> tuple[int, int, int, int]:
        """Return (T, C, H, W) of a patch's series from its file's header; channels are those stored."""
        frames, channels, height, width = self._series(patch, source).shape
        return frames, channels, height, width

    def stored(
        self,
        patch: Patch,
        frames: Sequence[int],
        source: Source = S2,
        window: Window = WHOLE,
        bands: slice = ALL_BANDS,
    ) -> NDArray[Any]:
        """Return these frames' bands as stored, [len(frames), C, H, W]; no other page of the file is read."""
        series, channels = self._series(patch, source), range(len(source.bands))[bands]
        try:
            return series.part(frames, slice(channels.start, channels.stop, channels.step), window)
        except (ValueError, OSError) as error:
            raise unreadable(series.path, "a whole .npy file", str(error)) from None

    def target(self, patch: Patch, window: Window = WHOLE) -> NDArray[np.uint8]:
        """Return the class of each pixel as uint8 [H, W]; ``void`` where unknown."""
        path = self.target_path(patch)
        array = _opened(path)
        if len(array.shape) not in (2, 3) or array.dtype.kind not in "ui":
            raise unreadable(path, "whole numbers [3, H, W] or [H, W]", _described(array))
        labels_HW = array.plane()  # channels 1 and 2 tell parcels apart
        if labels_HW.size and not 0 <= labels_HW.min() <= labels_HW.max() <= self.void:
            raise unreadable(
                path, f"labels from 0 to {self.void}", f"labels from {labels_HW.min()} to {labels_HW.max()}"
            )
        return labels_HW[window].astype(np.uint8)

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
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise DataError(
                f'{path}: expected {{"Fold_1": {{"mean": [{source.channels} numbers], "std": [...]}}}}; got'
                f" something else ({error}) - copy it again, or set `data.normalisation: own`"
            ) from None

    def digest(self) -> str:
        """Return 16 hexadecimal digits of metadata, statistics, labels and samples of images' content.

        Reads every label, 120 MB of PASTIS, and as much of its images.
        """
        seen = hashlib.sha256((self.root / METADATA).read_bytes())
        if (description := self.root / DESCRIPTION).is_file():
            seen.update(description.read_bytes())
        digested(seen, self.root, (self.root / TARGET_FOLDER).glob("*.npy"), whole=True)
        return self._digested(seen, S2)

    def digest_of(self, source: Source) -> str:
        """Return 16 hexadecimal digits of one satellite's statistics and samples of its files' content."""
        return self._digested(hashlib.sha256(), source)

    def _digested(self, seen: hashlib._Hash, source: Source) -> str:
        if (path := self.root / source.statistics).is_file():
            seen.update(path.read_bytes())
        digested(seen, self.root, (self.root / source.folder).glob("*.npy"), whole=False)
        return seen.hexdigest()[:16]

    def image_path(self, patch: Patch, source: Source = S2) -> Path:
        """Return where a patch's series is stored."""
        return self.root / source.folder / f"{source.name}_{patch.id}.npy"

    def image_paths(
        self, patch: Patch, source: Source = S2, frames: Sequence[int] | None = None
    ) -> tuple[Path, ...]:
        """Return the one file that holds a patch's series, whatever the frames."""
        return (self.image_path(patch, source),)

    def target_path(self, patch: Patch) -> Path:
        """Return where a patch's labels are stored."""
        return self.root / TARGET_FOLDER / f"TARGET_{patch.id}.npy"

    def _series(self, patch: Patch, source: Source) -> ArrayFile:
        days = patch.days_of(source)
        if not days:
            raise DataError(
                f"{self.root / METADATA}: expected {source.dates} of patch {patch.id}; got none that can be"
                " read - only PASTIS-R has Sentinel-1"
            )
        path = self.image_path(patch, source)
        series = _opened(path)
        if len(series.shape) != 4 or series.shape[1] != source.channels or series.dtype != source.dtype:
            expected = f"{np.dtype(source.dtype)} [dates, {source.channels}, H, W]"
            raise unreadable(path, expected, _described(series))
        if 0 in series.shape:
            raise unreadable(path, "at least one pixel", _described(series))
        if series.shape[0] != len(days):
            raise unreadable(path, f"{len(days)} frames, as {METADATA} has dates", str(series.shape[0]))
        return series


def _opened(path: Path) -> ArrayFile:
    try:
        return ArrayFile.open(path)
    except FileNotFoundError:
        raise unreadable(path, "a file", "none") from None
    except (ValueError, EOFError, OSError) as error:  # cut short, not a .npy file, not readable
        raise unreadable(path, "a whole .npy file", str(error)) from None


def _statistics(entry: dict[str, list[float]], source: Source) -> BandStatistics:
    mean, std = tuple(map(float, entry["mean"])), tuple(map(float, entry["std"]))
    if {len(mean), len(std)} != {source.channels} or not all(map(math.isfinite, mean + std)):
        raise ValueError(f"{len(mean)} means and {len(std)} standard deviations, of {source.channels} each")
    bands, scale = len(source.bands), source.scale
    return BandStatistics(
        tuple(value * scale for value in mean[:bands]), tuple(value * scale for value in std[:bands])
    )


def _described(array: ArrayFile) -> str:
    return f"{array.dtype} {list(array.shape)}"


def _first(faults: Sequence[str], count: int) -> list[str]:
    rest = len(faults) - count
    return [*faults[:count], f"... and {rest} more"] if rest > 0 else list(faults)
