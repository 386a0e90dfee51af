"""IoU of each class in one setting, strategies side by side.

Legend: S seeds, N patches, K classes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from shapeft_tune.report.comparison import CellSummary, ClassScore, Comparison
from shapeft_tune.report.figures.style import (
    LEGEND_WIDTH,
    averaged,
    headed,
    legend,
    of_classes,
    panels_of,
    style_of,
    wrapped,
)
from shapeft_tune.report.words.phrases import describe_setting

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Setting = tuple[float, int]
LANE, BETWEEN = 0.075, 0.08
"""Inches of a strategy in a class's row, and between rows."""
STRIPE = "0.955"


def class_dots(comparison: Comparison) -> Figure | None:
    """Draw each class's IoU with its interval, a marker per strategy, in the richest tested setting.

    Classes are in the order of the baseline's IoU; those that occur nowhere are left out. None where nothing
    was tested.
    """
    setting = richest_setting(comparison)
    if setting is None:
        return None
    cells = [cell for cell in comparison.cells if cell.setting == setting and cell.test_iou]
    classes = classes_in_order(comparison, cells)
    row = LANE * len(cells) + BETWEEN
    figure, (axes,) = panels_of(1, 6.5, row * len(classes) + 0.4, room=2.0)
    for lane, cell in enumerate(cells):
        index = comparison.strategies.index(cell.strategy)
        _draw_strategy(axes, cell, classes, index, (lane - (len(cells) - 1) / 2) * LANE / row)
    _name_classes(axes, classes, cells)
    legend(figure, axes)
    title = f"{of_classes(comparison)}, {averaged(cells)}"
    return headed(figure, comparison, f"{title}, {describe_setting(*setting)}")


def richest_setting(comparison: Comparison) -> Setting | None:
    """Return the setting with most tested strategies, then most labels, then most dates."""
    tested = [cell.setting for cell in comparison.cells if cell.test_iou]
    return max(set(tested), key=lambda setting: (tested.count(setting), *setting), default=None)


def classes_in_order(comparison: Comparison, cells: Sequence[CellSummary]) -> list[str]:
    """Return the classes that have an IoU in any of these cells.

    They are in the order of the baseline's IoU in the richest setting, the highest first; where the baseline
    is not tested there, in that of the first strategy that is.
    """
    richest = [cell for cell in comparison.cells if cell.setting == richest_setting(comparison)]
    tested = [cell for cell in richest if cell.test_iou]
    leading = next((cell for cell in tested if cell.strategy == comparison.baseline), tested[0])
    scores = [(name, score) for cell in cells for name, score in cell.test_iou.items()]
    names = dict.fromkeys(name for name, score in scores if score.mean is not None)
    iou = {name: leading.test_iou.get(name, ClassScore(None)).mean or 0.0 for name in names}
    return sorted(names, key=iou.__getitem__, reverse=True)


def _draw_strategy(axes: Axes, cell: CellSummary, classes: Sequence[str], index: int, offset: float) -> None:
    colour, marker, _ = style_of(index)
    scores = [cell.test_iou.get(name, ClassScore(None)) for name in classes]
    rows = [row + offset for row in range(len(classes))]
    means = [math.nan if score.mean is None else score.mean for score in scores]
    lows = [math.nan if score.low is None else score.low for score in scores]
    highs = [math.nan if score.high is None else score.high for score in scores]
    axes.hlines(rows, lows, highs, color=colour, linewidth=1.1)
    name = wrapped(cell.strategy, LEGEND_WIDTH)
    axes.plot(means, rows, color=colour, marker=marker, markersize=4, linestyle="none", label=name)


def _name_classes(axes: Axes, classes: Sequence[str], cells: Sequence[CellSummary]) -> None:
    shares = _shares_of_pixels(cells)
    names = [f"{name} ({100 * shares[name]:.2g} %)" if name in shares else name for name in classes]
    axes.set_yticks(range(len(classes)), names, fontsize=8)
    axes.set_ylim(len(classes) - 0.5, -0.5)
    axes.set_xlim(0, 1)
    axes.set_xlabel("IoU" + (" (beside a class: its share of the test pixels)" if shares else ""))
    for row in range(1, len(classes), 2):
        axes.axhspan(row - 0.5, row + 0.5, color=STRIPE, linewidth=0, zorder=0)
    axes.grid(axis="x", color="0.88", linewidth=0.6)
    axes.tick_params(axis="y", length=0)
    axes.spines[["top", "right", "left"]].set_visible(False)


def _shares_of_pixels(cells: Sequence[CellSummary]) -> dict[str, float]:
    scored = next((cell.scored for cell in cells if cell.scored), None)
    if scored is None:
        return {}
    pixels_K = scored.target_SNK.sum(axis=(0, 1))
    return dict(zip(scored.class_names, (pixels_K / max(pixels_K.sum(), 1)).tolist(), strict=True))
