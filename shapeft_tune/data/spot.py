"""The SPOT 6-7 images of PASTIS-HD: one a patch, red, green and blue, 1 m a pixel, in summer 2019.

Format: ``DATA_SPOT/PASTIS_SPOT6_RVB_1M00_2019/SPOT6_RVB_1M00_2019_<id>.tif``, uint8 [3, 1280, 1280] beside
Sentinel-2's 128 x 128; https://huggingface.co/datasets/IGNF/PASTIS-HD. No network here asks for them yet, and
what nobody asks for is not opened: this is the one place that does, beside ``data check``, which reads
headers.

Legend: C bands, H and W pixels of SPOT.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shapeft_tune.data.folder import WHOLE, Folder, Patch, Window, unreadable

SPOT_FOLDER = "DATA_SPOT"
SERIES = "SPOT6_RVB_1M00_2019"


@dataclass(frozen=True)
class SpotHeader:
    """What an image's header tells."""

    bands: int
    size: tuple[int, int]
    """Height and width in pixels of SPOT."""
    scale: int
    """Pixels of SPOT along one side of a pixel of Sentinel-2."""


def spot_path(root: Path, patch: Patch) -> Path:
    """Return where a patch's SPOT image is stored."""
    return root / SPOT_FOLDER / f"PASTIS_{SERIES}" / f"{SERIES}_{patch.id}.tif"


def spot_header(root: Path, patch: Patch, size: tuple[int, int]) -> SpotHeader:
    """Read the header of a patch's image; ``size`` is (H, W) of its Sentinel-2 series.

    Raises DataError where there is no image, or one that does not fit the patch.
    """
    import rasterio

    path = spot_path(root, patch)
    try:
        with rasterio.open(path) as image:
            bands, height, width, dtypes = image.count, image.height, image.width, set(image.dtypes)
    except rasterio.errors.RasterioIOError as error:
        raise _no_image(path, error) from None
    scale = height // size[0]
    if dtypes != {"uint8"} or bands not in (3, 4):
        came = f"{', '.join(sorted(dtypes))} [{bands}, {height}, {width}]"
        raise unreadable(path, "uint8 [3 or 4, H, W]", came)
    if scale < 1 or (height, width) != (scale * size[0], scale * size[1]):
        raise unreadable(path, f"a multiple of Sentinel-2's size {size}", str((height, width)))
    return SpotHeader(bands, (height, width), scale)


def spot_image(folder: Folder, patch: Patch, window: Window = WHOLE) -> NDArray[np.uint8]:
    """Return a patch's SPOT image as uint8 [C, H, W], inside a window given in pixels of Sentinel-2.

    Only the part of the file inside the window is read.
    """
    import rasterio
    from rasterio.windows import Window as Part

    size = folder.size(patch)
    scale = spot_header(folder.root, patch, size).scale
    rows, columns = (range(*part.indices(side)) for part, side in zip(window, size, strict=True))
    if rows.step != 1 or columns.step != 1:
        raise ValueError(f"expected a window without steps; got {window}")
    part = Part(scale * columns.start, scale * rows.start, scale * len(columns), scale * len(rows))
    path = spot_path(folder.root, patch)
    try:
        with rasterio.open(path) as image:
            return np.asarray(image.read(window=part), dtype=np.uint8)
    except rasterio.errors.RasterioIOError as error:
        raise _no_image(path, error) from None


def _no_image(path: Path, error: Exception) -> Exception:
    if not path.is_file():
        return unreadable(path, "a file", "none")
    return unreadable(path, "a whole GeoTIFF", str(error))
