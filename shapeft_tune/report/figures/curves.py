"""Curves of mIoU over the number of dates and over the label fraction, with their intervals."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from shapeft_tune.report.comparison import CellSummary, Comparison
from shapeft_tune.report.figures.axes import Axis, dates_of, labels_of
from shapeft_tune.report.figures.reference_lines import draw_reference_lines, keys_of, legend_with_keys
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
from shapeft_tune.report.published import Published

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH, WIDTH_ALONE, HEIGHT, INNER_HEIGHT = 2.9, 3.7, 2.5, 1.9
"""Inches of a panel; a single one has its axis' name and the legend to make room for."""


@dataclass(frozen=True)
class _Layout:
    """What runs along the curves, and what the panels are."""

    along: Axis
    panel_by: Axis
    references: Mapping[float, Sequence[Published]]
    """Published numbers by the panel that they belong into."""
    logarithmic: bool = False


def curves_over_dates(comparison: Comparison, published: Sequence[Published] = ()) -> Figure | None:
    """Draw mIoU over the number of dates: a panel per label fraction, a line per strategy.

    Args:
        comparison: what to draw; with one number of dates there is nothing to draw.
        published: numbers of the field, drawn as lines where all labels were used.
    """
    full = {1.0: published} if published and 1.0 in comparison.label_fractions else {}
    return _curves(comparison, _Layout(dates_of(comparison), labels_of(comparison), full))


def curves_over_labels(comparison: Comparison, published: Sequence[Published] = ()) -> Figure | None:
    """Draw mIoU over the label fraction, on a logarithmic axis: a panel per number of dates.

    Args:
        comparison: what to draw; with one label fraction there is nothing to draw.
        published: numbers of the field, drawn as short lines at 100 %: those of a known number of dates in
            its panel, the others in the panel of most dates.
    """
    by_dates: dict[float, list[Published]] = {}
    if 1.0 in comparison.label_fractions:
        for each in published:
            length = each.protocol.temporal_length or comparison.temporal_lengths[-1]
            if length in comparison.temporal_lengths:
                by_dates.setdefault(length, []).append(each)
    return _curves(comparison, _Layout(labels_of(comparison), dates_of(comparison), by_dates, True))


def _curves(comparison: Comparison, layout: _Layout) -> Figure | None:
    if len(layout.along.values) < 2:
        return None
    panel_by = layout.panel_by
    width = WIDTH if len(panel_by.values) > 1 else WIDTH_ALONE
    figure, panels = panels_of(len(panel_by.values), width, HEIGHT, room=3.2 if layout.references else 1.9)
    for value, axes in zip(panel_by.values, panels, strict=True):
        _draw_panel(axes, [cell for cell in comparison.cells if panel_by.of(cell) == value], layout)
        axes.set_title(panel_by.panel(value), fontsize=10)
    name_axes(figure, layout.along.label, "mIoU")
    _add_references(figure, panels, layout)
    return titled(figure, comparison)


def _add_references(figure: Figure, panels: Sequence[Axes], layout: _Layout) -> None:
    """Draw published numbers, with letters in the panels that the legend explains."""
    keys = keys_of(each for group in layout.references.values() for each in group)
    for value, group in layout.references.items():
        axes = panels[layout.panel_by.values.index(value)]
        start = 0.82 if layout.logarithmic else 0.0  # over labels, the numbers belong to the right end
        draw_reference_lines(axes, {each: keys[each] for each in group}, start, INNER_HEIGHT)
    if keys:
        legend_with_keys(figure, panels[0], keys)
    else:
        legend(figure, panels[0])


def _draw_panel(axes: Axes, cells: Sequence[CellSummary], layout: _Layout) -> None:
    for index, strategy in enumerate(dict.fromkeys(cell.strategy for cell in cells)):
        line = [cell for cell in cells if cell.strategy == strategy and cell.score is not None]
        name = wrapped(strategy, LEGEND_WIDTH)
        _draw_line(axes, sorted(line, key=layout.along.of), layout.along, index, name)
    if layout.logarithmic:
        axes.set_xscale("log")
    axes.set_xticks(layout.along.values, _spaced(layout.along, layout.logarithmic))
    axes.minorticks_off()
    tidy(axes)


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
