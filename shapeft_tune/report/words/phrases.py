"""Pieces of sentences: settings, scores, intervals and counts in words."""

from __future__ import annotations

from collections.abc import Callable, Iterable


def describe_setting(label_fraction: float, temporal_length: int) -> str:
    """Return the setting in words: ``10 % labels, 6 dates``."""
    return f"{100 * label_fraction:g} % labels, {counted(temporal_length, 'date')}"


def counted(number: int, thing: str) -> str:
    """Return ``1 seed`` or ``3 seeds``."""
    return f"{number} {thing}{'' if number == 1 else 's'}"


def listed(words: Iterable[str]) -> str:
    """Return ``a``, ``a and b``, or ``a, b and c``."""
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last


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
    return "0.000" if float(text) == 0 else with_minus(text)


def span(values: Iterable[float], show: Callable[[float], str] = score_words) -> str:
    """Return the least and the greatest: ``0.2 to 1.1``, or ``0.2`` where both look the same."""
    found = list(values)
    low, high = show(min(found)), show(max(found))
    return low if low == high else f"{low} to {high}"


def signed_range(low: float, high: float) -> str:
    """Return an interval of a difference: ``+0.010 to +0.052``; an end near 0 shows on which side it is."""
    return with_minus(f"{low:+.3f} to {high:+.3f}")


def with_minus(numbers: str) -> str:
    """Return numbers with the sign of subtraction that people read, which is longer than a hyphen."""
    return numbers.replace("-", "\N{MINUS SIGN}")
