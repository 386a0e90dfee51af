"""The satellites of a PASTIS-R folder: what each stores, under which names, and whose frames belong together.

Format: V. Sainte Fare Garnot, L. Landrieu and N. Chehata, "Multi-Modal Temporal Attention Models for Crop
Mapping from Satellite Time Series", ISPRS Journal 2022, which adds Sentinel-1 to PASTIS;
https://zenodo.org/records/5735646. A plain PASTIS folder has Sentinel-2 alone.

Legend: T frames of one patch, C bands, H and W pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shapeft_tune.config.bands import S1_BANDS, S2_BANDS, Sensor


@dataclass(frozen=True)
class Source:
    """One satellite, seen from one side: a series of images of every patch, a file each."""

    name: str
    """Part of the names of its files, folder, dates and statistics."""
    bands: tuple[str, ...]
    """The first of the stored channels; any others are made from them."""
    channels: int
    """Stored in each file."""
    dtype: type[np.generic]
    scale: int = 1
    """A stored value x this is a sample's integer."""

    @property
    def folder(self) -> str:
        """Where its files lie."""
        return f"DATA_{self.name}"

    @property
    def dates(self) -> str:
        """What the metadata calls its dates."""
        return f"dates-{self.name}"

    @property
    def statistics(self) -> str:
        """The file of its mean and standard deviation in each fold."""
        return f"NORM_{self.name}_patch.json"


S2 = Source("S2", S2_BANDS, channels=10, dtype=np.int16)
S1A = Source("S1A", S1_BANDS, channels=3, dtype=np.float16, scale=100)  # VV, VH and their difference
S1D = Source("S1D", S1_BANDS, channels=3, dtype=np.float16, scale=100)
RADAR = {"ascending": S1A, "descending": S1D}
"""Sentinel-1 by orbit, in decibel."""


def sources_of(sensors: Sequence[Sensor], orbit: str) -> tuple[Source, ...]:
    """Return what has to be read for these sensors, in the order of ``config.bands.bands_of``."""
    return (*((S2,) if "s2" in sensors else ()), *((RADAR[orbit],) if "s1" in sensors else ()))


def as_integers(stored_TCHW: NDArray[Any], source: Source) -> NDArray[np.int16]:
    """Return stored values in a sample's units: reflectance x 10000, hundredths of a decibel.

    Float16 has steps of a 64th of a decibel at the usual -16 to -32, so rounding loses nothing. Raises
    ValueError where a value is not a number.
    """
    if stored_TCHW.dtype == np.int16:
        return stored_TCHW
    scaled_TCHW = stored_TCHW.astype(np.float32) * source.scale
    if np.isnan(scaled_TCHW).any():
        raise ValueError("values that are not a number")
    # No echo at all is minus infinity in decibel: it becomes the least that an integer holds.
    bound = np.iinfo(np.int16).max
    return np.rint(scaled_TCHW).clip(-bound, bound).astype(np.int16)


def nearest_frames(days: Sequence[int], wanted_days: Sequence[int]) -> tuple[int, ...]:
    """Return for each wanted day the frame nearest to it; of two equally near the earlier one."""
    same_day = {days[frame]: frame for frame in reversed(range(len(days)))}  # most are: found at once
    return tuple(
        same_day[wanted]
        if wanted in same_day
        else min(range(len(days)), key=lambda frame: (abs(days[frame] - wanted), days[frame]))
        for wanted in wanted_days
    )
