"""From a folder of rasters to the project's own layout, in which only what is used has to be read.

Legend: T frames, C bands, H and W pixels.
"""

from __future__ import annotations

import json
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

from shapeft_tune.data.folder import READERS, Patch
from shapeft_tune.data.normalisation import write_statistics
from shapeft_tune.data.pastis import IMAGE_FOLDER, TARGET_FOLDER, Description, PastisFolder
from shapeft_tune.data.pastis_metadata import METADATA
from shapeft_tune.data.rasters.folder import RasterFolder
from shapeft_tune.data.rasters.geotiff import Grid, grid_of
from shapeft_tune.data.rasters.survey import Progress, all_faults
from shapeft_tune.data.sources import S2
from shapeft_tune.errors import DataError

LONGITUDE_LATITUDE = 4326
"""EPSG code of the coordinates that stand in where patches have no common ones."""


def import_rasters(
    folder: RasterFolder, to: Path, on_progress: Progress = lambda done, total: None
) -> PastisFolder:
    """Write every patch, its labels, dates, fold and outline, and each fold's statistics, into ``to``.

    Everything is written beside ``to`` first and renamed at the end: a folder under its final name is whole,
    and what an interrupted import leaves is called ``NAME.unfinished-...``.

    Raises:
        DataError: ``to`` holds something, there is no room for it, or rasters cannot be read: with every
            fault of all of them, and nothing is left behind.
    """
    require_nothing_at(to)
    building = to.with_name(f"{to.name}.unfinished-{uuid4().hex[:8]}")
    try:
        for name in (IMAGE_FOLDER, TARGET_FOLDER):
            (building / name).mkdir(parents=True)
        _write(folder, building, on_progress)
        building.rename(to)  # an empty folder gives way
    except OSError as error:
        raise DataError(f"{to}: expected a folder that can be written to; got {error}") from None
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return PastisFolder.open(to)


def require_nothing_at(to: Path) -> None:
    """Raise DataError where something would be overwritten."""
    if to.exists() and (not to.is_dir() or any(to.iterdir())):
        raise DataError(f"{to}: expected a new or empty folder; it holds something already")


def _write(folder: RasterFolder, building: Path, on_progress: Progress) -> None:
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
    grids = [grid_of(series.labels) for series in folder.series]
    codes = {grid.crs.to_epsg() if grid.crs else None for grid in grids}
    code = codes.pop() if len(codes) == 1 else None
    crs = CRS.from_epsg(code or LONGITUDE_LATITUDE)
    features = [_feature(folder, patch, grid, crs) for patch, grid in zip(folder.patches, grids, strict=True)]
    named = {"name": f"urn:ogc:def:crs:EPSG::{crs.to_epsg()}"}
    return {
        "type": "FeatureCollection",
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
        "NAME": folder.series[patch.id].name,
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
