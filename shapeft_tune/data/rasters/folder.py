"""A folder of GeoTIFF series and label rasters of one's own, read where they lie.

``rasters.yaml`` in the folder says what they hold; see ``config/rasters.py``. A label raster's grid is its
patch's. Opening looks at every file once and remembers that (``facts.py``); reading opens only the files,
bands and window asked for. Importing this file imports rasterio.

Legend: T frames of one patch, C bands, H and W pixels.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from shapeft_tune.config.bands import S2_BANDS, BandStatistics
from shapeft_tune.config.rasters import RASTERS_FILE, SEASON, Rasters, load_rasters
from shapeft_tune.data.digest import digested
from shapeft_tune.data.facts import known
from shapeft_tune.data.folder import ALL_BANDS, WHOLE, Folder, OnProgress, Patch, Window, no_progress
from shapeft_tune.data.rasters.geotiff import grid_of, opened_image, raster_window, read_labels
from shapeft_tune.data.rasters.index import Listed, list_series
from shapeft_tune.data.rasters.survey import Surveyed, all_faults, dealt, image_files, survey
from shapeft_tune.data.sources import S2, Source
from shapeft_tune.errors import DataError

SURVEY = "survey"
OF_ALL_FOLDS = 0
"""What facts of the whole data set are filed under."""


BETWEEN = "\0"
"""What stands between names of files: no name holds it."""


class Frame(NamedTuple):
    """Where the bands of one date lie."""

    image: int
    """Place of the file in the patch's images."""
    first: int
    """Bands before them in that file."""


@dataclass(frozen=True)
class Series:
    """What is known of one patch's files. Kept small: every process has that of every patch."""

    name: str
    labels: str
    """From the data set's root."""
    images: str
    """From the data set's root, with ``BETWEEN`` between them."""
    frames: tuple[Frame, ...]
    """Of the patch's days, in the same order."""
    size: tuple[int, int]
    """(H, W) in pixels."""


