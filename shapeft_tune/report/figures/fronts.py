"""Pareto fronts of a search with cost as its second objective."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from shapeft_tune.report.comparison import Comparison
from shapeft_tune.report.comparison.pareto import Point
from shapeft_tune.report.figures.style import (
    LEGEND_WIDTH,
    legend,
    name_axes,
    panels_of,
    style_of,
    tidy,
    wrapped,
)
from shapeft_tune.report.words.phrases import describe_setting

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def fronts(comparison: Comparison) -> Figure:
    """Draw validation mIoU over device seconds: a panel per setting, a line per strategy.

    A line is the best mIoU that there is for a cost: it goes up at each trial of the front.
    """
    figure, panels = panels_of(len(comparison.settings), 2.9, 2.5, room=1.9)
    for setting, axes in zip(comparison.settings, panels, strict=True):
        for index, strategy in enumerate(comparison.strategies):
            front = comparison.cell(strategy, *setting).front
            _draw_front(axes, front, index, wrapped(strategy, LEGEND_WIDTH))
        axes.set_xscale("log")
        axes.set_title(wrapped(describe_setting(*setting), 2.9), fontsize=10)
        tidy(axes)
    name_axes(figure, "device seconds", "mIoU on the validation folds")
    legend(figure, panels[0])
    title = f"{comparison.sweep}: Pareto front of the search, best mIoU for its cost"
    figure.suptitle(wrapped(title, figure.get_figwidth()), fontsize=10)
    return figure


def _draw_front(axes: Axes, front: Sequence[Point], index: int, name: str) -> None:
    colour, marker, dashes = style_of(index)
    seconds, scores = [each.device_seconds for each in front], [each.val_miou for each in front]
    style: dict[str, Any] = {"color": colour, "linestyle": dashes, "marker": marker, "markersize": 5}
    axes.plot(seconds, scores, **style, linewidth=1.6, drawstyle="steps-post", label=name)
