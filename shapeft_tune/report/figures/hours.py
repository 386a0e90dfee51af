"""Round numbers on a logarithmic axis of device time."""

from __future__ import annotations

import math


def round_ticks(low: float, high: float, most: int = 4) -> list[float]:
    """Return round numbers between the ends of a logarithmic axis, no more than ``most`` and mostly two."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for steps in ((1, 1.5, 2, 3, 4, 5, 6, 8), (1, 2, 3, 5), (1, 2, 5), (1, 3), (1,)):
        ticks = [step * 10.0**decade for decade in decades for step in steps]
        inside = [tick for tick in ticks if low <= tick <= high]
        if len(inside) <= most:
            return inside
    return inside[:: math.ceil(len(inside) / most)]
