"""The two axes of a sweep's settings: label fraction and number of dates."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from shapeft_tune.report.comparison import Comparison


class InSetting(Protocol):
    """What belongs to one setting: a cell's summary, its search, a best value."""

    @property
    def label_fraction(self) -> float:
        """Share of the labels."""

    @property
    def temporal_length(self) -> int:
        """Number of dates."""


@dataclass(frozen=True)
class Axis:
    """One of the two axes of the settings, as a curve runs along it or a panel is fixed on it."""

    label: str
    values: tuple[float, ...]
    of: Callable[[InSetting], float]
    panel: Callable[[float], str]
    """Name one value, as a panel's title."""
    tick: Callable[[float], str]
    """Name one value, as briefly as the axis' label allows."""


def labels_of(comparison: Comparison) -> Axis:
    """Return the axis of label fractions."""
    return Axis(
        label="labels (%)",
        values=comparison.label_fractions,
        of=lambda cell: cell.label_fraction,
        panel=lambda value: f"{100 * value:g} % of the labels",
        tick=lambda value: f"{100 * value:g}",
    )


def dates_of(comparison: Comparison) -> Axis:
    """Return the axis of numbers of dates."""
    return Axis(
        label="dates",
        values=comparison.temporal_lengths,
        of=lambda cell: cell.temporal_length,
        panel=lambda value: f"{value:g} date{'s' if value > 1 else ''}",
        tick=lambda value: f"{value:g}",
    )
