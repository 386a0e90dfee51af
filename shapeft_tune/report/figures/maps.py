"""Heat maps of mIoU over label fraction and number of dates."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from shapeft_tune.report.comparison import CellSummary, Comparison
from shapeft_tune.report.figures.grids import Text, draw_grid, grid_of
from shapeft_tune.report.figures.style import COLOUR_SCALE, colour_bar, titled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LEAST_SPAN = 0.1
"""mIoU that the colour scale covers at least."""


def heat_map(comparison: Comparison) -> Figure:
    """Draw mIoU over label fraction and dates on one colour scale: a map per strategy, or a row in a map."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    scores = {
        (cell.strategy, *cell.setting): cell.score for cell in comparison.cells if cell.score is not None
    }
    texts = {(cell.strategy, *cell.setting): _text_of(cell) for cell in comparison.cells}
    scale = ScalarMappable(Normalize(*_ends(scores.values())), COLOUR_SCALE)
    grid = grid_of(comparison, comparison.strategies)
    figure = draw_grid(grid, scores, texts, scale)
    if scores:
        colour_bar(figure, scale, "mIoU")
    return titled(figure, comparison, grid.shared, mark="*")


def _ends(scores: Collection[float]) -> tuple[float, float]:
    """Return the ends of the colour scale, never so near to each other that chance looks like a finding."""
    low, high = min(scores, default=0.0), max(scores, default=1.0)
    more = max(0.0, LEAST_SPAN - (high - low)) / 2
    return max(0.0, low - more), min(1.0, high + more)


def _text_of(cell: CellSummary) -> Text:
    if cell.score is None:
        return Text("–")
    if not cell.is_tested:
        return Text(f"{cell.score:.3f}*")
    if cell.test_miou_low is None or cell.test_miou_high is None:
        return Text(f"{cell.score:.3f}")
    return Text(f"{cell.score:.3f}", f"{cell.test_miou_low:.2f}–{cell.test_miou_high:.2f}")
