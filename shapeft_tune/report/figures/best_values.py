"""The best value of each searched field over label fraction and over dates: the study's own question."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from shapeft_tune.report.comparison import Comparison
from shapeft_tune.report.figures.axes import Axis, dates_of, labels_of
from shapeft_tune.report.figures.searched_axis import field_names, position, ticks
from shapeft_tune.report.figures.style import COLOUR_SCALE, MARKERS, WIDEST, empty_figure, wrapped
from shapeft_tune.report.hyperparameters import SearchedField, StrategySearch
from shapeft_tune.report.hyperparameters.best_values import CLOSE, BestValue, best_values

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_FIELDS = 6
"""Rows of panels: the most important fields."""
PANEL_WIDTH, NARROWEST, PANEL_HEIGHT = 2.1, 1.3, 1.6
OPTION_HEIGHT = 0.28
"""Inches of one option of a list."""
ROOM, LETTER = 2.0, 0.075
"""Inches: for names of fields and the legend, and for each letter of an option's name."""
SPREAD = 0.55
"""Share of the smallest distance between two settings over which the marks of one setting lie."""
BEYOND = 0.08
"""Share of a range that is shown, shaded, on either side of it."""
LIGHTEST = 0.78
"""Of the colour scale: its light end is too faint for marks."""


def best_values_over_labels(comparison: Comparison, searches: Sequence[StrategySearch]) -> Figure | None:
    """Draw best values over the label fraction, a mark for each number of dates.

    None where there is one label fraction, nothing is searched, or no search trial is complete.
    """
    return _draw(comparison, searches, labels_of(comparison), dates_of(comparison), logarithmic=True)


def best_values_over_dates(comparison: Comparison, searches: Sequence[StrategySearch]) -> Figure | None:
    """Draw best values over the number of dates, a mark for each label fraction.

    None where there is one number of dates, nothing is searched, or no search trial is complete.
    """
    return _draw(comparison, searches, dates_of(comparison), labels_of(comparison), logarithmic=False)


def _draw(
    comparison: Comparison, searches: Sequence[StrategySearch], along: Axis, by: Axis, logarithmic: bool
) -> Figure | None:
    """Draw a row of panels for each field and a column for each strategy."""
    shown = [each for each in searches if each.fields and any(cell.best for cell in each.cells)]
    if len(along.values) < 2 or not shown:
        return None
    fields = _most_important(shown)
    names, rows = field_names(shown), fields[:MOST_FIELDS]
    heights = [_height(name, shown) for name in rows]
    room = _room(rows, shown)
    width = min(PANEL_WIDTH, max(NARROWEST, (WIDEST - room) / len(shown)))
    figure = empty_figure(width * len(shown) + room, sum(heights) + 1.0)
    panels = figure.subplots(
        len(rows), len(shown), sharex=True, squeeze=False, gridspec_kw={"height_ratios": heights}
    )
    marks = _Marks(along, by, logarithmic)
    for row, name in enumerate(rows):
        before = None
        for axes, search in zip(panels[row], shown, strict=True):
            field = _field_of(search, name)
            _draw_panel(axes, search, field, marks)
            if field and field == before:
                axes.tick_params(labelleft=False)
            before = field
        panels[row, 0].set_ylabel(wrapped(names[name], max(heights[row] - 0.3, 0.8)), fontsize=9)
    figure.align_ylabels(panels[:, 0])
    for axes, search in zip(panels[0], shown, strict=True):
        axes.set_title(wrapped(search.strategy, width), fontsize=10)
    figure.supxlabel(along.label, fontsize=10)
    _legend(figure, by)
    _title(figure, comparison.sweep, [names[name] for name in fields[MOST_FIELDS:]])
    return figure


def _most_important(searches: Sequence[StrategySearch]) -> list[str]:
    """Return the names of all fields, the one first that matters most in any strategy."""
    most: dict[str, float] = {}
    for search in searches:
        for field in search.fields:
            most[field.name] = max(most.get(field.name, 0.0), search.importances.get(field.name, 0.0))
    return sorted(most, key=lambda name: -most[name])


def _field_of(search: StrategySearch, name: str) -> SearchedField | None:
    return next((each for each in search.fields if each.name == name), None)


def _height(name: str, searches: Sequence[StrategySearch]) -> float:
    """Return the inches of a row: lists need room for their options only."""
    fields = [field for search in searches if (field := _field_of(search, name))]
    return max(
        PANEL_HEIGHT if each.is_numeric else 0.3 + OPTION_HEIGHT * len(each.options) for each in fields
    )


