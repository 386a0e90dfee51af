"""What all figures share: colours, panels, legends, titles. Readable in grey and by any colour vision."""

from __future__ import annotations

import math
import textwrap
from typing import TYPE_CHECKING, Any

from shapeft_tune.report.comparison import Comparison

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


def panels_of(count: int, width: float, height: float, room: float) -> tuple[Figure, list[Axes]]:
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


def tidy(axes: Axes) -> None:
    """Give a panel of curves its grid and margins."""
    axes.margins(x=0.08)
    axes.grid(color="0.88", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)


def legend(figure: Figure, panel: Axes) -> None:
    """Put the legend of one panel, which stands for all, to the right of the figure."""
    handles, names = panel.get_legend_handles_labels()
    figure.legend(handles, names, loc="outside right center", frameon=False, handlelength=3.2)


def style_of(index: int) -> tuple[str, str, Any]:
    """Return colour, marker and dashes of a strategy, the same in every figure."""
    style = index % len(COLOURS)
    return COLOURS[style], MARKERS[style], DASHES[style]


def name_axes(figure: Figure, x: str, y: str) -> None:
    """Name the axes once for all panels."""
    figure.supxlabel(x, fontsize=10)
    figure.supylabel(y, fontsize=10)


def titled(figure: Figure, comparison: Comparison) -> Figure:
    """Say above a figure of scores which scores they are."""
    tested = {cell.is_tested for cell in comparison.cells if cell.score is not None}
    kind = "both" if len(tested) > 1 else "test" if tested == {True} else "validation"
    title = TITLES[kind].replace(TEST_FOLDS, ALL_FOLDS) if comparison.rotated else TITLES[kind]
    figure.suptitle(wrapped(f"{comparison.sweep}: {title}", figure.get_figwidth()), fontsize=10)
    return figure


def wrapped(text: str, inches: float) -> str:
    """Break a text into lines that fit."""
    return textwrap.fill(text, int(CHARACTERS_PER_INCH * inches))
