"""The pictures of a report, in the order in which a reader wants them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from shapeft_tune.report.figures.curves import curves_over_dates, curves_over_labels
from shapeft_tune.report.figures.fronts import fronts
from shapeft_tune.report.figures.maps import heat_map
from shapeft_tune.report.report import Report

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Picture:
    """One picture and what it shows."""

    name: str
    """Of its files."""
    section: str
    """Of the report that it belongs to: ``results``, ``cost``, ``classes`` or ``hyperparameters``."""
    caption: str
    draw: Callable[[Report], Figure | None]
    """Returns None where there is nothing to show, such as differences within a single strategy."""


PICTURES = (
    Picture("map", "results", "mIoU over labels and dates", lambda report: heat_map(report.comparison)),
    Picture(
        "over_dates",
        "results",
        "mIoU over the number of dates",
        lambda report: curves_over_dates(report.comparison),
    ),
    Picture(
        "over_labels",
        "results",
        "mIoU over the label fraction",
        lambda report: curves_over_labels(report.comparison),
    ),
    Picture(
        "fronts",
        "cost",
        "mIoU over device seconds",
        lambda report: fronts(report.comparison) if report.comparison.by_cost else None,
    ),
)
