"""Heat maps of mIoU over label fraction and number of dates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from shapeft_tune.report.comparison import CellSummary, Comparison
from shapeft_tune.report.figures.axes import Axis, dates_of, labels_of
from shapeft_tune.report.figures.style import COLOUR_SCALE, name_axes, panels_of, titled, wrapped

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def heat_map(comparison: Comparison) -> Figure:
    """Draw mIoU over label fraction and dates, one map per strategy on one colour scale."""
    from matplotlib.colors import Normalize

    labels, dates = labels_of(comparison), dates_of(comparison)
    scores = [cell.score for cell in comparison.cells if cell.score is not None]
    norm = Normalize(min(scores, default=0.0), max(scores, default=1.0))
    width = max(0.95 * len(dates.values) + 0.4, 2.2)
    figure, panels = panels_of(len(comparison.strategies), width, 0.62 * len(labels.values) + 0.9, room=1.7)
    for strategy, axes in zip(comparison.strategies, panels, strict=True):
        _draw_map(axes, [cell for cell in comparison.cells if cell.strategy == strategy], labels, dates, norm)
        axes.set_title(wrapped(strategy, width), fontsize=10)
    name_axes(figure, dates.label, labels.label)
    bar = figure.colorbar(panels[0].images[0], ax=panels, label="mIoU", shrink=0.9, aspect=15)
    bar.outline.set_visible(False)
    return titled(figure, comparison)


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
