"""One look at every file of a folder of rasters: what fits, which dates are empty, which block a patch is in.

A survey opens every image's header and reads its first band (more only where that is nodata), and all
labels. Its result is plain JSON, so that ``facts.py`` can keep it.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from shapeft_tune.config.rasters import Rasters
from shapeft_tune.data.folder import READERS, OnProgress
from shapeft_tune.data.rasters.geotiff import Grid, grid_of, opened, opened_image, read_labels
from shapeft_tune.data.rasters.index import DATE, FOLDS, Listed, parsed_date
from shapeft_tune.errors import DataError

MOST_FAULTS = 100
"""Lines of one message; the rest is counted."""


@dataclass(frozen=True)
class Surveyed:
    """What one patch's files hold."""

    frames: list[tuple[int, int, str]]
    """(image, bands before it in that file, date) of every frame that is not all nodata, by date."""
    empty: int
    """Frames that are all nodata and left out."""
    resampled: int
    """Image files on another grid than the labels'."""
    size: tuple[int, int]
    """(H, W) in pixels."""
    block: str
    """Which block of land the patch's centre is in; empty where blocks do not matter."""


def survey(listed: Sequence[Listed], rasters: Rasters, on_progress: OnProgress) -> list[Surveyed]:
    """Look at every patch. Raises DataError with the faults of all of them."""
    found: list[Surveyed | None] = []
    faults: list[str] = []
    with ThreadPoolExecutor(READERS) as pool:
        for surveyed, own_faults in pool.map(lambda patch: _look_at(patch, rasters), listed):
            found.append(surveyed)
            faults += own_faults
            on_progress(len(found), len(listed))
    if faults:
        raise DataError(all_faults("the rasters cannot be used", faults))
    return [each for each in found if each]


def all_faults(head: str, faults: Sequence[str]) -> str:
    """Return one message with every fault, or with the first hundred."""
    rest = len(faults) - MOST_FAULTS
    return "\n  ".join([f"{head}:", *faults[:MOST_FAULTS], *([f"... and {rest} more"] if rest > 0 else [])])


def dealt(blocks: Sequence[str], file: Path) -> dict[str, int]:
    """Return the fold of each block: in the order of their hashes, one to each fold in turn.

    So that folds are of like size, and neighbours far apart in the order. Raises DataError where there are
    fewer blocks than folds, with the name of the YAML file.
    """
    ordered = sorted(set(blocks), key=lambda block: hashlib.sha256(block.encode()).digest())
    if len(ordered) < len(FOLDS):
        raise DataError(
            f"{file}: folds.blocks_metres: expected blocks for {len(FOLDS)} folds; got {len(ordered)} - make"
            " blocks smaller, or give each patch's fold"
        )
    return {block: FOLDS[place % len(FOLDS)] for place, block in enumerate(ordered)}


def _look_at(patch: Listed, rasters: Rasters) -> tuple[Surveyed | None, list[str]]:
    faults: list[str] = []
    try:
        grid = grid_of(patch.labels)
        block = _block(patch.labels, grid, rasters.folds.blocks_metres)
        read_labels(patch.labels, rasters)
    except DataError as error:
        return None, [str(error)]
    frames: list[tuple[int, int, str]] = []
    empty, resampled, apart = 0, 0, 0
    for number, (path, day) in enumerate(patch.images):
        try:
            with opened(path) as dataset:
                dates = [day] if day else _stack_dates(path, dataset, patch.dates, rasters)
                _require_bands(path, dataset, len(dates), rasters)
                _require_numbers(path, dataset)
                resampled += not Grid.of(dataset).is_same_as(grid)
                apart += not Grid.of(dataset).overlaps(grid)
            with opened_image(path, grid, rasters) as image:
                firsts = {day: place * len(rasters.bands) for place, day in enumerate(dates)}
                seen = {day: first for day, first in firsts.items() if not image.is_empty(first)}
        except DataError as error:
            faults.append(str(error))
            continue
        frames += [(number, seen[day], day.isoformat()) for day in sorted(seen)]
        empty += len(firsts) - len(seen)
    if not frames and not faults:
        came = f"got nodata in all {empty}"
        if apart:
            came = f"{apart} of {len(patch.images)} images do not overlap their labels, {grid}"
            came += f"; got nodata in all {empty} dates" if apart < len(patch.images) else ""
        faults.append(f"{patch.images[0][0]}: expected a date with values; {came}")
    size = (grid.height, grid.width)
    return (None if faults else Surveyed(frames, empty, resampled, size, block)), faults


def _require_bands(path: Path, dataset: Any, dates: int, rasters: Rasters) -> None:
    expected = dates * len(rasters.bands)
    if dataset.count != expected:
        times = f"{dates} dates x " if dates > 1 else ""
        raise DataError(
            f"{path}: expected {times}the {len(rasters.bands)} bands of the YAML file, {expected}; got"
            f" {dataset.count} - change `bands` or the file"
        )


def _require_numbers(path: Path, dataset: Any) -> None:
    if refused := [dtype for dtype in dataset.dtypes if not re.match("u?int|float", dtype)]:
        raise DataError(
            f"{path}: expected whole or floating-point numbers; got {refused[0]} - write the bands as uint16,"
            " int16 or float32"
        )


def _stack_dates(path: Path, dataset: Any, given: tuple[date, ...], rasters: Rasters) -> list[date]:
    """Return the date of each frame of a stack: of the index, or of the descriptions of its bands."""
    if given:
        return list(given)
    per_date = len(rasters.bands)
    dates: list[date] = []
    for first in range(0, dataset.count, per_date):
        described = dataset.descriptions[first : first + per_date]
        texts = {text for each in described for text in _dates_in(each or "") or [""]}
        try:
            (text,) = texts
            dates.append(parsed_date(text))
        except ValueError:
            last = first + len(described)
            raise DataError(
                f"{path}: expected one date in the descriptions of bands {first + 1} to {last}; got"
                f" {', '.join(map(repr, described[:2]))}, ... - or give `dates` in an index"
            ) from None
    if len(set(dates)) < len(dates):
        raise DataError(f"{path}: expected each date once; got {_twice(dates)} again")
    return dates


def _dates_in(description: str) -> list[str]:
    return re.findall(rf"(?<!\d)(?:{DATE})(?!\d)", description)


def _twice(dates: Sequence[date]) -> date:
    return next(day for place, day in enumerate(dates) if day in dates[:place])


def _block(path: Path, grid: Grid, metres: float | None) -> str:
    if metres is None:
        return ""
    if not (grid.crs and grid.crs.is_projected):
        came = grid.crs.to_string() if grid.crs else "none"
        raise DataError(
            f"{path}: expected a projected CRS, as `folds.blocks_metres` measures in metres; got {came}"
            " - reproject the rasters, or give each patch's fold"
        )
    unit = grid.crs.linear_units_factor[1]
    x, y = grid.centre
    column, row = math.floor(x * unit / metres), math.floor(y * unit / metres)
    return f"{grid.crs.to_string()}/{column}/{row}"


def image_files(listed: Sequence[Listed]) -> Iterator[Path]:
    """Yield every file of these patches."""
    for patch in listed:
        yield patch.labels
        yield from (path for path, _ in patch.images)
