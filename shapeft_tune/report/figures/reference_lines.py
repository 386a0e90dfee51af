"""Published numbers as horizontal lines in a panel of curves, with letters that the legend explains."""

from __future__ import annotations

import string
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from shapeft_tune.report.figures.style import LEGEND
from shapeft_tune.report.published import Published

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LETTER_HEIGHT = 0.13
"""Inches."""
FONT_SIZE = 7
GREY = "0.35"
DASHES: dict[str | None, Any] = {"miou": (0, (6, 2)), "miou_seed20": (0, (1, 2)), None: (0, (5, 2, 1, 2))}
"""By convention of the mean."""


def draw_reference_lines(axes: Axes, letters: Mapping[Published, str], start: float, height: float) -> None:
    """Draw the numbers of a panel, and their letters one below the other where numbers lie close.

    Args:
        axes: a panel whose curves are drawn.
        letters: of the numbers, at least one.
        start: where the lines begin, as a share of the panel's width; they end at its right side.
        height: of the panel inside its axes, in inches.
    """
    for each in letters:
        axes.axhline(each.miou, start, 1, **style_of_mean(each), zorder=1)
    low, high = axes.get_ylim()
    ascending = sorted(letters, key=lambda each: each.miou)
    wanted = [(each.miou - low) / (high - low) for each in ascending]
    line: dict[str, Any] = {"arrowstyle": "-", "color": GREY, "linewidth": 0.5, "shrinkA": 1, "shrinkB": 0}
    line["relpos"] = (0, 0.5)  # from the left of the letter
    style: dict[str, Any] = {"va": "center", "fontsize": FONT_SIZE, "color": GREY, "arrowprops": line}
    for each, place, middle in zip(ascending, wanted, spread(wanted, LETTER_HEIGHT / height), strict=True):
        axes.annotate(letters[each], (1.0, place), (1.05, middle), xycoords="axes fraction", **style)


def style_of_mean(published: Published) -> dict[str, Any]:
    """Return how the line of a number looks: by its convention of the mean."""
    return {"color": GREY, "linewidth": 0.9, "linestyle": DASHES[published.protocol.convention]}


def keys_of(published: Iterable[Published]) -> dict[Published, str]:
    """Return a letter for each number, ``a`` for the highest."""
    highest_first = sorted(published, key=lambda each: -each.miou)
    return dict(zip(highest_first, string.ascii_letters, strict=False))


def legend_with_keys(figure: Figure, panel: Axes, keys: Mapping[Published, str]) -> None:
    """Put the legend of one panel to the right of the figure, and below it what the letters stand for."""
    from matplotlib.lines import Line2D

    handles, names = panel.get_legend_handles_labels()
    heading, blank = "published, each by its own protocol:", Line2D([], [], linestyle="none")
    handles = [*handles, blank, *(Line2D([], [], **style_of_mean(each)) for each in keys)]
    names = [*names, heading, *(f"{key}  {each.label}" for each, key in keys.items())]
    figure.set_figheight(max(figure.get_figheight(), 0.2 * len(names) + 1))
    legend = figure.legend(handles, names, **LEGEND)
    for text in legend.get_texts()[-len(keys) - 1 :]:
        text.set(fontsize=FONT_SIZE, color=GREY)


def spread(wanted: Sequence[float], gap: float) -> list[float]:
    """Move ascending places as little as needed until neighbours are ``gap`` apart.

    Places that meet become a block around their mean: least squares under the order, by pooling adjacent
    violators.
    """
    blocks: list[list[float]] = []  # of places less the gaps below them, which must not descend
    for number, place in enumerate(wanted):
        blocks.append([place - number * gap])
        while len(blocks) > 1 and _mean(blocks[-2]) > _mean(blocks[-1]):
            blocks[-2:] = [blocks[-2] + blocks[-1]]
    means = [_mean(block) for block in blocks for _ in block]
    return [mean + number * gap for number, mean in enumerate(means)]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
