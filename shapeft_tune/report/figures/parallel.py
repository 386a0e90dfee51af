"""Every complete search trial as a line through its values: what good configurations have in common."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shapeft_tune.report.figures.searched_axis import field_names, position, ticks
from shapeft_tune.report.figures.style import WIDEST, colour_bar, empty_figure, wrapped
from shapeft_tune.report.hyperparameters import SearchedField, SearchTrial, StrategySearch
from shapeft_tune.report.words.phrases import counted, with_minus

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = "cividis_r"
"""From faint to dark: the best lines stand out on white."""
FAINTEST = 0.08
"""Of the colour scale; what is fainter would not be seen on paper."""
MOST_LINES = 400
"""Of one strategy; more would hide each other."""
MOST_FIELDS = 6
"""Axes of searched fields: the most important ones."""
WORST_SHOWN = 0.9
"""Share of the lines that the colours tell apart; the others have the faintest."""
AXIS_WIDTH, HEIGHT = 1.6, 2.1
JITTER, GOLDEN = 0.1, 0.6180339887
"""Over what lines through the same option are spread, and the step from one trial to the next in it."""
UNUSED = -0.16
"""Where lines of trials pass a field that they do not have."""


@dataclass(frozen=True)
class _Line:
    """One trial."""

    trial: SearchTrial
    gap: float
    """Its validation mIoU less that of the best trial of its cell: 0 or less."""
    number: int
    """Among the trials of its cell."""


@dataclass(frozen=True)
class _Coordinate:
    """One of the vertical axes."""

    name: str
    place: Callable[[_Line], float | None]
    ticks: Mapping[float, str]


def parallel(sweep: str, searches: Sequence[StrategySearch]) -> Figure | None:
    """Draw a panel per strategy: its searched fields and, last, how far a trial is behind its cell's best.

    Colours say the same as the last axis. The trials of all settings are in one panel, and some settings have
    a higher mIoU than others whatever the values are: only the distance to the best of the same cell says
    what the values do. Only complete trials are drawn; None where none of a strategy that searches anything
    is.
    """
    lines = {each.strategy: _lines(each) for each in searches if each.fields}
    shown = [each for each in searches if lines.get(each.strategy)]
    if not shown:
        return None
    lowest = min(line.gap for each in shown for line in lines[each.strategy])
    coordinates = [_coordinates(each, field_names(shown), lowest) for each in shown]
    width = min(WIDEST, AXIS_WIDTH * max(map(len, coordinates)) + 1.5)
    figure = empty_figure(width, HEIGHT * len(shown) + 0.7)
    panels = figure.subplots(len(shown), 1, squeeze=False)[:, 0]
    scale = _scale([line.gap for each in shown for line in lines[each.strategy]])
    for axes, search, axis in zip(panels, shown, coordinates, strict=True):
        drawn = _thinned(lines[search.strategy])
        _draw_lines(axes, drawn, axis, scale)
        _draw_axes(axes, axis)
        axes.set_title(_panel_title(search, drawn, lines[search.strategy]), fontsize=9, loc="left")
    colour_bar(figure, scale, "mIoU to the cell's best", extend="min")
    figure.suptitle(wrapped(f"{sweep}: complete search trials, the dark ones are good", width), fontsize=10)
    return figure


def _lines(search: StrategySearch) -> list[_Line]:
    """Return the trials, the worst first, so that the best are drawn over them."""
    found = [
        _Line(trial, trial.val_miou - cell.best.val_miou, number)
        for cell in search.cells
        for number, trial in enumerate(cell.complete)
        if cell.best and cell.best.val_miou is not None and trial.val_miou is not None
    ]
    return sorted(found, key=lambda line: line.gap)


def _thinned(lines: Sequence[_Line]) -> Sequence[_Line]:
    """Return so many that they can be seen, evenly from the worst to the best, both among them."""
    if len(lines) <= MOST_LINES:
        return lines
    return [lines[round(index * (len(lines) - 1) / (MOST_LINES - 1))] for index in range(MOST_LINES)]


def _coordinates(search: StrategySearch, names: Mapping[str, str], lowest: float) -> list[_Coordinate]:
    fields = search.ranked_fields[:MOST_FIELDS]
    return [*(_field(field, names[field.name]) for field in fields), _score(lowest)]


def _field(field: SearchedField, name: str) -> _Coordinate:
    def place(line: _Line) -> float | None:
        value = field.value_in(line.trial.values)
        if value is None or (field.is_numeric and not field.numbers):
            return None if value is None else position(field, value)
        return position(field, value) + JITTER * (line.number * GOLDEN % 1 - 0.5)

    return _Coordinate(name, place, ({UNUSED: "unused"} if field.conditional else {}) | ticks(field))


def _score(lowest: float) -> _Coordinate:
    from matplotlib.ticker import MaxNLocator

    span = max(-lowest, 1e-3)
    values = [float(value) for value in MaxNLocator(4).tick_values(-span, 0) if -span <= value <= 0]
    return _Coordinate(
        "mIoU to the cell's best",
        lambda line: 1 + line.gap / span,
        {1 + value / span: with_minus(f"{value:g}") if value else "0" for value in values},
    )


def _scale(gaps: Sequence[float]) -> Any:
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import ListedColormap, Normalize

    lowest = sorted(gaps)[int((1 - WORST_SHOWN) * len(gaps))]
    shades = [colormaps[COLOURS](FAINTEST + (1 - FAINTEST) * index / 255) for index in range(256)]
    return ScalarMappable(Normalize(min(lowest, -1e-3), 0), ListedColormap(shades))


def _draw_lines(axes: Axes, lines: Sequence[_Line], coordinates: Sequence[_Coordinate], scale: Any) -> None:
    from matplotlib.collections import LineCollection

    paths = [
        [
            (index, UNUSED if (place := each.place(line)) is None else place)
            for index, each in enumerate(coordinates)
        ]
        for line in lines
    ]
    colours = [scale.to_rgba(line.gap) for line in lines]
    few = len(lines) <= 60
    axes.add_collection(LineCollection(paths, colors=colours, linewidths=1.2 if few else 0.8, alpha=0.85))


def _draw_axes(axes: Axes, coordinates: Sequence[_Coordinate]) -> None:
    lowest = min((place for each in coordinates for place in each.ticks), default=0.0)
    axes.set_xlim(-0.15, len(coordinates) - 0.75)
    axes.set_ylim(min(lowest, 0) - 0.05, 1.05)
    axes.set_xticks(
        range(len(coordinates)), [wrapped(each.name, AXIS_WIDTH) for each in coordinates], fontsize=8
    )
    axes.set_yticks([])
    axes.tick_params(axis="x", length=0)
    axes.spines[:].set_visible(False)
    for index, coordinate in enumerate(coordinates):
        axes.vlines(index, 0, 1, color="0.25", linewidth=0.9)
        for place, name in coordinate.ticks.items():
            axes.plot(index, place, "_", color="0.25", markersize=5)
            _name_tick(axes, index, place, name)


def _name_tick(axes: Axes, index: int, place: float, name: str) -> None:
    box = {"boxstyle": "square,pad=0.1", "facecolor": "w", "alpha": 0.75, "linewidth": 0}
    axes.annotate(
        wrapped(name, 0.8 * AXIS_WIDTH),
        (index, place),
        xytext=(4, 0),
        textcoords="offset points",
        va="center",
        fontsize=7.5,
        bbox=box,
    )


def _panel_title(search: StrategySearch, drawn: Sequence[_Line], lines: Sequence[_Line]) -> str:
    number = f"{len(lines)} trials" if len(drawn) == len(lines) else f"{len(drawn)} of {len(lines)} trials"
    left_out = len(search.fields) - MOST_FIELDS
    without = f", {counted(left_out, 'less important field')} left out" if left_out > 0 else ""
    return f"{search.strategy}  ({number}{without})"