@dataclass(frozen=True)
class RasterFolder(Folder):
    """GeoTIFF series and label rasters. Patches are numbered from 0 in the order of their names."""

    rasters: Rasters | None = None
    file: Path = Path(RASTERS_FILE)
    """The YAML file."""
    series: tuple[Series, ...] = ()
    """Of each patch, by its id."""
    season_start: date = date(1970, *SEASON)
    """Day 0 of every series: a first of September."""
    empty: int = 0
    """Dates that were left out of series because all of their pixels are nodata."""
    resampled: int = 0
    """Image files that lie on another grid than their labels and are resampled when they are read."""

    @classmethod
    def open(
        cls,
        data: Path,
        facts: Path | None = None,
        on_progress: OnProgress = no_progress,
    ) -> Self:
        """Open a folder with ``rasters.yaml``, or the YAML file itself.

        The first opening looks at every file; where ``facts`` are kept, later ones only list them.

        Raises:
            ConfigError: with every problem of the YAML file.
            DataError: with every fault of the index and the names of files or, these being sound, with every
                fault of the rasters: cut short, misaligned, wrong bands, unknown classes.
        """
        file = data / RASTERS_FILE if data.is_dir() else data
        if not file.is_file():
            raise DataError(
                f"{data}: expected a folder with {RASTERS_FILE}, or such a file; got none - write it:"
                " shapeft_tune/config/rasters.py has its fields"
            )
        rasters, root = load_rasters(file), file.parent
        listed, faults = list_series(root, rasters)
        if faults:
            raise DataError(all_faults(f"{file} cannot be used", faults))
        if facts:  # what is counted depends on the YAML file too, so each version has facts of its own
            facts /= f"rasters-{hashlib.sha256(rasters.model_dump_json().encode()).hexdigest()[:16]}"

        def look() -> list[dict[str, Any]]:
            return [asdict(each) for each in survey(listed, rasters, on_progress)]

        files = [*([root / rasters.index] if rasters.index else []), *image_files(listed)]
        remembering = cls(root, (), rasters.class_names, facts)
        found = [Surveyed(**each) for each in known(remembering, SURVEY, OF_ALL_FOLDS, files, look)]
        start = rasters.season_start or _last_september(_dates(found))
        if (earliest := min(_dates(found))) < start:
            raise DataError(
                f"{file}: season_start: expected a first of September on or before the earliest date,"
                f" {earliest}; got {start}"
            )
        return cls(
            root,
            tuple(_patches(listed, found, start, file)),
            rasters.class_names,
            facts,
            rasters=rasters,
            file=file,
            series=tuple(_series(root, listed, found)),
            season_start=start,
            empty=sum(each.empty for each in found),
            resampled=sum(each.resampled for each in found),
        )

    def name_of(self, patch: Patch) -> str:
        """Return what the patterns or the index call a patch."""
        return self.series[patch.id].name

    @property
    def told(self) -> tuple[str, ...]:
        """What was done to the rasters that nobody may overlook, in sentences."""
        resampled = (
            f"{self.resampled} images lie on another grid than their labels and are resampled"
            f" ({self._rasters.resample})."
        )
        empty = f"{self.empty} dates of all patches are nothing but nodata and are left out."
        return (*([resampled] if self.resampled else []), *([empty] if self.empty else []))

    def shape(self, patch: Patch, source: Source = S2) -> tuple[int, int, int, int]:
        """Return (T, C, H, W) of a patch's series; nothing is opened."""
        series = self._series_of(patch, source)
        return len(series.frames), len(S2_BANDS), *series.size

    def stored(
        self,
        patch: Patch,
        frames: Sequence[int],
        source: Source = S2,
        window: Window = WHOLE,
        bands: slice = ALL_BANDS,
    ) -> NDArray[np.int16]:
        """Return these frames' bands, [len(frames), C, H, W], scaled to reflectance x 10000; 0 is nodata.

        Only their bands and window are read; where images are resampled, what the window needs.
        """
        series = self._series_of(patch, source)
        grid = grid_of(self.target_path(patch))
        inside = raster_window(window, grid.height, grid.width)
        count = len(S2_BANDS[bands])
        images_TCHW = np.empty((len(frames), count, inside.height, inside.width), dtype=np.int16)
        wanted = [series.frames[frame] for frame in frames]
        places = iter(images_TCHW)
        files = series.images.split(BETWEEN)
        for number, of_file in itertools.groupby(wanted, key=lambda frame: frame.image):
            with opened_image(self.root / files[number], grid, self._rasters) as image:
                for frame in of_file:
                    next(places)[...] = image.reflectance(frame.first, window, bands)
        return images_TCHW

    def target(self, patch: Patch, window: Window = WHOLE) -> NDArray[np.uint8]:
        """Return the class of each pixel as uint8 [H, W]; ``void`` where unknown."""
        return read_labels(self.target_path(patch), self._rasters, window)

    def statistics(self, source: Source = S2) -> dict[int, BandStatistics]:
        """Raise DataError: only ``data import`` writes statistics for each fold."""
        raise DataError(
            f"{self.root}: expected statistics of each fold; rasters have none - set"
            " `data.normalisation: own`, or use `data import`, which computes them"
        )

    def digest(self) -> str:
        """Return 16 hexadecimal digits of YAML file, index, labels and samples of images' content."""
        seen = hashlib.sha256(self._rasters.model_dump_json().encode())
        index = [self.root / self._rasters.index] if self._rasters.index else []
        digested(seen, self.root, [*index, *map(self.target_path, self.patches)], whole=True)
        return self._digested(seen)

    def digest_of(self, source: Source) -> str:
        """Return 16 hexadecimal digits of samples of one satellite's files; only S2 has any."""
        seen = hashlib.sha256(source.name.encode())
        return self._digested(seen) if source == S2 else seen.hexdigest()[:16]

    def image_paths(
        self, patch: Patch, source: Source = S2, frames: Sequence[int] | None = None
    ) -> tuple[Path, ...]:
        """Return the files that hold a patch's series, or these frames of it, each file once."""
        series = self._series_of(patch, source)
        wanted = series.frames if frames is None else [series.frames[frame] for frame in frames]
        files = series.images.split(BETWEEN)
        return tuple(self.root / files[image] for image in dict.fromkeys(frame.image for frame in wanted))

    def target_path(self, patch: Patch) -> Path:
        """Return the file that holds a patch's labels."""
        return self.root / self.series[patch.id].labels

    @property
    def _rasters(self) -> Rasters:
        assert self.rasters  # only a folder that is being opened has none
        return self.rasters

    def _series_of(self, patch: Patch, source: Source) -> Series:
        if source != S2:
            raise DataError(
                f"{self.file}: expected {source.name} of patch {self.series[patch.id].name}; got rasters of"
                " Sentinel-2 alone - use a model that needs no radar"
            )
        return self.series[patch.id]

    def _digested(self, seen: hashlib._Hash) -> str:
        images = {path for patch in self.patches for path in self.image_paths(patch)}
        digested(seen, self.root, images, whole=False)
        return seen.hexdigest()[:16]


def _dates(found: Sequence[Surveyed]) -> list[date]:
    return [date.fromisoformat(day) for each in found for _, _, day in each.frames]


def _last_september(dates: Sequence[date]) -> date:
    earliest = min(dates)
    start = date(earliest.year, *SEASON)
    return start if start <= earliest else date(earliest.year - 1, *SEASON)


def _patches(listed: Sequence[Listed], found: Sequence[Surveyed], start: date, file: Path) -> Iterator[Patch]:
    shared: dict[tuple[int, ...], tuple[int, ...]] = {}  # patches seen on the same days keep them once
    folds = dealt([each.block for each in found], file) if any(patch.fold is None for patch in listed) else {}
    for number, (patch, surveyed) in enumerate(zip(listed, found, strict=True)):
        days = tuple(_day(day, start) for _, _, day in surveyed.frames)
        fold = folds[surveyed.block] if patch.fold is None else patch.fold
        yield Patch(number, fold, shared.setdefault(days, days))


@lru_cache(maxsize=4096)
def _day(text: str, start: date) -> int:
    return (date.fromisoformat(text) - start).days


def _series(root: Path, listed: Sequence[Listed], found: Sequence[Surveyed]) -> Iterator[Series]:
    shared: dict[tuple[Frame, ...], tuple[Frame, ...]] = {}  # alike where every date is a file
    for patch, surveyed in zip(listed, found, strict=True):
        frames = tuple(Frame(image, first) for image, first, _ in surveyed.frames)
        labels, *images = (
            path.relative_to(root).as_posix() for path in (patch.labels, *(path for path, _ in patch.images))
        )
        height, width = surveyed.size
        yield Series(
            patch.name, labels, BETWEEN.join(images), shared.setdefault(frames, frames), (height, width)
        )
