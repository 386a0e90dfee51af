"""Draws a trial's confusion matrix: what each class was taken for.

Letters in names: N patches, K classes.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from shapeft_tune.scores import Counts, Scores

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PICTURE_FILE = "confusion.png"
COLOUR_SCALE = "cividis"
"""Its lightness rises evenly, so it prints well in grey."""
INCHES = 0.42
"""Of one cell, with room for a number."""
SMALLEST, LARGEST = 4.2, 13.0
"""Inches of the matrix along a side."""
SMALLEST_WITH_NUMBER = 0.3
"""Inches of a cell: of very many classes, cells are too small for numbers."""
WORTH_A_NUMBER = 0.005
"""Share of a row below which a cell stays empty: it would say 0."""
LIGHT = 0.5
"""Share from which a cell is so light that black is read more easily than white."""
DOTS_PER_INCH = 100
LONGEST_NAME = 26
"""Characters of a class's name on the axes."""


def draw_confusion(file: Path, target: Path, title: str) -> bool:
    """Draw the test patches of a trial's ``confusion.npz`` as a PNG file; return False where there are none.

    Args:
        file: as ``scores.CONFUSION_FILE`` has it.
        target: the picture.
        title: its first line.
    """
    with np.load(file) as arrays:
        if "test_counts" not in arrays:
            return False
        counts_NKK = arrays["test_counts"]
        classes = counts_NKK.shape[1]
        names = arrays["class_names"].tolist() if "class_names" in arrays else range(1, classes + 1)
    figure = confusion_figure(
        counts_NKK.sum(axis=0, dtype=np.int64), [str(name) for name in names], len(counts_NKK), title
    )
    figure.savefig(target, dpi=DOTS_PER_INCH, bbox_inches="tight", pad_inches=0.12)
    return True


def confusion_figure(counts_KK: Counts, names: Sequence[str], patches: int, title: str) -> Figure:
    """Return the matrix as a figure, each row as shares of its class's pixels."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    side = min(max(INCHES * len(names), SMALLEST), LARGEST)
    figure = Figure((side + 3.2, side + 2.4), layout="constrained")
    FigureCanvasAgg(figure)  # no pyplot: it keeps figures for ever, and serves one thread alone
    axes = figure.add_subplot()
    shares_KK = _shares(counts_KK)
    image = axes.imshow(shares_KK, cmap=COLOUR_SCALE, vmin=0, vmax=1)
    _name_axes(axes, [textwrap.shorten(name, LONGEST_NAME, placeholder="…") for name in names], counts_KK)
    if side / len(names) >= SMALLEST_WITH_NUMBER:
        _write_shares(axes, shares_KK)
    bar = figure.colorbar(image, ax=axes, shrink=0.8, pad=0.02, format=lambda share, _: f"{100 * share:.0f}")
    bar.set_label("per cent of the true class's pixels")
    scores = Scores.of(counts_KK)
    axes.set_title(
        f"{title}\nmIoU {scores.miou:.3f} over {scores.classes_scored} classes; {patches} test patches",
        fontsize=10,
    )
    return figure


def _shares(counts_KK: Counts) -> Any:
    """Return each row as shares of its sum; NaN in the rows of classes that do not occur."""
    totals_K = counts_KK.sum(axis=1, keepdims=True)
    return np.divide(counts_KK, totals_K, out=np.full(counts_KK.shape, np.nan), where=totals_K > 0)


def _name_axes(axes: Axes, names: Sequence[str], counts_KK: Counts) -> None:
    places = range(len(names))
    size = 8 if len(names) <= 40 else 5
    axes.set_xticks(places, names, rotation=45, ha="right", rotation_mode="anchor", fontsize=size)
    rows = zip(names, counts_KK.sum(axis=1), strict=True)
    axes.set_yticks(places, [name if total else f"{name} (no pixels)" for name, total in rows], fontsize=size)
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    axes.tick_params(length=0)
    axes.set_facecolor("0.85")  # of rows that have no pixels


def _write_shares(axes: Axes, shares_KK: Any) -> None:
    """Write per cents into the cells, in what can be read on the cell's colour."""
    size = 7 if len(shares_KK) > 8 else 10
    for (row, column), share in np.ndenumerate(shares_KK):
        if share >= WORTH_A_NUMBER:
            colour = "black" if share > LIGHT else "white"
            weight = "bold" if row == column else "normal"
            text = f"{100 * share:.0f}"
            look: dict[str, Any] = {"color": colour, "fontweight": weight, "fontsize": size}
            axes.text(column, row, text, ha="center", va="center", **look)
