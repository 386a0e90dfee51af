"""How much of a frame is cloud, by the simplest test that can be explained: clouds are bright in blue.

A pixel is cloud-like where its blue (B2) reflectance is above 0.2. Water, vegetation and soil are dark in
blue, farmland mostly from 0.02 to 0.12, while thick clouds start at about 0.3. The simple cloud score of
Google Earth Engine lets a pixel's cloudiness grow from blue reflectance 0.1 to 0.3: its middle is the
threshold here.

What it cannot tell: snow, and sand, greenhouses or very bright soil, count as clouds; thin haze, the shadows
of clouds and pixels without data do not. It compares the dates of one patch with each other, no more.

Legend: T frames of one patch, H and W pixels.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from shapeft_tune.config.bands import S2_BANDS
from shapeft_tune.data.facts import known_of_patches
from shapeft_tune.data.folder import WHOLE, Folder, Patch
from shapeft_tune.data.sources import S2

CLOUD_BLUE = 2000
"""Reflectance x 10000 in B2 above which a pixel is cloud-like."""
CLOUDY = 0.5
"""A frame with a larger share of cloud-like pixels is called cloudy."""
BLUE = slice(S2_BANDS.index("B2"), S2_BANDS.index("B2") + 1)


def cloud_shares(blue_THW: NDArray[np.int16]) -> NDArray[np.float64]:
    """Return the share of cloud-like pixels of each frame, [T], from band B2, reflectance x 10000."""
    return np.asarray((blue_THW > CLOUD_BLUE).mean(axis=(1, 2)), dtype=np.float64)


def cloud_shares_of(folder: Folder, patches: Sequence[Patch]) -> dict[int, tuple[float, ...]]:
    """Return the cloud-like share of every Sentinel-2 frame, by patch id.

    Reads band B2 alone, frame by frame, and where ``folder.facts`` is set, once for all trials: then of all
    patches of these patches' folds.
    """

    def of_patch(patch: Patch) -> tuple[float, ...]:
        frames = range(len(patch.days))
        blue = (folder.images(patch, (frame,), S2, WHOLE, BLUE)[:, 0] for frame in frames)
        return tuple(float(cloud_shares(blue_1HW)[0]) for blue_1HW in blue)

    name = f"clouds-b2-{CLOUD_BLUE}"  # a fact outlives the code: another threshold must be another fact
    return known_of_patches(folder, name, patches, lambda patch: folder.image_paths(patch, S2), of_patch)
