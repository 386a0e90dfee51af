"""What the last step in mIoU costs: test mIoU over device hours, setting by setting.

The panels lie as the settings do in the maps, label fractions from below to above and dates from left to
right. In each, a line joins the strategies than which no other is both better and cheaper. Its last step is
the answer, and stands above the panel: how much mIoU, for how many times the device time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shapeft_tune.report.comparison import CellSummary, Comparison
from shapeft_tune.report.figures.hours import round_ticks
from shapeft_tune.report.figures.style import (
    WIDEST,
    averaged,
    headed,
    legend_of_strategies,
    name_axes,
    of_folds,
    panels_in,
    panels_of,
    style_of,
    tidy,
    wrapped,
)
from shapeft_tune.report.words.device_time import DeviceTime
from shapeft_tune.report.words.phrases import describe_setting

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Setting = tuple[float, int]
HoursOf = Callable[[CellSummary], float | None]
GREY = "0.45"
ROOM, HEIGHT, BETWEEN = 2.0, 1.75, 0.3
TITLE_SIZE = 7.5
RING: dict[str, Any] = {"marker": "o", "markersize": 12, "markerfacecolor": "none", "linestyle": "none"}


@dataclass(frozen=True)
class Point:
    """A tested strategy in one setting."""

    index: int
    """Of the strategy: decides its marker."""
    strategy: str
    hours: float
    miou: float
    low: float | None
    high: float | None


def cost_of_training(comparison: Comparison) -> Figure | None:
    """Draw test mIoU over the device hours of one training; None with fewer than two tested strategies."""
    return _draw(
        comparison, lambda cell: cell.training_device_hours, "of one training of the best configuration"
    )


def cost_of_search(comparison: Comparison) -> Figure | None:
    """Draw test mIoU over the device hours of all trials of a cell; None with fewer than two tested ones."""
    return _draw(comparison, lambda cell: cell.device_hours or None, "of the search and all repeats")


def front_of(points: Sequence[Point]) -> list[Point]:
    """Return the points than which no other is both as good and as cheap, the cheapest first."""
    front: list[Point] = []
    for point in sorted(points, key=lambda each: (each.hours, -each.miou)):
        if not front or point.miou > front[-1].miou:
            front.append(point)
    return front


def last_step(points: Sequence[Point]) -> str:
    """Return what the last step in mIoU costs, in words."""
    front = front_of(points)
    if not front:
        return "no test scores yet"
    if len(front) == 1:
        return "the best is the cheapest" if len(points) > 1 else "no other is tested"
    before, best = front[-2:]
    times = f"{best.hours / before.hours:.1f}".removesuffix(".0")
    return f"+{best.miou - before.miou:.3f} mIoU for {times} times the cost"


def _draw(comparison: Comparison, hours_of: HoursOf, words: str) -> Figure | None:
    points = {setting: _points(comparison, setting, hours_of) for setting in comparison.settings}
    hours = [point.hours for group in points.values() for point in group]
    if len({point.strategy for group in points.values() for point in group}) < 2:
        return None
    unit = DeviceTime.fitting(hours)
    figure, panels = _panels(comparison)
    cheapest = {each.setting: each.cheapest for each in comparison.recommendations}
    for setting, axes in panels.items():
        _draw_panel(axes, points[setting], cheapest.get(setting), unit)
        said = wrapped(last_step(points[setting]), _title_width(figure, axes))
        axes.set_title(f"{describe_setting(*setting)}\n{said}", fontsize=TITLE_SIZE)
    _set_scale(next(iter(panels.values())), min(hours) / unit.hours, max(hours) / unit.hours)
    name_axes(figure, f"{unit.unit} {words}", "mIoU on the test folds")
    _explain(figure, comparison)
    title = of_folds("mIoU on the test folds", comparison) + f", {averaged(comparison.cells)}"
    return headed(figure, comparison, f"{title}, over the device time {words}")


def _points(comparison: Comparison, setting: Setting, hours_of: HoursOf) -> list[Point]:
    cells = [comparison.cell(strategy, *setting) for strategy in comparison.strategies]
    return [
        Point(index, cell.strategy, hours, cell.test_miou_mean, cell.test_miou_low, cell.test_miou_high)
        for index, cell in enumerate(cells)
        if cell.test_miou_mean is not None and (hours := hours_of(cell))
    ]


def _panels(comparison: Comparison) -> tuple[Figure, dict[Setting, Axes]]:
    """Make a panel per setting: a grid of label fractions and dates, or one after the other."""
    fractions, lengths = comparison.label_fractions, comparison.temporal_lengths
    settings = [(fraction, length) for fraction in reversed(fractions) for length in lengths]
    if len(fractions) > 1 and len(lengths) > 1:
        width = min(2.6, (WIDEST - ROOM) / len(lengths))
        figure, panels = panels_in(len(fractions), len(lengths), width, HEIGHT, ROOM)
    else:
        settings.sort()
        figure, panels = panels_of(len(settings), 2.6, HEIGHT + 0.3, ROOM)
    return figure, dict(zip(settings, panels, strict=True))


def _title_width(figure: Figure, axes: Axes) -> float:
    """Return the inches above one panel, as wide as they are for letters of the usual size."""
    place = axes.get_subplotspec()
    columns = place.get_gridspec().ncols if place else 1
    return ((figure.get_figwidth() - ROOM) / columns - BETWEEN) * 10 / TITLE_SIZE


def _draw_panel(axes: Axes, points: Sequence[Point], cheapest: str | None, unit: DeviceTime) -> None:
    front = front_of(points)
    steps = [point.hours / unit.hours for point in front], [point.miou for point in front]
    axes.plot(*steps, color=GREY, linewidth=1, drawstyle="steps-post", zorder=1)
    for point in points:
        colour, marker, _ = style_of(point.index)
        x = point.hours / unit.hours
        if point.low is not None and point.high is not None:
            axes.vlines(x, point.low, point.high, color=colour, linewidth=1.2)
        axes.plot(x, point.miou, color=colour, marker=marker, markersize=5.5, linestyle="none")
        if point.strategy == cheapest:
            axes.plot(x, point.miou, color="k", **RING)
    tidy(axes)


def _set_scale(axes: Axes, low: float, high: float) -> None:
    """Set the scale that all panels share, with a few round numbers and no others."""
    axes.set_xscale("log")
    ends = low / 1.25, high * 1.25
    axes.set_xlim(*ends)
    ticks = round_ticks(*ends)
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()


def _explain(figure: Figure, comparison: Comparison) -> None:
    from matplotlib.lines import Line2D

    others = [(Line2D([], [], color=GREY, linewidth=1), "best mIoU for the cost")]
    if comparison.recommendations:
        ring = Line2D([], [], color="k", **RING)
        others.append((ring, "the cheapest to train that is not told apart from the best"))
    legend_of_strategies(figure, comparison, *others)
