from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace

import pytest
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.text import Text

from shapeft_tune.report import CellSummary, Comparison
from shapeft_tune.report.figures import curves_over_dates, curves_over_labels, heat_map

Draw = Callable[[Comparison], Figure]
DRAWINGS = pytest.mark.parametrize("draw", [heat_map, curves_over_dates, curves_over_labels])


def summary(strategy: str, labels: float, dates: int, test: float | None, val: float | None) -> CellSummary:
    ends = (None, None) if test is None else (test - 0.02, test + 0.02)
    return CellSummary(strategy, labels, dates, 3, 0, 0, 2, val, test, *ends, None, None, {}, {}, 0, 0)


def comparison(
    strategies: int = 2,
    labels: tuple[float, ...] = (0.1, 1.0),
    dates: tuple[int, ...] = (1, 6),
    name: str = "strategy_",
) -> Comparison:
    cells = [
        summary(f"{name}{index}", fraction, length, 0.1 + 0.3 * fraction + 0.01 * (length + index), 0.9)
        for length, fraction, index in itertools.product(dates, labels, range(strategies))
    ]
    return Comparison("demo", "", ("miou", 1), tuple(cells))


def untested(some: bool) -> Comparison:
    cells = comparison().cells
    kept = cells[:2] if some else ()
    return Comparison(
        "demo",
        "",
        ("miou", 1),
        (*kept, *(summary(*_place(cell), None, 0.5) for cell in cells[len(kept) :])),
    )


def _place(cell: CellSummary) -> tuple[str, float, int]:
    return cell.strategy, *cell.setting


def title(figure: Figure) -> str:
    return " ".join(figure.get_suptitle().split())


def words(figure: Figure) -> list[str]:
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def drawn_ticks(axis: Axis) -> list[Text]:
    """Return the names of an axis' ticks that are drawn: not those beyond its ends, nor hidden inner ones."""
    low, high = sorted(axis.get_view_interval())
    return [
        tick.label1
        for tick in axis.get_major_ticks()
        if low <= tick.get_loc() <= high and tick.label1.get_visible()
    ]


def test_the_map_shows_every_score_with_its_interval() -> None:
    assert sorted(words(heat_map(comparison())))[:2] == ["0.140\n0.12–0.16", "0.150\n0.13–0.17"]
    assert len(words(heat_map(comparison()))) == 8


def test_all_maps_share_one_colour_scale() -> None:
    figure = heat_map(comparison())
    limits = {axes.images[0].get_clim() for axes in figure.axes[:2]}
    assert [*map(pytest.approx, limits)] == [(0.14, 0.47)]


def test_a_cell_without_a_score_is_left_empty() -> None:
    cells = comparison().cells
    figure = heat_map(Comparison("demo", "", None, (summary(*_place(cells[0]), None, None), *cells[1:])))
    assert words(figure).count("–") == 1


def test_a_sweep_without_any_score_can_be_drawn() -> None:
    cells = tuple(summary(*_place(cell), None, None) for cell in comparison().cells)
    assert set(words(heat_map(Comparison("demo", "", None, cells)))) == {"–"}


@DRAWINGS
def test_the_title_says_which_folds_the_scores_are_of(draw: Draw) -> None:
    assert "test folds" in title(draw(comparison()))
    assert "validation folds" in title(draw(untested(some=False)))
    assert "hollow: validation" in title(draw(untested(some=True)))


@DRAWINGS
def test_the_title_says_that_five_folds_are_summed(draw: Draw) -> None:
    assert "five test folds (confusions summed), mean" in title(draw(replace(comparison(), rotated=True)))
    assert "summed" not in title(draw(comparison()))
    assert "summed" not in title(draw(replace(untested(some=False), rotated=True)))


def test_a_validation_score_is_marked_in_the_map() -> None:
    assert sum(word.endswith("*") for word in words(heat_map(untested(some=True)))) == 6


@pytest.mark.parametrize(("draw", "x"), [(curves_over_dates, [1, 6]), (curves_over_labels, [0.1, 1.0])])
def test_there_is_a_line_per_strategy_in_every_panel(draw: Draw, x: list[float]) -> None:
    figure = draw(comparison(strategies=3))
    assert len(figure.axes) == 2
    for axes in figure.axes:
        assert [line.get_label() for line in axes.lines] == ["strategy_0", "strategy_1", "strategy_2"]
        assert len({(line.get_marker(), line.get_linestyle()) for line in axes.lines}) == 3
        assert all(list(line.get_xdata()) == x for line in axes.lines)


def test_labels_are_on_a_logarithmic_axis_and_dates_are_not() -> None:
    assert {axes.get_xscale() for axes in curves_over_labels(comparison()).axes} == {"log"}
    assert {axes.get_xscale() for axes in curves_over_dates(comparison()).axes} == {"linear"}


@DRAWINGS
@pytest.mark.parametrize("rotated", [False, True])
@pytest.mark.parametrize(
    ("strategies", "labels", "dates"),
    [(1, (1.0,), (6,)), (2, (0.1, 1.0), (1, 6)), (4, (0.01, 0.1, 0.5, 1.0), (1, 6, 15, 25, 35))],
)
def test_no_text_is_cut_off_or_runs_into_another(
    draw: Draw, strategies: int, labels: tuple[float, ...], dates: tuple[int, ...], rotated: bool
) -> None:
    drawn = comparison(strategies, labels, dates, "a_strategy_with_a_long_name_")
    figure = draw(replace(drawn, rotated=rotated))
    figure.canvas.draw()
    texts = [*figure.texts, *(text for axes in figure.axes for text in (axes.title, *axes.texts))]
    texts += [text for axes in figure.axes for axis in (axes.xaxis, axes.yaxis) for text in drawn_ticks(axis)]
    boxes = [text.get_window_extent() for text in texts if text.get_text()]
    width, height = figure.canvas.get_width_height()
    assert all(box.x0 >= 0 and box.y0 >= 0 and box.x1 <= width and box.y1 <= height for box in boxes)
    overlapping = [pair for pair in itertools.combinations(boxes, 2) if pair[0].overlaps(pair[1])]
    assert not overlapping


def test_dates_that_lie_close_are_named_at_a_distance() -> None:
    figure = curves_over_dates(comparison(dates=(1, 2, 3, 35)))
    assert [text.get_text() for text in figure.axes[0].get_xticklabels()] == ["", "", "3", "35"]
