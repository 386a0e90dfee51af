"""What all figures share: colours, panels, legends, titles. Readable in grey and by any colour vision."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from shapeft_tune.report.comparison import CellSummary, Comparison

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
"""Okabe and Ito (2008), told apart with any colour vision; their yellow is left out, too faint for lines."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
DASHES = ("-", "--", "-.", (0, (1, 1.2)), (0, (5, 1, 1, 1, 1, 1)), (0, (8, 2)), (0, (3, 3)))
COLOUR_SCALE = "cividis"
"""Its lightness rises evenly, so it prints well in grey."""
EQUALLY_FAR = 0.179
"""Luminance whose contrast with black, by WCAG 2, is that with white."""
CHARACTERS_PER_INCH = 12
"""Of a title, roughly; figures are narrow where there is one small panel."""
LEGEND_WIDTH = 2.0
"""Inches of text."""
LINE_HEIGHT = 0.17
"""Inches, of titles and footnotes."""
FOOTNOTE_SIZE = 9
LEGEND: dict[str, Any] = {"loc": "outside right center", "frameon": False, "handlelength": 3.2}
CLOSEST_TICKS = 0.075
"""Share of an axis below which the labels of two ticks would run into each other."""
WIDEST = 10.8
"""Inches of a whole figure: wider ones have small type wherever they are shown."""
TITLES = {
    "test": "mIoU on the test folds, {averaged}",
    "validation": "mIoU on the validation folds, best trial (no test scores yet)",
    "both": "mIoU on the test folds, {averaged} ({mark}: validation, not tested yet)",
}
TEST_FOLDS, ALL_FOLDS = "mIoU on the test folds", "mIoU on five test folds (confusions summed)"
BREAKS = re.compile(r"(?<=[ _])|(?<=[A-Za-z][-.])(?=\w)")
"""Where a line may end: after a space or an underscore, and inside names that have hyphens or dots."""


def panels_of(count: int, width: float, height: float, room: float) -> tuple[Figure, list[Axes]]:
    """Make ``count`` panels of this size in inches, with ``room`` to their right for a legend or a scale."""
    columns = columns_for(count, width, room)
    figure, grid = panels_in(math.ceil(count / columns), columns, width, height, room)
    for unused in grid[count:]:
        unused.remove()
    for lowest in grid[max(0, count - columns) : count]:
        lowest.tick_params(
            which="both", labelbottom=True
        )  # shared axes hide it above a panel that was removed
    return figure, grid[:count]


def panels_in(rows: int, columns: int, width: float, height: float, room: float) -> tuple[Figure, list[Axes]]:
    """Make rows and columns of panels of this size in inches, row by row, with ``room`` to their right."""
    figure = empty_figure(columns * width + room, rows * height + 0.7)
    return figure, list(figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).flat)


def empty_figure(width: float, height: float) -> Figure:
    """Make a figure of this size in inches that lays its panels out by itself."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    figure = Figure((width, height), layout=ConstrainedLayoutEngine(compress=True, h_pad=0.08))
    FigureCanvasAgg(figure)  # no pyplot: it keeps figures for ever and needs a display on some machines
    return figure


def columns_for(count: int, width: float, room: float) -> int:
    """Return in how many columns panels lie: at most three and what fits, the rows as even as can be."""
    fitting = max(1, min(3, int((WIDEST - room) / width)))
    return math.ceil(count / math.ceil(count / fitting))


def tidy(axes: Axes) -> None:
    """Give a panel of curves its grid and margins."""
    axes.margins(x=0.08)
    axes.grid(color="0.88", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)


def legend(figure: Figure, panel: Axes) -> None:
    """Put the legend of one panel, which stands for all, to the right of the figure."""
    handles, names = panel.get_legend_handles_labels()
    figure.legend(handles, names, **LEGEND)


def legend_of_strategies(figure: Figure, comparison: Comparison, *others: tuple[Any, str]) -> None:
    """Put a legend of every strategy's marker to the right of the figure, and of other things below."""
    from matplotlib.lines import Line2D

    marks = [style_of(index)[:2] for index in range(len(comparison.strategies))]
    dots = [Line2D([], [], color=colour, marker=marker, linestyle="none") for colour, marker in marks]
    names = [wrapped(strategy, LEGEND_WIDTH) for strategy in comparison.strategies]
    explained = [(handle, wrapped(words, LEGEND_WIDTH)) for handle, words in others]
    handles, words = zip(*zip(dots, names, strict=True), *explained, strict=True)
    figure.legend(handles, words, **LEGEND)


