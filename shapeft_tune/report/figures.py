"""Maps and curves of mIoU over labels and dates, readable in grey and without telling colours apart."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shapeft_tune.report.comparison import CellSummary, Comparison
from shapeft_tune.report.findings import describe_setting
from shapeft_tune.report.pareto import Point

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
"""Okabe and Ito (2008), told apart with any colour vision; their yellow is left out, too faint for lines."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
DASHES = ("-", "--", "-.", (0, (1, 1.2)), (0, (5, 1, 1, 1, 1, 1)), (0, (8, 2)), (0, (3, 3)))
COLOUR_SCALE = "cividis"
"""Its lightness rises evenly, so it prints well in grey."""
CHARACTERS_PER_INCH = 12
"""Of a title, roughly; figures are narrow where there is one small panel."""
LEGEND_WIDTH = 2.0
"""Inches of text."""
CLOSEST_TICKS = 0.075
"""Share of an axis below which the labels of two ticks would run into each other."""
TITLES = {
    "test": "mIoU on the test folds, mean and 95 % interval over seeds",
    "validation": "mIoU on the validation folds, best trial (no test scores yet)",
    "both": "mIoU on the test folds, mean and 95 % interval over seeds (* or hollow: validation, untested)",
}
TEST_FOLDS, ALL_FOLDS = "mIoU on the test folds", "mIoU on five test folds (confusions summed)"


@dataclass(frozen=True)
class Axis:
    """One of the two axes of the settings, as a curve runs along it or a panel is fixed on it."""

    label: str
    values: tuple[float, ...]
    of: Callable[[CellSummary], float]
    panel: Callable[[float], str]
    """Name one value, as a panel's title."""
    tick: Callable[[float], str]
    """Name one value, as briefly as the axis' label allows."""


def heat_map(comparison: Comparison) -> Figure:
    """Draw mIoU over label fraction and dates, one map per strategy on one colour scale."""
    from matplotlib.colors import Normalize

    labels, dates = _labels(comparison), _dates(comparison)
    scores = [cell.score for cell in comparison.cells if cell.score is not None]
    norm = Normalize(min(scores, default=0.0), max(scores, default=1.0))
    width = max(0.95 * len(dates.values) + 0.4, 2.2)
    figure, panels = _panels(len(comparison.strategies), width, 0.62 * len(labels.values) + 0.9, room=1.7)
    for strategy, axes in zip(comparison.strategies, panels, strict=True):
        _draw_map(axes, [cell for cell in comparison.cells if cell.strategy == strategy], labels, dates, norm)
        axes.set_title(_wrapped(strategy, width), fontsize=10)
    _name_axes(figure, dates.label, labels.label)
    bar = figure.colorbar(panels[0].images[0], ax=panels, label="mIoU", shrink=0.9, aspect=15)
    bar.outline.set_visible(False)
    return _titled(figure, comparison)


def curves_over_dates(comparison: Comparison) -> Figure:
    """Draw mIoU over the number of dates: a panel per label fraction, a line per strategy."""
    return _curves(comparison, along=_dates(comparison), panel_by=_labels(comparison))


def curves_over_labels(comparison: Comparison) -> Figure:
    """Draw mIoU over the label fraction, on a logarithmic axis: a panel per number of dates."""
    return _curves(comparison, along=_labels(comparison), panel_by=_dates(comparison), logarithmic=True)


def fronts(comparison: Comparison) -> Figure:
    """Draw validation mIoU over device seconds: a panel per setting, a line per strategy.

    A line is the best mIoU that there is for a cost: it goes up at each trial of the front.
    """
    figure, panels = _panels(len(comparison.settings), 2.9, 2.5, room=1.9)
    for setting, axes in zip(comparison.settings, panels, strict=True):
        for index, strategy in enumerate(comparison.strategies):
            front = comparison.cell(strategy, *setting).front
            _draw_front(axes, front, index, _wrapped(strategy, LEGEND_WIDTH))
        axes.set_xscale("log")
        axes.set_title(_wrapped(describe_setting(*setting), 2.9), fontsize=10)
        _tidy(axes)
    _name_axes(figure, "device seconds", "mIoU on the validation folds")
    _legend(figure, panels[0])
    title = f"{comparison.sweep}: Pareto front of the search, best mIoU for its cost"
    figure.suptitle(_wrapped(title, figure.get_figwidth()), fontsize=10)
    return figure


def _labels(comparison: Comparison) -> Axis:
    return Axis(
        label="labels (%)",
        values=comparison.label_fractions,
        of=lambda cell: cell.label_fraction,
        panel=lambda value: f"{100 * value:g} % of the labels",
        tick=lambda value: f"{100 * value:g}",
    )


def _dates(comparison: Comparison) -> Axis:
    return Axis(
        label="dates",
        values=comparison.temporal_lengths,
        of=lambda cell: cell.temporal_length,
        panel=lambda value: f"{value:g} date{'s' if value > 1 else ''}",
        tick=lambda value: f"{value:g}",
    )


