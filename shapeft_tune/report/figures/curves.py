"""Curves of mIoU over the number of dates and over the label fraction, with their intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from shapeft_tune.report.comparison import CellSummary, Comparison
from shapeft_tune.report.figures.axes import Axis, dates_of, labels_of
from shapeft_tune.report.figures.style import (
    CLOSEST_TICKS,
    LEGEND_WIDTH,
    legend,
    name_axes,
    panels_of,
    style_of,
    tidy,
    titled,
    wrapped,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def curves_over_dates(comparison: Comparison) -> Figure:
    """Draw mIoU over the number of dates: a panel per label fraction, a line per strategy."""
    return _curves(comparison, along=dates_of(comparison), panel_by=labels_of(comparison))


def curves_over_labels(comparison: Comparison) -> Figure:
    """Draw mIoU over the label fraction, on a logarithmic axis: a panel per number of dates."""
    return _curves(comparison, along=labels_of(comparison), panel_by=dates_of(comparison), logarithmic=True)


def _curves(comparison: Comparison, along: Axis, panel_by: Axis, logarithmic: bool = False) -> Figure:
    figure, panels = panels_of(len(panel_by.values), 2.9, 2.5, room=1.9)
    for value, axes in zip(panel_by.values, panels, strict=True):
        for index, strategy in enumerate(comparison.strategies):
            line = [
                cell
                for cell in comparison.cells
                if cell.strategy == strategy and panel_by.of(cell) == value and cell.score is not None
            ]
            _draw_line(axes, sorted(line, key=along.of), along, index, wrapped(strategy, LEGEND_WIDTH))
        if logarithmic:
            axes.set_xscale("log")
        axes.set_xticks(along.values, _spaced(along, logarithmic))
        axes.minorticks_off()
        axes.set_title(panel_by.panel(value), fontsize=10)
        tidy(axes)
    name_axes(figure, along.label, "mIoU")
    legend(figure, panels[0])
    return titled(figure, comparison)


def _draw_line(axes: Axes, cells: Sequence[CellSummary], along: Axis, index: int, name: str) -> None:
    """Draw a line through the scores, with a band for intervals and hollow marks for validation scores."""
    colour, marker, dashes = style_of(index)
    x = [along.of(cell) for cell in cells]
    scores = [cell.score or 0.0 for cell in cells]  # a cell without a score is not among these
    axes.plot(
        x, scores, color=colour, linestyle=dashes, marker=marker, markersize=5, linewidth=1.6, label=name
    )
    for place, score, cell in zip(x, scores, cells, strict=True):
        if not cell.is_tested:
            axes.plot(place, score, color=colour, marker=marker, markersize=5, markerfacecolor="w")
    low = [float("nan") if cell.test_miou_low is None else cell.test_miou_low for cell in cells]
    high = [float("nan") if cell.test_miou_high is None else cell.test_miou_high for cell in cells]
    axes.fill_between(x, low, high, color=colour, alpha=0.15, linewidth=0)
    axes.vlines(x, low, high, color=colour, alpha=0.5, linewidth=1)  # a band around a lone point has no area


def _spaced(axis: Axis, logarithmic: bool) -> list[str]:
    """Name the ticks from the largest down, leaving out names that would run into the one before."""
    places = [math.log(value) if logarithmic else value for value in axis.values]
    names, last = [""] * len(places), math.inf
    for index in reversed(range(len(places))):
        if last - places[index] >= CLOSEST_TICKS * (places[-1] - places[0]):
            names[index], last = axis.tick(axis.values[index]), places[index]
    return names
