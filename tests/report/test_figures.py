from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from matplotlib import colormaps
from matplotlib.figure import Figure

from shapeft_tune.report import Comparison
from shapeft_tune.report.figures import curves_over_dates, curves_over_labels, heat_map
from shapeft_tune.report.figures.style import COLOUR_SCALE, columns_for, ink_on, luminance, wrapped
from tests.report.drawn import (
    GRIDS,
    LONG_NAME,
    assert_nothing_collides,
    comparison,
    panel_titles,
    place,
    summary,
    tick_names,
    title,
    untested,
    with_one_seed,
    words,
)

Draw = Callable[[Comparison], Figure | None]
DRAWINGS = pytest.mark.parametrize("draw", [heat_map, curves_over_dates, curves_over_labels])


def drawn(draw: Draw, shown: Comparison) -> Figure:
    figure = draw(shown)
    assert figure is not None
    return figure


def test_the_map_shows_every_score_with_its_interval() -> None:
    found = words(heat_map(comparison()))
    assert len(found) == 2 * 8
    assert sorted(found)[:4] == ["0.12–0.16", "0.13–0.17", "0.140", "0.150"]


def test_a_map_has_labels_from_below_to_above_and_dates_from_left_to_right() -> None:
    axes = heat_map(comparison(labels=(0.01, 0.1, 1.0))).axes[0]
    places = {text.get_text(): text.get_position() for text in axes.texts if "–" not in text.get_text()}
    assert places["0.113"][1] < places["0.140"][1] < places["0.410"][1]
    assert places["0.113"][0] < places["0.163"][0]
    assert tick_names(axes.yaxis) == ["1", "10", "100"]
    assert tick_names(axes.xaxis) == ["1", "6"]


def test_all_maps_share_one_colour_scale() -> None:
    figure = heat_map(comparison())
    limits = {axes.collections[0].get_clim() for axes in figure.axes[:2]}
    assert [*map(pytest.approx, limits)] == [(0.14, 0.47)]


def test_scores_that_hardly_differ_do_not_get_the_whole_colour_scale() -> None:
    figure = heat_map(comparison(labels=(0.1,), dates=(1, 2)))  # 0.14 to 0.16
    assert figure.axes[0].collections[0].get_clim() == pytest.approx((0.1, 0.2))


@pytest.mark.parametrize(
    ("labels", "dates", "columns", "shared"),
    [
        ((0.1,), (1, 6), ["1", "6"], "10 % of the labels"),
        ((0.1, 1.0), (6,), ["10", "100"], "6 dates"),
        ((0.1,), (6,), [""], "10 % of the labels, 6 dates"),
    ],
)
def test_along_a_single_axis_there_is_one_map_whose_rows_are_strategies(
    labels: tuple[float, ...], dates: tuple[int, ...], columns: list[str], shared: str
) -> None:
    figure = heat_map(comparison(strategies=3, labels=labels, dates=dates))
    axes, _ = figure.axes  # and the colour bar
    assert tick_names(axes.yaxis) == ["strategy_2", "strategy_1", "strategy_0"]  # the first one on top
    assert tick_names(axes.xaxis) == columns
    assert title(figure).endswith(f"patches, {shared}")
    lowest = f"{0.12 + 0.3 * labels[0] + 0.01 * dates[0]:.3f}"  # of the last strategy
    assert [text.get_position()[1] < 1 for text in axes.texts if text.get_text() == lowest] == [True]


def test_a_cell_without_a_score_is_left_empty() -> None:
    cells = comparison().cells
    figure = heat_map(replace(comparison(), cells=(summary(*place(cells[0]), None, None), *cells[1:])))
    assert words(figure).count("–") == 1
    assert np.ma.count_masked(figure.axes[0].collections[0].get_array()) == 1


def test_a_sweep_without_any_score_can_be_drawn() -> None:
    cells = tuple(summary(*place(cell), None, None) for cell in comparison().cells)
    assert set(words(heat_map(replace(comparison(), cells=cells)))) == {"–"}


def test_colours_of_scores_become_lighter_all_the_way() -> None:
    shades = [luminance(colour) for colour in colormaps[COLOUR_SCALE](np.linspace(0, 1, 256))]
    assert all(np.diff(shades) > 0)


def test_text_on_any_colour_of_the_scale_has_enough_contrast() -> None:
    """4.5 to 1 is what WCAG 2 asks for (AA)."""
    for colour in colormaps[COLOUR_SCALE](np.linspace(0, 1, 256)):
        ink = {"k": 0.0, "w": 1.0}[ink_on(colour)]
        lighter, darker = max(ink, luminance(colour)), min(ink, luminance(colour))
        assert (lighter + 0.05) / (darker + 0.05) >= 4.5


