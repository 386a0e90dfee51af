"""A searched field as an axis: where its values lie between 0 and 1, and which of them are named."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from shapeft_tune.report.hyperparameters import SearchedField, StrategySearch
from shapeft_tune.report.hyperparameters.fields import short_names

FEWEST_TICKS, MOST_TICKS = 2, 5
TINY, HUGE = 1e-3, 1e5
"""Numbers that are written with an exponent, up to and from."""


def position(field: SearchedField, value: float | str) -> float:
    """Return where a value lies: 0 and 1 are the ends of the range, or the first and the last option."""
    if isinstance(value, str):
        return field.options.index(value) / max(1, len(field.options) - 1)
    assert field.low is not None
    assert field.high is not None
    if field.log:
        return math.log(value / field.low) / math.log(field.high / field.low)
    return (value - field.low) / (field.high - field.low)


def ticks(field: SearchedField) -> dict[float, str]:
    """Return the names of some values by position, ascending; of a list, those of all options."""
    if not field.is_numeric:
        return {position(field, option): option for option in field.options}
    values = _round_values(field)
    return dict(zip([position(field, value) for value in values], in_one_style(values), strict=True))


def in_one_style(values: Sequence[float]) -> list[str]:
    """Return numbers as briefly as a sweep file writes them: ``0.05``, ``1000``; ``1e-2`` beside ``1e-4``."""
    tiny = any(0 < abs(value) <= TINY for value in values)
    return [_with_exponent(value) if _needs_exponent(value, tiny) else f"{value:g}" for value in values]


def _needs_exponent(value: float, beside_tiny: bool) -> bool:
    return abs(value) >= HUGE or (0 < abs(value) < 1 and (beside_tiny or abs(value) <= TINY))


def _with_exponent(value: float) -> str:
    mantissa, exponent = f"{value:.6e}".split("e")
    return f"{float(mantissa):g}e{int(exponent)}"


def field_names(searches: Iterable[StrategySearch]) -> dict[str, str]:
    """Return short names of everything that these strategies search."""
    return short_names(list(dict.fromkeys(field.name for each in searches for field in each.fields)))


def _round_values(field: SearchedField) -> list[float]:
    """Return round values within the range, powers of ten where there are two; of a few numbers, all."""
    from matplotlib.ticker import LogLocator, MaxNLocator

    if field.numbers:
        return list(field.numbers)
    assert field.low is not None
    assert field.high is not None
    locators = [LogLocator(subs=subs) for subs in ((1.0,), (1.0, 3.0), (1.0, 2.0, 5.0))] if field.log else []
    for locator in [*locators, MaxNLocator(MOST_TICKS - 1, steps=[1, 2, 2.5, 5, 10])]:
        found = [
            value for value in map(float, locator.tick_values(field.low, field.high)) if _inside(field, value)
        ]
        if len(found) >= FEWEST_TICKS:
            every = math.ceil(len(found) / MOST_TICKS)
            return found[::every]
    return [field.low, field.high]


def _inside(field: SearchedField, value: float) -> bool:
    return -1e-9 <= position(field, value) <= 1 + 1e-9
