"""The bands that a series may hold, in the order in which every part of the project has them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Sensor = Literal["s2", "s1"]

S2_BANDS = ("B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B11", "B12")
"""Sentinel-2, surface reflectance x 10000; B5, B6, B7, B8A, B11 and B12 were resampled from 20 m to 10 m.

PASTIS has no 60 m bands."""
S1_BANDS = ("VV", "VH")
"""Sentinel-1, backscatter in hundredths of a decibel."""
MICROMETRES = {
    "B1": 0.443, "B2": 0.490, "B3": 0.560, "B4": 0.665, "B5": 0.705, "B6": 0.740, "B7": 0.783,
    "B8": 0.842, "B8A": 0.865, "B9": 0.945, "B10": 1.375, "B11": 1.610, "B12": 2.190,
}  # fmt: skip
"""Central wavelength of every band of Sentinel-2."""


@dataclass(frozen=True)
class BandStatistics:
    """Mean and standard deviation of each band, in the units above."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


def bands_of(sensors: tuple[Sensor, ...]) -> tuple[str, ...]:
    """Return the bands of a series of these sensors: optical first, then radar."""
    return (S2_BANDS if "s2" in sensors else ()) + (S1_BANDS if "s1" in sensors else ())
