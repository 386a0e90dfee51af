"""A logarithmic axis of device time, in the unit in which a reader would say it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Unit:
    """A unit of device time."""

    name: str
    per_hour: float


HOURS = Unit("hours", 1)
FINER = (Unit("minutes", 60), Unit("seconds", 3600))


def unit_of(hours: Sequence[float]) -> Unit:
    """Return the largest unit of which the longest time has at least one; seconds at least."""
    longest = max(hours)
    return next((unit for unit in (HOURS, *FINER) if longest * unit.per_hour >= 1), FINER[-1])


def round_ticks(low: float, high: float, most: int = 4) -> list[float]:
    """Return round numbers between the ends of a logarithmic axis, no more than ``most`` and mostly two."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for steps in ((1, 1.5, 2, 3, 4, 5, 6, 8), (1, 2, 3, 5), (1, 2, 5), (1, 3), (1,)):
        ticks = [step * 10.0**decade for decade in decades for step in steps]
        inside = [tick for tick in ticks if low <= tick <= high]
        if len(inside) <= most:
            return inside
    return inside[:: math.ceil(len(inside) / most)]
