"""Where cells lie in a figure of maps, and how such maps are drawn.

A map has label fractions as rows and numbers of dates as columns, one map per strategy. Where a sweep has one
label fraction or one number of dates, such maps would be thin strips: there is a single map then, with the
strategies as its rows.

Legend: R rows and C columns of one map.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shapeft_tune.report.comparison import Comparison
from shapeft_tune.report.figures.axes import Axis, dates_of, labels_of
from shapeft_tune.report.figures.style import LINE_HEIGHT, ink_on, panels_of, wrapped

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CELL_WIDTH, CELL_HEIGHT = 0.8, 0.55
"""Inches; a number with an interval below it fits."""
NARROWEST = 4.5
"""Inches of a whole figure: its title has room."""
NAME_WIDTH = 1.7
"""Inches of a strategy's name beside its row."""
EMPTY = "0.93"

Key = tuple[str, float, int]
"""Strategy, label fraction and number of dates of a cell."""


@dataclass(frozen=True)
class Text:
    """What stands in a cell."""

    number: str
    below: str = ""
    bold: bool = False


@dataclass(frozen=True)
class Grid:
    """The maps of a figure, and where each cell lies in them."""

    maps: tuple[str, ...]
    """Their titles; empty for the single map whose rows are strategies."""
    rows: tuple[str, ...]
    """Their names, the lowest first."""
    columns: tuple[str, ...]
    row_label: str
    column_label: str
    shared: str
    """What label fraction or number of dates all cells share, in words; empty where they share none."""
    places: Mapping[Key, tuple[int, int, int]]
    """Map, row and column of each cell."""


def grid_of(comparison: Comparison, strategies: Sequence[str]) -> Grid:
    """Return the maps of these strategies."""
    labels, dates = labels_of(comparison), dates_of(comparison)
    if len(labels.values) > 1 and len(dates.values) > 1:
        return _map_per_strategy(strategies, labels, dates)
    return _row_per_strategy(comparison, strategies, labels, dates)


def _row_per_strategy(comparison: Comparison, strategies: Sequence[str], labels: Axis, dates: Axis) -> Grid:
    along, fixed = (labels, dates) if len(labels.values) > 1 else (dates, labels)
    lowest_first = tuple(reversed(strategies))
    places = {
        (strategy, cell.label_fraction, cell.temporal_length): (0, row, along.values.index(along.of(cell)))
        for row, strategy in enumerate(lowest_first)
        for cell in comparison.cells
    }
    rows = tuple(wrapped(name, NAME_WIDTH) for name in lowest_first)
    shared = fixed.panel(fixed.values[0])
    if len(along.values) == 1:
        return Grid(("",), rows, ("",), "", "", f"{shared}, {along.panel(along.values[0])}", places)
    columns = tuple(along.tick(value) for value in along.values)
    return Grid(("",), rows, columns, "", along.label, shared, places)


def _map_per_strategy(strategies: Sequence[str], labels: Axis, dates: Axis) -> Grid:
    places = {
        (strategy, fraction, int(length)): (number, row, column)
        for number, strategy in enumerate(strategies)
        for row, fraction in enumerate(labels.values)
        for column, length in enumerate(dates.values)
    }
    rows = tuple(labels.tick(value) for value in labels.values)
    columns = tuple(dates.tick(value) for value in dates.values)
    return Grid(tuple(strategies), rows, columns, labels.label, dates.label, "", places)


def draw_grid(
    grid: Grid,
    numbers: Mapping[Key, float],
    texts: Mapping[Key, Text],
    scale: Any,
    cell_width: float = CELL_WIDTH,
) -> Figure:
    """Draw the maps, coloured by ``numbers``, on one colour scale.

    Args:
        grid: where the cells lie.
        numbers: by cell; one that is missing leaves its cell empty.
        texts: by cell.
        scale: matplotlib's ``ScalarMappable``: from a number to a colour.
        cell_width: inches.
    """
    room = 1.2 + (0.25 if grid.row_label else NAME_WIDTH)
    width = max(cell_width * len(grid.columns), (NARROWEST - room) / len(grid.maps))
    titles = [wrapped(name, width) for name in grid.maps]
    title_height = LINE_HEIGHT * max(title.count("\n") + 1 for title in titles)
    height = CELL_HEIGHT * len(grid.rows) + title_height + 0.2
    figure, panels = panels_of(len(grid.maps), width + 0.15, height, room)
    for number, axes in enumerate(panels):
        _colour(axes, grid, number, numbers, scale)
        for key, text in texts.items():
            ink = ink_on(scale.to_rgba(numbers[key])) if key in numbers else "k"
            _write(axes, grid, number, key, text, ink)
        axes.set_title(titles[number], fontsize=10)
    _name(figure, panels, grid)
    return figure


def _colour(axes: Axes, grid: Grid, number: int, numbers: Mapping[Key, float], scale: Any) -> None:
    import numpy as np

    values_RC = np.full((len(grid.rows), len(grid.columns)), np.nan)
    for key, value in numbers.items():
        place, row, column = grid.places[key]
        if place == number:
            values_RC[row, column] = value
    axes.pcolormesh(
        np.ma.masked_invalid(values_RC), cmap=scale.cmap, norm=scale.norm, edgecolors="w", linewidth=1.5
    )
    axes.set_facecolor(EMPTY)


def _write(axes: Axes, grid: Grid, number: int, key: Key, text: Text, ink: str) -> None:
    place, row, column = grid.places[key]
    if place != number:
        return
    style: dict[str, Any] = {"ha": "center", "color": ink}
    weight = "bold" if text.bold else "normal"
    middle = 0.5 if not text.below else 0.44
    across = "center" if not text.below else "bottom"
    axes.text(column + 0.5, row + middle, text.number, va=across, fontsize=9, weight=weight, **style)
    if text.below:
        axes.text(column + 0.5, row + 0.38, text.below, va="top", fontsize=6.5, **style)


def _name(figure: Figure, panels: Sequence[Axes], grid: Grid) -> None:
    for axes in panels:
        axes.set_xticks([column + 0.5 for column in range(len(grid.columns))], grid.columns)
        axes.set_yticks([row + 0.5 for row in range(len(grid.rows))], grid.rows)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
    for label, write in ((grid.column_label, figure.supxlabel), (grid.row_label, figure.supylabel)):
        if label:
            write(label, fontsize=10)
