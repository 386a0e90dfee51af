"""Heat maps of each class's IoU over all settings, one per strategy."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from shapeft_tune.report.comparison import CellSummary, Comparison
from shapeft_tune.report.figures.axes import dates_of, labels_of
from shapeft_tune.report.figures.classes import Setting, classes_in_order
from shapeft_tune.report.figures.grids import EMPTY
from shapeft_tune.report.figures.style import (
    COLOUR_SCALE,
    LINE_HEIGHT,
    colour_bar,
    headed,
    ink_on,
    of_classes,
    panels_of,
    wrapped,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_NUMBERED = 9
"""Settings up to which cells are wide enough for numbers."""
NUMBERED, NARROW, HEIGHT = 0.34, 0.17, 0.19
"""Inches of a cell: its width with a number and without, its height."""


def class_maps(comparison: Comparison) -> Figure | None:
    """Draw IoU over classes and settings; None with a single setting or where nothing was tested."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    tested = [cell for cell in comparison.cells if cell.test_iou]
    settings = sorted(comparison.settings)
    if not tested or len(settings) < 2:
        return None
    classes = classes_in_order(comparison, tested)
    strategies = [name for name in comparison.strategies if name in {cell.strategy for cell in tested}]
    figure, panels = _panels(strategies, classes, len(settings))
    scale = ScalarMappable(Normalize(0, 1), COLOUR_SCALE)
    for strategy, axes in zip(strategies, panels, strict=True):
        _draw_map(axes, [cell for cell in tested if cell.strategy == strategy], classes, settings, scale)
        _name_settings(axes, settings)
        axes.set_yticks([row + 0.5 for row in range(len(classes))], classes, fontsize=8)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
    panels[0].set_ylim(len(classes), 0)  # shared by all
    below, shared = _axes_of(comparison)
    figure.supxlabel(below, fontsize=10)
    colour_bar(figure, scale, "IoU")
    percent = ", in percent" if len(settings) <= MOST_NUMBERED else ""
    return headed(
        figure, comparison, f"{of_classes(comparison)}, mean over seeds{percent}{shared and f', {shared}'}"
    )


def _panels(strategies: Sequence[str], classes: Sequence[str], settings: int) -> tuple[Figure, list[Axes]]:
    width = max((NUMBERED if settings <= MOST_NUMBERED else NARROW) * settings, 1.2)
    titles = [wrapped(strategy, width) for strategy in strategies]
    title_height = LINE_HEIGHT * max(title.count("\n") + 1 for title in titles)
    height = HEIGHT * len(classes) + title_height + 0.45
    figure, panels = panels_of(len(strategies), width + 0.15, height, room=2.8)
    for axes, title in zip(panels, titles, strict=True):
        axes.set_title(title, fontsize=10)
    return figure, panels


def _draw_map(
    axes: Axes, cells: Sequence[CellSummary], classes: Sequence[str], settings: Sequence[Setting], scale: Any
) -> None:
    import numpy as np

    values_KS = np.full((len(classes), len(settings)), np.nan)
    for cell in cells:
        for name, score in cell.test_iou.items():
            if score.mean is not None:
                values_KS[classes.index(name), settings.index(cell.setting)] = score.mean
    extent = (0, len(settings), len(classes), 0)  # an image, as thousands of rectangles make a large SVG
    axes.imshow(values_KS, cmap=scale.cmap, norm=scale.norm, extent=extent, aspect="auto")
    axes.hlines(range(1, len(classes)), 0, len(settings), color="w", linewidth=0.8)
    axes.vlines(range(1, len(settings)), 0, len(classes), color="w", linewidth=0.8)
    axes.set_facecolor(EMPTY)
    if len(settings) <= MOST_NUMBERED:
        for (row, column), value in np.ndenumerate(values_KS):
            there = np.isfinite(value)
            text, ink = (f"{100 * value:.0f}", ink_on(scale.to_rgba(value))) if there else ("–", "k")
            axes.text(column + 0.5, row + 0.5, text, ha="center", va="center", fontsize=7, color=ink)


def _axes_of(comparison: Comparison) -> tuple[str, str]:
    """Return what stands below the columns, and the label fraction or number of dates that all share."""
    labels, dates = labels_of(comparison), dates_of(comparison)
    if len(dates.values) == 1:
        return labels.label, dates.panel(dates.values[0])
    if len(labels.values) == 1:
        return dates.label, labels.panel(labels.values[0])
    return "dates, and below them labels", ""


def _name_settings(axes: Axes, settings: Sequence[Setting]) -> None:
    """Name each column by its dates and, below, the label fraction of several; or by that of its own."""
    columns = [column + 0.5 for column in range(len(settings))]
    fractions = [f"{100 * fraction:g}" for fraction, _ in settings]
    if len({length for _, length in settings}) == 1:
        axes.set_xticks(columns, fractions, fontsize=7)
        return
    axes.set_xticks(columns, [str(length) for _, length in settings], fontsize=7)
    if len(set(fractions)) > 1:
        _name_groups(axes, fractions)


def _name_groups(axes: Axes, fractions: Sequence[str]) -> None:
    """Name neighbours that share a label fraction once, and set groups apart by a line."""
    middles, start = {}, 0
    for fraction, group in itertools.groupby(fractions):
        end = start + len(list(group))
        middles[(start + end) / 2] = f"{fraction} %"
        if start:
            axes.axvline(start, color="w", linewidth=3)
        start = end
    axes.set_xticks(list(middles), list(middles.values()), minor=True)
    axes.xaxis.remove_overlapping_locs = False  # a fraction may lie right below a number of dates
    axes.tick_params(axis="x", which="minor", length=0, pad=14, labelsize=7)