@DRAWINGS
def test_the_title_says_which_folds_the_scores_are_of(draw: Draw) -> None:
    assert "test folds, mean and 95 % interval over seeds and patches" in title(drawn(draw, comparison()))
    assert "validation folds" in title(drawn(draw, untested(some=False)))
    assert ": validation, not tested yet)" in title(drawn(draw, untested(some=True)))


def test_a_validation_score_has_a_star_in_the_map_and_a_hollow_mark_in_curves() -> None:
    mixed = untested(some=True)
    assert sum(word.endswith("*") for word in words(heat_map(mixed))) == 6
    assert "(*: validation" in title(heat_map(mixed))
    curves = drawn(curves_over_dates, mixed)
    assert "(hollow: validation" in title(curves)
    hollow = [line for axes in curves.axes for line in axes.lines if line.get_markerfacecolor() == "w"]
    assert len(hollow) == 6


@DRAWINGS
def test_one_seed_has_no_interval(draw: Draw) -> None:
    figure = drawn(draw, with_one_seed(comparison()))
    assert title(figure).endswith("one seed, so no interval")
    assert not any("–" in word for word in words(figure))


@DRAWINGS
def test_the_title_says_over_what_intervals_run(draw: Draw) -> None:
    cells = comparison().cells
    bare = tuple(replace(cell, interval_over="seeds") for cell in cells)
    assert title(drawn(draw, replace(comparison(), cells=bare))).endswith("interval over seeds")
    some = replace(comparison(), cells=(*cells[:3], *bare[3:]))
    assert title(drawn(draw, some)).endswith("over seeds and, where they are known, patches")


@DRAWINGS
def test_the_title_says_that_five_folds_are_summed(draw: Draw) -> None:
    rotated = drawn(draw, replace(comparison(), rotated=True))
    assert "five test folds (confusions summed), mean" in title(rotated)
    assert "summed" not in title(drawn(draw, comparison()))
    assert "summed" not in title(drawn(draw, replace(untested(some=False), rotated=True)))


@pytest.mark.parametrize(("draw", "x"), [(curves_over_dates, [1, 6]), (curves_over_labels, [0.1, 1.0])])
def test_there_is_a_line_per_strategy_in_every_panel(draw: Draw, x: list[float]) -> None:
    figure = drawn(draw, comparison(strategies=3))
    assert len(figure.axes) == 2
    for axes in figure.axes:
        assert [line.get_label() for line in axes.lines] == ["strategy_0", "strategy_1", "strategy_2"]
        assert len({(line.get_marker(), line.get_linestyle()) for line in axes.lines}) == 3
        assert all(list(line.get_xdata()) == x for line in axes.lines)


def test_there_is_no_curve_over_a_single_value() -> None:
    assert curves_over_dates(comparison(dates=(6,))) is None
    assert curves_over_labels(comparison(labels=(0.1,))) is None
    assert panel_titles(drawn(curves_over_dates, comparison(labels=(0.1,)))) == ["10 % of the labels"]
    assert panel_titles(drawn(curves_over_labels, comparison(dates=(1,)))) == ["1 date"]


def test_labels_are_on_a_logarithmic_axis_and_dates_are_not() -> None:
    assert {axes.get_xscale() for axes in drawn(curves_over_labels, comparison()).axes} == {"log"}
    assert {axes.get_xscale() for axes in drawn(curves_over_dates, comparison()).axes} == {"linear"}


@DRAWINGS
@pytest.mark.parametrize(("strategies", "labels", "dates"), GRIDS)
def test_no_text_is_cut_off_or_runs_into_another(
    draw: Draw, strategies: int, labels: tuple[float, ...], dates: tuple[int, ...]
) -> None:
    figure = draw(replace(comparison(strategies, labels, dates, LONG_NAME), rotated=True))  # long titles
    if figure:
        assert_nothing_collides(figure)


def test_dates_that_lie_close_are_named_at_a_distance() -> None:
    figure = drawn(curves_over_dates, comparison(dates=(1, 2, 3, 35)))
    assert [text.get_text() for text in figure.axes[0].get_xticklabels()] == ["", "", "3", "35"]


def test_long_names_are_broken_at_underscores_first() -> None:
    assert wrapped("croma_optical_base_finetune", 1.2) == "croma_optical_\nbase_finetune"
    assert wrapped("galileo-nano.v2-frozen", 1.0) == "galileo-\nnano.\nv2-frozen"
    assert wrapped("x" * 30, 1.0) == "x" * 12 + "\n" + "x" * 12 + "\n" + "x" * 6


@pytest.mark.parametrize(
    ("count", "width", "columns"), [(1, 3, 1), (3, 2.9, 3), (4, 2.9, 2), (5, 2.9, 3), (5, 4.2, 2), (2, 9, 1)]
)
def test_panels_lie_in_even_rows_that_fit(count: int, width: float, columns: int) -> None:
    assert columns_for(count, width, room=1.9) == columns