def _room(names: Sequence[str], searches: Sequence[StrategySearch]) -> float:
    options = [
        option
        for search in searches
        for name in names
        if (field := _field_of(search, name))
        for option in field.options
    ]
    return ROOM + LETTER * max(map(len, options), default=0)


class _Marks:
    """Where marks lie along the horizontal axis, and how they look."""

    def __init__(self, along: Axis, by: Axis, logarithmic: bool) -> None:
        self.along, self.by, self._logarithmic = along, by, logarithmic
        self.ticks = {self._place(value): along.tick(value) for value in along.values}
        places, count = list(self.ticks), len(by.values)
        closest = min(after - before for before, after in pairwise(places))
        width = min(SPREAD * closest, 0.1 * (places[-1] - places[0])) if count > 1 else 0.0
        self._offsets = [width * (index / max(1, count - 1) - 0.5) for index in range(count)]

    def line(self, found: Sequence[BestValue], index: int) -> list[tuple[float, BestValue]]:
        """Return the values of one of the settings that share a panel, each with its place."""
        line = [each for each in found if self.by.of(each) == self.by.values[index]]
        return [
            (self._place(self.along.of(each)) + self._offsets[index], each)
            for each in sorted(line, key=self.along.of)
        ]

    def _place(self, value: float) -> float:
        return math.log10(value) if self._logarithmic else value


def _draw_panel(axes: Axes, search: StrategySearch, field: SearchedField | None, marks: _Marks) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_xticks(list(marks.ticks), marks.ticks.values())
    axes.tick_params(labelsize=8)
    if field is None:
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        axes.text(0.5, 0.5, "not searched", transform=axes.transAxes, ha="center", color="0.5", fontsize=8)
        return
    named = ticks(field)
    axes.set_yticks(list(named), list(named.values()))
    axes.grid(color="0.9", linewidth=0.6)
    beyond = BEYOND if field.is_numeric else 0.5 / max(1, len(field.options) - 1)
    axes.set_ylim(-beyond, 1 + beyond)
    if field.is_numeric:
        for edge in (-beyond, 1):  # what was not searched is shaded
            axes.axhspan(edge, edge + beyond, color="0.92", linewidth=0)
    found = best_values(search, field)
    count = len(marks.by.values)
    for index in range(count):
        _draw_line(axes, field, marks.line(found, index), _style(index, count))


def _draw_line(
    axes: Axes, field: SearchedField, line: Sequence[tuple[float, BestValue]], style: Mapping[str, Any]
) -> None:
    """Draw the best values, and a thin bar or, for options, hollow marks where others are about as good."""
    for place, each in line:
        near = [position(field, value) for value in each.close]
        if field.is_numeric:
            axes.vlines(place, min(near), max(near), color=style["color"], linewidth=1.2, alpha=0.8)
        else:
            axes.plot([place] * len(near), near, **style, markersize=4, markerfacecolor="w", linestyle="")
    x, best = [place for place, _ in line], [position(field, each.value) for _, each in line]
    if field.is_numeric:
        axes.plot(x, best, color=style["color"], linewidth=0.6, alpha=0.45)
    axes.plot(x, best, **style, markersize=4.5, linestyle="")


def _style(index: int, count: int) -> dict[str, Any]:
    """Return colour and marker of one of the settings that share a panel, from dark to light."""
    from matplotlib import colormaps

    return {
        "color": colormaps[COLOUR_SCALE](LIGHTEST * index / max(1, count - 1)),
        "marker": MARKERS[index % len(MARKERS)],
    }


def _legend(figure: Figure, by: Axis) -> None:
    from matplotlib.lines import Line2D

    if len(by.values) < 2:
        return
    handles = [
        Line2D([], [], **_style(index, len(by.values)), linewidth=0.6) for index in range(len(by.values))
    ]
    names = [by.tick(value) for value in by.values]
    figure.legend(handles, names, title=by.label, loc="outside right center", frameon=False)


def _title(figure: Figure, sweep: str, left_out: Sequence[str]) -> None:
    title = f"{sweep}: best searched values; bars and hollow marks: trials within {CLOSE:g} mIoU of the best"
    if left_out:
        title += f" (less important and left out: {', '.join(left_out)})"
    figure.suptitle(wrapped(title, figure.get_figwidth()), fontsize=10)
