"""From a folder of rasters to the project's own layout, in which only what is used has to be read.

Legend: T frames, C bands, H and W pixels.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
from rasterio.crs import CRS
from rasterio.warp import transform as to_crs

from shapeft_tune.data.folder import READERS, OnProgress, Patch, no_progress
from shapeft_tune.data.normalisation import write_statistics
from shapeft_tune.data.pastis import DESCRIPTION, IMAGE_FOLDER, TARGET_FOLDER, Description, PastisFolder
from shapeft_tune.data.pastis_metadata import METADATA
from shapeft_tune.data.rasters.folder import RasterFolder
from shapeft_tune.data.rasters.geotiff import Grid, grid_of
from shapeft_tune.data.rasters.survey import all_faults
from shapeft_tune.data.sources import S2
from shapeft_tune.errors import DataError

LONGITUDE_LATITUDE = 4326
"""EPSG code of the coordinates that stand in where patches have no common ones."""


def import_rasters(folder: RasterFolder, to: Path, on_progress: OnProgress = no_progress) -> PastisFolder:
    """Write every patch, its labels, dates, fold and outline, and each fold's statistics, into ``to``.

    Everything is written beside ``to`` first and renamed at the end: a data set under its final name is
    whole, and what an interrupted import leaves is called ``NAME.unfinished-...``.

    Raises:
        DataError: ``to`` holds something, there is no room for it, or rasters cannot be read: with every
            fault of all of them, and nothing is left behind.
    """
    to = require_nothing_at(to)
    building = _building(to)
    try:
        for name in (IMAGE_FOLDER, TARGET_FOLDER):
            (building / name).mkdir(parents=True)
        _write(folder, building, on_progress)
        _move(building, to)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR) and _is_taken(to):
            raise _taken(to) from None  # by another import, say, since it was looked at
        raise _not_writable(to, error) from None
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return PastisFolder.open(to)


def require_nothing_at(to: Path) -> Path:
    """Return the place to import into, links followed.

    Raises DataError where something would be overwritten, or where nothing can be written.
    """
    try:
        to = to.resolve()
        if _is_taken(to):
            raise _taken(to)
        if to.is_mount():
            raise DataError(f"{to}: expected a folder that is no mount point - name one inside it")
        above = next(each for each in to.parents if each.exists())
        if not above.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, f"{above} is a file")
        for folder in (above, *([to] if to.exists() else [])):
            if not os.access(folder, os.W_OK | os.X_OK):
                raise PermissionError(errno.EACCES, f"no permission to write into {folder}")
        with contextlib.suppress(FileNotFoundError):
            _building(to).lstat()  # its name is longer
    except (OSError, RuntimeError) as error:  # RuntimeError: links in a circle
        raise _not_writable(to, error) from None
    return to


def _building(to: Path) -> Path:
    return to.with_name(f"{to.name}.unfinished-{uuid4().hex[:8]}")


def _is_taken(to: Path) -> bool:
    return to.exists() and (not to.is_dir() or any(to.iterdir()))


def _taken(to: Path) -> DataError:
    return DataError(f"{to}: expected a new or empty folder; it holds something already")


def _not_writable(to: Path, error: Exception) -> DataError:
    reason = getattr(error, "strerror", None) or str(error)
    return DataError(f"{to}: expected a folder that can be written to; got: {reason}")


def _move(building: Path, to: Path) -> None:
    """Give what was built its final name.

    An empty folder that is there already is filled, not replaced: somebody may be in it. What makes it a
    data set comes last, and folders, which cannot be overwritten, come first.
    """
    if not to.exists():
        building.rename(to)
        return
    for path in sorted(
        building.iterdir(), key=lambda path: (path.name == METADATA, path.is_file(), path.name)
    ):
        path.rename(to / path.name)


def _write(folder: RasterFolder, building: Path, on_progress: OnProgress) -> None:
    faults: list[str] = []
    with ThreadPoolExecutor(READERS) as pool:
        done = pool.map(partial(_write_patch, folder, building), folder.patches)
        for count, fault in enumerate(done, start=1):
            faults += [fault] if fault else []
            on_progress(count, len(folder.patches))
    if faults:
        raise DataError(all_faults("the rasters cannot be used", faults))
    content = _metadata(folder)
    (building / METADATA).write_text(json.dumps(content, indent=1), encoding="utf-8")
    Description(folder.class_names, folder.season_start).write(building)
    write_statistics(PastisFolder.open(building))


def _write_patch(folder: RasterFolder, building: Path, patch: Patch) -> str:
    """Write one patch's two arrays; return what is wrong with its files, empty if nothing."""
    try:
        images_TCHW = folder.images(patch, range(len(patch.days)))
        target_HW = folder.target(patch)
    except DataError as error:
        return str(error)
    written = PastisFolder(building, ())
    np.save(written.image_path(patch), images_TCHW)
    np.save(written.target_path(patch), target_HW)
    return ""


def _metadata(folder: RasterFolder) -> dict[str, Any]:
    """Return the content of ``metadata.geojson``; outlines are in the CRS that all patches share, if any."""
    grids = [grid_of(folder.target_path(patch)) for patch in folder.patches]
    codes = {grid.crs.to_epsg() if grid.crs else None for grid in grids}
    code = codes.pop() if len(codes) == 1 else None
    crs = CRS.from_epsg(code or LONGITUDE_LATITUDE)
    features = [_feature(folder, patch, grid, crs) for patch, grid in zip(folder.patches, grids, strict=True)]
    named = {"name": f"urn:ogc:def:crs:EPSG::{crs.to_epsg()}"}
    return {
        "type": "FeatureCollection",
        "described_in": DESCRIPTION,
        "crs": {"type": "name", "properties": named},
        "features": features,
    }


def _feature(folder: RasterFolder, patch: Patch, grid: Grid, crs: CRS) -> dict[str, Any]:
    dates = {
        str(frame): int((folder.season_start + timedelta(days=day)).strftime("%Y%m%d"))
        for frame, day in enumerate(patch.days)
    }
    properties = {
        "ID_PATCH": patch.id,
        "Fold": patch.fold,
        "NAME": folder.name_of(patch),
        S2.dates: dates,
    }
    geometry = None
    if grid.crs:
        outline = _outline(grid, crs)
        geometry = {"type": "MultiPolygon", "coordinates": [[outline]]}
    return {"type": "Feature", "id": str(patch.id), "properties": properties, "geometry": geometry}


def _outline(grid: Grid, crs: CRS) -> list[list[float]]:
    corners: Iterable[tuple[float, float]] = grid.corners
    if grid.crs != crs:
        corners = zip(*to_crs(grid.crs, crs, *zip(*corners, strict=True)), strict=True)
    ring = [[float(x), float(y)] for x, y in corners]
    return [*ring, ring[0]]