def style_of(index: int) -> tuple[str, str, Any]:
    """Return colour, marker and dashes of a strategy, the same in every figure."""
    style = index % len(COLOURS)
    return COLOURS[style], MARKERS[style], DASHES[style]


def name_axes(figure: Figure, x: str, y: str) -> None:
    """Name the axes once for all panels."""
    figure.supxlabel(x, fontsize=10)
    figure.supylabel(y, fontsize=10)


def titled(figure: Figure, comparison: Comparison, shared: str = "", mark: str = "hollow") -> Figure:
    """Say above a figure which scores it shows, how untested ones are marked, what setting is shared."""
    tested = {cell.is_tested for cell in comparison.cells if cell.score is not None}
    kind = "both" if len(tested) > 1 else "test" if tested == {True} else "validation"
    title = of_folds(TITLES[kind].format(averaged=averaged(comparison.cells), mark=mark), comparison)
    return headed(figure, comparison, f"{title}, {shared}" if shared else title)


def of_folds(title: str, comparison: Comparison) -> str:
    """Return the title of a figure with five test folds in place of one where folds rotate."""
    return title.replace(TEST_FOLDS, ALL_FOLDS) if comparison.rotated else title


def headed(figure: Figure, comparison: Comparison, title: str) -> Figure:
    """Write the sweep's name and a title above a figure."""
    text = wrapped(f"{comparison.sweep}: {title}", figure.get_figwidth())
    figure.suptitle(text, fontsize=10)
    _grow(figure, text.count("\n"))
    return figure


def _grow(figure: Figure, lines: int) -> None:
    """Make a figure higher, so that lines above or below its panels take nothing from these."""
    figure.set_figheight(figure.get_figheight() + LINE_HEIGHT * lines)


def averaged(cells: Iterable[CellSummary]) -> str:
    """Say what the scores of tested cells are: of one seed, or a mean and over what its interval runs."""
    tested = [cell for cell in cells if cell.is_tested]
    with_interval = [cell for cell in tested if cell.test_miou_low is not None]
    if not with_interval:
        return "one seed, so no interval" if tested else "mean"
    over = over_in_words(cell.interval_over for cell in with_interval)
    some = "" if len(with_interval) == len(tested) else " (none where there is one seed)"
    return f"mean and 95 % interval over {over}{some}"


def over_in_words(kinds: Iterable[str]) -> str:
    """Say over what intervals run, some of which may be over seeds alone."""
    known = set(kinds)
    if len(known) > 1:
        return "seeds and, where they are known, patches"
    return next(iter(known)) or "seeds"


def wrapped(text: str, inches: float) -> str:
    """Break a text into lines that fit, names of strategies at their underscores."""
    width = int(CHARACTERS_PER_INCH * inches)
    lines = [""]
    for piece in (piece for whole in BREAKS.split(text) for piece in _cut(whole, width)):
        if lines[-1] and len(lines[-1]) + len(piece.rstrip()) > width:
            lines.append("")
        lines[-1] += piece
    return "\n".join(line.rstrip() for line in lines)


def _cut(piece: str, width: int) -> list[str]:
    return [piece[start : start + width] for start in range(0, len(piece), width)]


def ink_on(colour: tuple[float, ...]) -> str:
    """Return black or white, whichever is read more easily on a colour."""
    return "k" if luminance(colour) > EQUALLY_FAR else "w"


def luminance(colour: tuple[float, ...]) -> float:
    """Return the relative luminance of an sRGB colour, as WCAG 2 defines it."""
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in colour[:3]]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def colour_bar(figure: Figure, scale: Any, label: str, **options: Any) -> Any:
    """Draw one colour bar to the right of all panels."""
    aspect = 5.5 * figure.get_figheight()  # so that it is equally broad beside low figures and high ones
    bar = figure.colorbar(scale, ax=figure.axes, label=label, shrink=0.9, aspect=aspect, **options)
    bar.outline.set_visible(False)
    return bar


def footnote(figure: Figure, text: str) -> None:
    """Write a line below a figure, under the name of its axis, inside the layout."""
    lines = wrapped(text, figure.get_figwidth() * 10 / FOOTNOTE_SIZE)
    name = figure.get_supxlabel()
    figure.supxlabel(f"{name}\n\n{lines}" if name else lines, fontsize=FOOTNOTE_SIZE)
    _grow(figure, lines.count("\n") + 2)


def of_classes(comparison: Comparison) -> str:
    """Begin the title of a figure of classes."""
    return of_folds(TEST_FOLDS, comparison).replace("mIoU", "IoU of each class")
