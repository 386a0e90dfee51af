"""Pieces of sentences: settings, scores, intervals, counts and costs in words."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

UNITS = ((3600.0, "device hours"), (60.0, "device minutes"), (1.0, "device seconds"))
"""Seconds in a unit, the largest first."""


def describe_setting(label_fraction: float, temporal_length: int) -> str:
    """Return the setting in words: ``10 % labels, 6 dates``."""
    return f"{100 * label_fraction:g} % labels, {counted(temporal_length, 'date')}"


def counted(number: int, thing: str) -> str:
    """Return ``1 seed`` or ``3 seeds``."""
    return f"{number} {thing}{'' if number == 1 else 's'}"


def listed(words: Sequence[str]) -> str:
    """Return ``a``, ``a and b``, or ``a, b and c``."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def in_settings(number: int, of: int, thing: str = "setting") -> str:
    """Return ``in 3 of 9 settings``, or ``in all 9 settings``."""
    if number < of:
        return f"in {number} of {of} {thing}s"
    return {1: f"in the one {thing}", 2: f"in both {thing}s"}.get(of, f"in all {of} {thing}s")


def score_words(value: float) -> str:
    """Return a score with three digits."""
    return f"{value:.3f}"


def signed(value: float) -> str:
    """Return a difference of scores with its sign: ``+0.031``; one that rounds to nothing has none."""
    text = f"{value:+.3f}"
    return "0.000" if float(text) == 0 else text


def span(values: Iterable[float], show: Callable[[float], str] = score_words) -> str:
    """Return the least and the greatest: ``0.2 to 1.1``, or ``0.2`` where both look the same."""
    found = list(values)
    low, high = show(min(found)), show(max(found))
    return low if low == high else f"{low} to {high}"


def signed_range(low: float, high: float) -> str:
    """Return an interval of a difference: ``+0.010 to +0.052``."""
    return f"{signed(low)} to {signed(high)}"


def device_time(*hours: Sequence[float]) -> tuple[list[str], str]:
    """Return spans of device hours as text in one unit, and the unit.

    It is the largest of hours, minutes and seconds in which every number is a tenth at least.
    """
    least = 3600 * min(min(some) for some in hours)
    size, unit = next(((size, unit) for size, unit in UNITS if least >= size / 10), UNITS[-1])
    return [span((3600 * each / size for each in some), _amount) for some in hours], unit


def _amount(value: float) -> str:
    return f"{value:.2g}" if value < 10 else f"{value:.0f}"