def _panels(count: int, width: float, height: float, room: float) -> tuple[Figure, list[Axes]]:
    """Make ``count`` panels of this size in inches, with ``room`` to their right for a legend or a scale."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    columns = count if count <= 3 else 2 if count == 4 else 3
    rows = math.ceil(count / columns)
    layout = ConstrainedLayoutEngine(compress=True, h_pad=0.08)
    figure = Figure((columns * width + room, rows * height + 0.7), layout=layout)
    FigureCanvasAgg(figure)  # no pyplot: it keeps figures for ever and needs a display on some machines
    grid = list(figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).flat)
    for unused in grid[count:]:
        unused.remove()
    for lowest in grid[max(0, count - columns) : count]:
        lowest.tick_params(labelbottom=True)  # shared axes hide it above a panel that was removed
    return figure, grid[:count]


def _draw_map(axes: Axes, cells: Sequence[CellSummary], labels: Axis, dates: Axis, norm: Any) -> None:
    import numpy as np

    scores = np.full((len(labels.values), len(dates.values)), np.nan)
    for cell in cells:
        if cell.score is not None:
            scores[labels.values.index(labels.of(cell)), dates.values.index(dates.of(cell))] = cell.score
    axes.imshow(scores, cmap=COLOUR_SCALE, norm=norm, origin="lower", aspect="auto")
    for cell in cells:
        place = dates.values.index(dates.of(cell)), labels.values.index(labels.of(cell))
        dark = cell.score is not None and norm(cell.score) < 0.5
        axes.text(*place, _cell_text(cell), ha="center", va="center", fontsize=8, color="w" if dark else "k")
    axes.set_facecolor("0.93")
    axes.set_xticks(range(len(dates.values)), [dates.tick(value) for value in dates.values])
    axes.set_yticks(range(len(labels.values)), [labels.tick(value) for value in labels.values])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def _cell_text(cell: CellSummary) -> str:
    if cell.score is None:
        return "–"
    if not cell.is_tested:
        return f"{cell.score:.3f}*"
    if cell.test_miou_low is None or cell.test_miou_high is None:
        return f"{cell.score:.3f}"
    return f"{cell.score:.3f}\n{cell.test_miou_low:.2f}–{cell.test_miou_high:.2f}"


def _curves(comparison: Comparison, along: Axis, panel_by: Axis, logarithmic: bool = False) -> Figure:
    figure, panels = _panels(len(panel_by.values), 2.9, 2.5, room=1.9)
    for value, axes in zip(panel_by.values, panels, strict=True):
        for index, strategy in enumerate(comparison.strategies):
            line = [
                cell
                for cell in comparison.cells
                if cell.strategy == strategy and panel_by.of(cell) == value and cell.score is not None
            ]
            _draw_line(axes, sorted(line, key=along.of), along, index, _wrapped(strategy, LEGEND_WIDTH))
        if logarithmic:
            axes.set_xscale("log")
        axes.set_xticks(along.values, _spaced(along, logarithmic))
        axes.minorticks_off()
        axes.set_title(panel_by.panel(value), fontsize=10)
        _tidy(axes)
    _name_axes(figure, along.label, "mIoU")
    _legend(figure, panels[0])
    return _titled(figure, comparison)


def _tidy(axes: Axes) -> None:
    axes.margins(x=0.08)
    axes.grid(color="0.88", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)


def _legend(figure: Figure, panel: Axes) -> None:
    handles, names = panel.get_legend_handles_labels()
    figure.legend(handles, names, loc="outside right center", frameon=False, handlelength=3.2)


def _draw_line(axes: Axes, cells: Sequence[CellSummary], along: Axis, index: int, name: str) -> None:
    """Draw a line through the scores, with a band for intervals and hollow marks for validation scores."""
    colour, marker, dashes = _style(index)
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


def _draw_front(axes: Axes, front: Sequence[Point], index: int, name: str) -> None:
    colour, marker, dashes = _style(index)
    seconds, scores = [each.device_seconds for each in front], [each.val_miou for each in front]
    style: dict[str, Any] = {"color": colour, "linestyle": dashes, "marker": marker, "markersize": 5}
    axes.plot(seconds, scores, **style, linewidth=1.6, drawstyle="steps-post", label=name)


def _style(index: int) -> tuple[str, str, Any]:
    """Return colour, marker and dashes of a strategy, the same in every figure."""
    style = index % len(COLOURS)
    return COLOURS[style], MARKERS[style], DASHES[style]


def _name_axes(figure: Figure, x: str, y: str) -> None:
    figure.supxlabel(x, fontsize=10)
    figure.supylabel(y, fontsize=10)


def _spaced(axis: Axis, logarithmic: bool) -> list[str]:
    """Name the ticks from the largest down, leaving out names that would run into the one before."""
    places = [math.log(value) if logarithmic else value for value in axis.values]
    names, last = [""] * len(places), math.inf
    for index in reversed(range(len(places))):
        if last - places[index] >= CLOSEST_TICKS * (places[-1] - places[0]):
            names[index], last = axis.tick(axis.values[index]), places[index]
    return names


def _titled(figure: Figure, comparison: Comparison) -> Figure:
    tested = {cell.is_tested for cell in comparison.cells if cell.score is not None}
    kind = "both" if len(tested) > 1 else "test" if tested == {True} else "validation"
    title = TITLES[kind].replace(TEST_FOLDS, ALL_FOLDS) if comparison.rotated else TITLES[kind]
    figure.suptitle(_wrapped(f"{comparison.sweep}: {title}", figure.get_figwidth()), fontsize=10)
    return figure


def _wrapped(text: str, inches: float) -> str:
    return textwrap.fill(text, int(CHARACTERS_PER_INCH * inches))
