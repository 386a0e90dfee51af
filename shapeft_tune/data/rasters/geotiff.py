"""Reading GeoTIFFs: their grids, the bands of one date inside a window, labels, and what is nodata.

Legend: C bands, H and W pixels. Importing this file imports rasterio.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.enums import ColorInterp, MaskFlags, Resampling
from rasterio.errors import RasterioError
from rasterio.vrt import WarpedVRT
from rasterio.warp import transform_bounds
from rasterio.windows import Window as RasterWindow

from shapeft_tune.config.rasters import Rasters
from shapeft_tune.data.folder import ALL_BANDS, WHOLE, Window, unreadable
from shapeft_tune.errors import DataError

TOLERANCE = 0.01
"""Pixels by which two grids may be apart and still count as one: what writers round."""


@dataclass(frozen=True)
class Grid:
    """Which piece of land each pixel of a raster is."""

    crs: Any
    """rasterio's CRS, or None."""
    transform: Any
    """From (column, row) to coordinates: an affine transform."""
    height: int
    width: int

    @classmethod
    def of(cls, dataset: Any) -> Self:
        """Return the grid of an open raster."""
        return cls(dataset.crs, dataset.transform, dataset.height, dataset.width)

    @property
    def corners(self) -> list[tuple[float, float]]:
        """Coordinates of the four outer corners, from the upper left."""
        places = [(0, 0), (self.width, 0), (self.width, self.height), (0, self.height)]
        return [_placed(self.transform, *place) for place in places]

    @property
    def centre(self) -> tuple[float, float]:
        """Coordinates of the middle."""
        return _placed(self.transform, self.width / 2, self.height / 2)

    def is_same_as(self, other: Grid) -> bool:
        """Return whether every pixel is the same piece of land."""
        if (self.height, self.width, self.crs) != (other.height, other.width, other.crs):
            return False
        back = ~self.transform
        apart = np.array([_placed(back, *corner) for corner in other.corners])
        apart -= [_placed(back, *corner) for corner in self.corners]
        return bool(np.abs(apart).max() < TOLERANCE)

    def overlaps(self, other: Grid) -> bool:
        """Return whether both may have land in common: whether upright boxes around them do.

        True where one of them has no CRS, as then nobody knows.
        """
        boxes = [_box(self.corners), _box(other.corners)]
        if self.crs != other.crs:
            if not (self.crs and other.crs):
                return True
            boxes[1] = transform_bounds(other.crs, self.crs, *boxes[1])  # infinite where it has no place
        (left, bottom, right, top), (west, south, east, north) = boxes
        return bool(left < east and west < right and bottom < north and south < top)

    def __str__(self) -> str:
        (left, top), step = self.corners[0], (abs(self.transform.a), abs(self.transform.e))
        return (
            f"{self.crs.to_string() if self.crs else 'no CRS'}, {self.height} x {self.width} px"
            f" of {step[0]:.6g} x {step[1]:.6g} from ({left:.10g}, {top:.10g})"
        )


def _box(corners: Sequence[tuple[float, float]]) -> tuple[float, float, float, float]:
    """Return (left, bottom, right, top)."""
    x, y = zip(*corners, strict=True)
    return min(x), min(y), max(x), max(y)


def _placed(transform: Any, x: float, y: float) -> tuple[float, float]:
    """Apply an affine transform, which has another operator for that in each of its versions."""
    a, b, c, d, e, f = transform[:6]
    return a * x + b * y + c, d * x + e * y + f


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """Open a raster. Raises DataError where it cannot be read, now or while it is open."""
    try:
        with rasterio.open(path) as dataset:
            yield dataset
    except (RasterioError, OSError) as error:
        raise unreadable(path, "a whole GeoTIFF", _reason(path, error)) from None


def _reason(path: Path, error: Exception) -> str:
    try:
        path.stat()
    except FileNotFoundError:
        return "none"
    except OSError as inner:
        return inner.strerror or str(inner)
    return str(error.__cause__ or error)


def grid_of(path: Path) -> Grid:
    """Return a file's grid from its header."""
    with opened(path) as dataset:
        return Grid.of(dataset)


