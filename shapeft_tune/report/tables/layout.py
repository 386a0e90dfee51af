"""A table before it is HTML, Markdown or LaTeX: columns, entries, and what they are sorted by."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from shapeft_tune.report.words import phrases
from shapeft_tune.report.words.device_time import DeviceTime

NONE = "–"
"""What stands where there is no number."""


@dataclass(frozen=True)
class Column:
    """One column."""

    heading: str
    meaning: str = ""
    """In a few words, for who points at it."""
    numeric: bool = True
    """Whether entries are aligned and sorted as numbers."""


@dataclass(frozen=True)
class Entry:
    """What stands in one row under one column."""

    text: str
    value: float | str | None = None
    """What it is sorted by: a number of full precision, or the text; None comes last in either order."""
    detail: str = ""
    """A second, smaller line, such as an interval."""
    also: str = ""
    """A third line."""
    tone: str = ""
    """``best``, ``better``, ``worse`` or ``quiet``; the text says it too, so that colour may be missed."""
    code: bool = False
    """Whether it is something to copy: a path of a field, a fingerprint."""


@dataclass(frozen=True)
class Table:
    """A table with a caption; its first columns, the text ones, name the row."""

    name: str
    """Short, unique in a report: an anchor, or a file."""
    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Entry, ...], ...]
    notes: tuple[str, ...] = ()
    """Sentences below it; ``*word*`` is emphasised, ``[words](#anchor)`` leads to another part."""
    sortable: bool = True
    """Whether the order of its rows may be changed; not where columns are places on an axis."""

    @property
    def leading(self) -> int:
        """How many columns name a row: those before the first number."""
        return next((index for index, column in enumerate(self.columns) if column.numeric), len(self.columns))


def text(content: str, tone: str = "") -> Entry:
    """Return words, sorted by themselves."""
    return Entry(content, content, tone=tone)


def code(content: str) -> Entry:
    """Return something to copy; a dash where there is nothing."""
    return Entry(content, content, code=True) if content else Entry(NONE)


def score(value: float | None, tone: str = "") -> Entry:
    """Return a score with three digits."""
    return Entry(NONE) if value is None else Entry(f"{value:.3f}", value, tone=tone)


def signed(value: float | None) -> Entry:
    """Return a difference of scores with its sign and three digits."""
    return Entry(NONE) if value is None else Entry(phrases.signed(value), value)


def count(value: int | None) -> Entry:
    """Return a whole number."""
    return (
        Entry(NONE) if value is None else Entry(f"{value:,}".replace(",", "\N{NARROW NO-BREAK SPACE}"), value)
    )


def amount(value: float | None) -> Entry:
    """Return a quantity with three significant digits."""
    if value is None:
        return Entry(NONE)
    return Entry(f"{value:#.3g}".rstrip(".") if abs(value) < 999.5 else f"{value:.0f}", value)


def device_time(spent: DeviceTime, value: float | None) -> Entry:
    """Return device hours in a unit, sorted by the hours."""
    return Entry(NONE) if value is None else Entry(amount(value / spent.hours).text, value)


def interval_text(low: float | None, high: float | None, sign: bool = False) -> str:
    """Return both ends of an interval; empty where there is none."""
    if low is None or high is None:
        return ""
    return phrases.signed_range(low, high) if sign else f"{low:.3f}–{high:.3f}"


def share(fraction: float) -> Entry:
    """Return a label fraction in percent, sorted as a number."""
    return Entry(share_text(fraction), fraction)


def share_text(fraction: float) -> str:
    """Return a label fraction in percent: ``10 %``."""
    return f"{100 * fraction:g} %"


def value_text(value: Any) -> str:
    """Return a hyperparameter's value, short enough for a table."""
    if isinstance(value, float):
        return f"{value:.4g}"
    return value if isinstance(value, str) else json.dumps(value)


def setting_columns() -> tuple[Column, ...]:
    """Return the columns that name a setting."""
    return (
        Column("labels", "share of the labelled training patches"),
        Column("dates", "acquisitions of a series"),
    )


def setting(label_fraction: float, temporal_length: int) -> tuple[Entry, ...]:
    """Return the entries that name a setting, under :func:`setting_columns`."""
    return share(label_fraction), count(temporal_length)


def place_columns() -> tuple[Column, ...]:
    """Return the columns that name a cell."""
    return Column("strategy", "model and way of tuning it", numeric=False), *setting_columns()


def place(strategy: str, label_fraction: float, temporal_length: int) -> tuple[Entry, ...]:
    """Return the entries that name a cell, under :func:`place_columns`."""
    return text(strategy), *setting(label_fraction, temporal_length)
