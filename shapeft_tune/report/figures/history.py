"""How the searches went: each trial's validation mIoU in the order of trials, and the best until then."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from shapeft_tune.report.comparison import Comparison
from shapeft_tune.report.figures.axes import dates_of, labels_of
from shapeft_tune.report.figures.style import (
    LEGEND_WIDTH,
    WIDEST,
    empty_figure,
    name_axes,
    style_of,
    tidy,
    wrapped,
)
from shapeft_tune.report.hyperparameters import CellSearch, SearchTrial, StrategySearch
from shapeft_tune.report.words.phrases import describe_setting
from shapeft_tune.tracking.facts import Ending

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PANEL_WIDTH, PANEL_HEIGHT = 2.1, 1.6
ROOM = 2.6
"""Inches for the legend and the name of the vertical axis."""
MOST_DRAWN = 3000
"""Marks of a figure above which an SVG holds them as pixels: 20 000 of them would be 3.5 MB of drawing."""
BELOW_LINES = 1.9
"""Where marks are drawn, one after another: pixels then make one picture for each panel."""


def history(comparison: Comparison, searches: Sequence[StrategySearch]) -> Figure | None:
    """Draw a panel per setting, label fractions below one another and dates side by side.

    Each strategy has its marks and a line through its best; None where no search trial has ended.
    """
    if not any(cell.trials for each in searches for cell in each.cells):
        return None
    labels, dates = labels_of(comparison), dates_of(comparison)
    rows, columns = len(labels.values), len(dates.values)
    width = min(PANEL_WIDTH, (WIDEST - ROOM) / columns)
    figure = empty_figure(width * columns + ROOM, PANEL_HEIGHT * rows + 0.9)
    panels = figure.subplots(rows, columns, sharex=True, sharey="row", squeeze=False)
    many = sum(len(cell.trials) for each in searches for cell in each.cells) > MOST_DRAWN
    for row, fraction in enumerate(reversed(labels.values)):
        for column, length in enumerate(dates.values):
            axes = panels[row, column]
            for index, search in enumerate(searches):
                cell = next((each for each in search.cells if each.setting == (fraction, length)), None)
                if cell:
                    _draw_cell(axes, cell, style_of(index), many)
            axes.set_title(wrapped(describe_setting(fraction, int(length)), width), fontsize=8.5)
            axes.tick_params(labelsize=8)
            axes.xaxis.get_major_locator().set_params(integer=True)
            tidy(axes)
    name_axes(figure, "search trial", "mIoU on the validation folds")
    _legend(figure, searches)
    title = f"{comparison.sweep}: the search, trial by trial; lines are the best complete trial until then"
    figure.suptitle(wrapped(title, figure.get_figwidth()), fontsize=10)
    return figure


def _draw_cell(axes: Axes, cell: CellSearch, style: tuple[str, str, Any], many: bool) -> None:
    colour, marker, dashes = style
    for state, look in _looks(colour, marker).items():
        look |= {"linestyle": "", "zorder": BELOW_LINES, "rasterized": many}
        trials = [(place, each) for place, each in enumerate(cell.trials, start=1) if each.state == state]
        scored = [(place, each.val_miou) for place, each in trials if each.val_miou is not None]
        if scored:
            axes.plot(*zip(*scored, strict=True), **look)
        unscored = [place for place, each in trials if each.val_miou is None]
        bottom = axes.get_xaxis_transform()  # at 0.03 of the panel's height, whatever the scores are
        axes.plot(unscored, [0.03] * len(unscored), transform=bottom, **look)
    best = _best_so_far(cell.trials)
    if best:
        x, y = zip(*best, strict=True)
        axes.plot(x, y, color=colour, linestyle=dashes, linewidth=1.3, drawstyle="steps-post")


def _best_so_far(trials: Sequence[SearchTrial]) -> list[tuple[int, float]]:
    best: list[tuple[int, float]] = []
    for place, trial in enumerate(trials, start=1):
        if trial.is_complete and trial.val_miou is not None:
            best.append((place, max(trial.val_miou, best[-1][1] if best else 0.0)))
    return [*best, (len(trials), best[-1][1])] if best else []


def _looks(colour: str, marker: str) -> dict[str, dict[str, Any]]:
    """Return how trials are marked by how they ended."""
    return {
        Ending.COMPLETE: {"color": colour, "marker": marker, "markersize": 3.2, "alpha": 0.75},
        Ending.PRUNED: {
            "color": colour,
            "marker": marker,
            "markersize": 3.2,
            "markerfacecolor": "w",
            "alpha": 0.75,
        },
        Ending.FAILED: {"color": colour, "marker": "x", "markersize": 4.5, "markeredgewidth": 1.3},
    }


def _legend(figure: Figure, searches: Sequence[StrategySearch]) -> None:
    """Name the strategies, with the share that was pruned, and what the marks mean."""
    from matplotlib.lines import Line2D

    handles, names = [], []
    for index, search in enumerate(searches):
        colour, marker, dashes = style_of(index)
        handles.append(
            Line2D([], [], color=colour, marker=marker, markersize=3.5, linestyle=dashes, linewidth=1.3)
        )
        pruned = "" if search.pruned_share is None else f"\n{100 * search.pruned_share:.0f} % pruned"
        names.append(wrapped(search.strategy, LEGEND_WIDTH) + pruned)
    states = {trial.state for each in searches for cell in each.cells for trial in cell.trials}
    for state, look in _looks("0.3", "o").items():
        if state in states:
            handles.append(Line2D([], [], linestyle="", **look))
            names.append(str(state))
    figure.legend(handles, names, loc="outside right center", frameon=False, handlelength=3.2, fontsize=9)