@dataclass(frozen=True)
class Image:
    """An open image on the grid of its labels, resampled where ``rasters.yaml`` says so."""

    dataset: Any
    """The file itself, or a view of it that warps what is read."""
    rasters: Rasters
    nodata: float | None
    """From ``rasters.yaml``, where the file has none of its own."""

    def reflectance(self, first: int, window: Window = WHOLE, bands: slice = ALL_BANDS) -> NDArray[np.int16]:
        """Return ``S2_BANDS``, or a part of them, of the date whose bands come after ``first`` others.

        As int16 [C, H, W] in the units of ``config.bands``; 0 where a band has nodata, infinity or NaN.
        """
        values_CHW, missing_CHW = self._read(
            [first + band for band in self.rasters.file_bands[bands]], window
        )
        scaled_CHW = values_CHW.astype(np.float64) * self.rasters.scale + self.rasters.offset
        bound = np.iinfo(np.int16).max
        return np.where(missing_CHW, 0, np.rint(scaled_CHW).clip(-bound, bound)).astype(np.int16)

    def is_empty(self, first: int) -> bool:
        """Return whether no band of this date has a value anywhere; one band is enough to know for most."""
        return all(self._read([first + band], WHOLE)[1].all() for band in self.rasters.file_bands)

    def _read(self, bands: Sequence[int], window: Window) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        inside = raster_window(window, self.dataset.height, self.dataset.width)
        values_CHW = self.dataset.read(bands, window=inside)
        missing_CHW = np.zeros(values_CHW.shape, dtype=np.bool_)
        if any(self.dataset.mask_flag_enums[band - 1] != [MaskFlags.all_valid] for band in bands):
            missing_CHW |= self.dataset.read_masks(bands, window=inside) == 0
        if ColorInterp.alpha in self.dataset.colorinterp:
            alpha = self.dataset.colorinterp.index(ColorInterp.alpha) + 1
            missing_CHW |= self.dataset.read(alpha, window=inside) == 0
        if self.nodata is not None:
            missing_CHW |= values_CHW == self.nodata
        if values_CHW.dtype.kind == "f":
            missing_CHW |= ~np.isfinite(values_CHW)
            values_CHW = np.where(missing_CHW, 0, values_CHW)  # NaN has no int16
        return values_CHW, missing_CHW


@contextmanager
def opened_image(path: Path, grid: Grid, rasters: Rasters) -> Iterator[Image]:
    """Open an image on a grid. Raises DataError where it lies on another and must not be resampled."""
    with opened(path) as dataset:
        own = Grid.of(dataset)
        nodata = None if dataset.nodata is not None else rasters.nodata
        if own.is_same_as(grid):
            yield Image(dataset, rasters, nodata)
            return
        if rasters.resample is None:
            raise DataError(
                f"{path}: expected the grid of its labels, {grid}; got {own} - align the files, or set"
                " `resample: bilinear` in the YAML file"
            )
        if not (own.crs and grid.crs):
            lacking = "it" if not own.crs else "its label raster"
            raise DataError(f"{path}: expected a CRS to resample by; {lacking} has none - assign one")
        with _warped(dataset, grid, nodata, rasters) as view:
            yield Image(view, rasters, nodata)


def _warped(dataset: Any, grid: Grid, nodata: float | None, rasters: Rasters) -> Any:
    assert rasters.resample
    dtype = dataset.dtypes[0]
    kept = dataset.nodata if dataset.nodata is not None else nodata
    if kept is None or not rasterio.dtypes.in_dtype_range(kept, dtype):
        kept = math.nan if np.dtype(dtype).kind == "f" else None
    # Where no value can stand for nodata, an alpha band tells which pixels the file covers.
    has_alpha = ColorInterp.alpha in dataset.colorinterp
    missing = {"add_alpha": not has_alpha} if kept is None else {"src_nodata": kept, "nodata": kept}
    return WarpedVRT(
        dataset,
        crs=grid.crs,
        transform=grid.transform,
        width=grid.width,
        height=grid.height,
        resampling=Resampling[rasters.resample],
        UNIFIED_SRC_NODATA="NO",  # nodata of one band says nothing about the others
        **missing,
    )


def read_labels(path: Path, rasters: Rasters, window: Window = WHOLE) -> NDArray[np.uint8]:
    """Return the class of each pixel, uint8 [H, W]: 0, 1, ... in the order of the YAML, then void.

    Raises DataError where the file holds no whole numbers, or a value that the YAML does not know.
    """
    with opened(path) as dataset:
        dtype = dataset.dtypes[0]  # some of GDAL's are none of NumPy's
        if dataset.count != 1 or not re.match("u?int", dtype):
            raise DataError(
                f"{path}: expected one band of whole numbers; got {dataset.count} of {dtype} - write the"
                " labels as uint8 or uint16"
            )
        values_HW = dataset.read(1, window=raster_window(window, dataset.height, dataset.width))
        nodata = dataset.nodata
    number_of = {value: number for number, value in enumerate(rasters.classes)}
    void = len(number_of)
    number_of |= dict.fromkeys(rasters.void, void)
    if nodata is not None:
        number_of.setdefault(nodata, void)
    values, places_HW = np.unique(values_HW, return_inverse=True)
    if unknown := [value for value in values.tolist() if value not in number_of]:
        known = ", ".join(map(str, [*rasters.classes, *rasters.void]))
        raise DataError(
            f"{path}: expected the classes and void values of the YAML file, {known}; got also"
            f" {', '.join(map(str, unknown))} - add them to `classes` or `void`"
        )
    numbers = np.array([number_of[value] for value in values.tolist()], dtype=np.uint8)
    return numbers[places_HW].reshape(values_HW.shape)


def raster_window(window: Window, height: int, width: int) -> RasterWindow:
    """Return slices as a window of rasterio."""
    (top, bottom, _), (left, right, _) = window[0].indices(height), window[1].indices(width)
    return RasterWindow(left, top, right - left, bottom - top)
