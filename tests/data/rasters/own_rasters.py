"""A folder of rasters whose every value is known, to be read, broken and imported."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import yaml
from numpy.typing import NDArray
from rasterio.transform import from_origin

from shapeft_tune.config.bands import S2_BANDS
from shapeft_tune.data.rasters.folder import RasterFolder

SIDE = 16
DATES = (date(2019, 3, 5), date(2019, 4, 4), date(2019, 6, 23))
BANDS = ("B1", *S2_BANDS[::-1], "SCL")
"""Another order than the project's, and two bands too many."""
CLASSES = {10: "grass", 20: "wheat, soft", 40: "beet"}


def values(patch: int, frame: int, band: str) -> NDArray[np.int16]:
    """Return what is stored: another number for each patch, frame, band and pixel."""
    pixels_HW = np.arange(SIDE * SIDE).reshape(SIDE, SIDE)
    return (1000 * patch + 100 * frame + 10 * BANDS.index(band) + pixels_HW).astype(np.int16)


def labels(patch: int) -> NDArray[np.uint8]:
    """Return stripes of the three classes, the void value 99 and nodata, 255."""
    stored = np.array([*CLASSES, 99, 255], dtype=np.uint8)
    return stored[(np.arange(SIDE * SIDE).reshape(SIDE, SIDE) + patch) % 5]


def write_raster(path: Path, bands_CHW: NDArray[Any], **profile: Any) -> None:
    """Write a GeoTIFF, by default with pixels of 10 m from (500000, 5600000) in UTM 31N."""
    path.parent.mkdir(parents=True, exist_ok=True)
    known = {"crs": "EPSG:32631", "transform": from_origin(500_000, 5_600_000, 10, 10)}
    descriptions = profile.pop("descriptions", ())
    count, height, width = bands_CHW.shape
    kind = {"driver": "GTiff", "dtype": bands_CHW.dtype, "count": count, "height": height, "width": width}
    with rasterio.open(path, "w", **kind | known | profile) as dataset:
        dataset.write(bands_CHW)
        for number, text in enumerate(descriptions, start=1):
            dataset.set_band_description(number, text)


@dataclass
class OwnRasters:
    """Five patches a to e, one in each fold, three dates each; side by side, 5 km apart."""

    root: Path
    patches: str = "abcde"
    content: dict[str, Any] = field(default_factory=dict)
    """Of ``rasters.yaml``."""

    def __post_init__(self) -> None:
        self.content = {
            "images": "images/{patch}/{date}.tif",
            "labels": "labels/{patch}.tif",
            "bands": list(BANDS),
            "classes": dict(CLASSES),
            "void": [99],
            "folds": {"patches": {name: number + 1 for number, name in enumerate(self.patches)}},
        }

    def transform(self, name: str) -> Any:
        return from_origin(500_000 + 5000 * self.patches.index(name), 5_600_000, 10, 10)

    def image(self, name: str, day: date = DATES[0]) -> Path:
        return self.root / "images" / name / f"{day:%Y%m%d}.tif"

    def label(self, name: str) -> Path:
        return self.root / "labels" / f"{name}.tif"

    def write_label(self, name: str, stored: NDArray[Any] | None = None, **profile: Any) -> None:
        stored_HW = labels(self.patches.index(name)) if stored is None else stored
        known = {"transform": self.transform(name), "nodata": 255}
        write_raster(self.label(name), stored_HW[None], **known | profile)

    def write_image(
        self, name: str, day: date = DATES[0], stored: NDArray[Any] | None = None, **profile: Any
    ) -> None:
        frame = DATES.index(day)
        bands_CHW = np.stack([values(self.patches.index(name), frame, band) for band in BANDS])
        known = {"transform": self.transform(name)}
        write_raster(self.image(name, day), bands_CHW if stored is None else stored, **known | profile)

    def write_stack(self, name: str, days: Sequence[date] = DATES, **profile: Any) -> None:
        """Write one file of all dates, which stand in the descriptions of its bands."""
        patch = self.patches.index(name)
        bands = [(day, band) for day in days for band in BANDS]
        stored_CHW = np.stack([values(patch, DATES.index(day), band) for day, band in bands])
        described = [f"{band} {day}" for day, band in bands]
        known = {"transform": self.transform(name), "descriptions": described}
        write_raster(self.root / "series" / f"{name}.tif", stored_CHW, **known | profile)

    def with_images(self) -> OwnRasters:
        for name in self.patches:
            self.write_label(name)
            for day in DATES:
                self.write_image(name, day)
        return self

    def with_stacks(self) -> OwnRasters:
        for name in self.patches:
            self.write_label(name)
            self.write_stack(name)
        return self.set(images="series/{patch}.tif")

    def set(self, **changes: Any) -> OwnRasters:
        """Change or, with None, drop keys of ``rasters.yaml``."""
        self.content = {key: value for key, value in (self.content | changes).items() if value is not None}
        return self

    def with_index(self, rows: Sequence[Mapping[str, Any]], columns: str = "patch,fold,dates") -> OwnRasters:
        names = columns.split(",")
        lines = [columns, *(",".join(str(row.get(name, "")) for name in names) for row in rows)]
        (self.root / "patches.csv").write_text("\n".join(lines))
        return self.set(index="patches.csv", folds={"column": "fold"})

    def written(self) -> Path:
        text = yaml.safe_dump(self.content, sort_keys=False)
        (self.root / "rasters.yaml").write_text(text, encoding="utf-8")
        return self.root

    def opened(self, facts: Path | None = None) -> RasterFolder:
        return RasterFolder.open(self.written(), facts)
