from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from matplotlib.figure import Figure

from shapeft_tune.report import Comparison, compare
from shapeft_tune.report.figures import class_dots, class_maps
from shapeft_tune.report.figures.classes import richest_setting
from tests.report.drawn import (
    GRIDS,
    LONG_NAME,
    assert_nothing_collides,
    comparison,
    legend_words,
    panel_titles,
    summary,
    tick_names,
    title,
    with_classes,
    with_one_seed,
    words,
)
from tests.report.synthetic import CLASSES, synthetic_runs, synthetic_sweep

IOU = {"corn": 0.4, "meadow": 0.7, "never there": None, "soft winter wheat": 0.5}
NINETEEN = {f"class with a long name {number}": 0.9 - number / 40 for number in range(19)}


def drawn(figure: Figure | None) -> Figure:
    assert figure is not None
    return figure


@pytest.fixture
def whole() -> Comparison:
    return with_classes(comparison(strategies=3), IOU)


def test_classes_are_in_the_order_of_the_baselines_iou(whole: Comparison) -> None:
    axes = drawn(class_dots(whole)).axes[0]
    assert tick_names(axes.yaxis) == ["meadow", "soft winter wheat", "corn"]
    assert axes.get_ylim()[0] > axes.get_ylim()[1]  # the first on top
    unlike = with_classes(whole, IOU | {"corn": 0.9})
    cells = tuple(
        theirs if ours.strategy == "strategy_2" else ours
        for ours, theirs in zip(unlike.cells, whole.cells, strict=True)
    )
    by_last = replace(whole, cells=cells, baseline="strategy_2")
    assert tick_names(drawn(class_dots(by_last)).axes[0].yaxis) == ["meadow", "soft winter wheat", "corn"]
    by_first = replace(whole, cells=cells, baseline="strategy_0")
    assert tick_names(drawn(class_dots(by_first)).axes[0].yaxis) == ["corn", "meadow", "soft winter wheat"]


def test_every_strategy_has_a_marker_in_the_row_of_each_class(whole: Comparison) -> None:
    axes = drawn(class_dots(whole)).axes[0]
    assert [line.get_label() for line in axes.lines] == ["strategy_0", "strategy_1", "strategy_2"]
    assert len({line.get_marker() for line in axes.lines}) == 3
    for number, line in enumerate(axes.lines):
        assert list(line.get_xdata()) == pytest.approx([score + 0.01 * number for score in (0.7, 0.5, 0.4)])
        assert [round(row) for row in line.get_ydata()] == [0, 1, 2]
    assert len({line.get_ydata()[0] for line in axes.lines}) == 3  # side by side


def test_intervals_of_classes_are_drawn(whole: Comparison) -> None:
    axes = drawn(class_dots(whole)).axes[0]
    (first, *_) = axes.collections
    assert [*map(pytest.approx, first.get_segments()[0][:, 0])] == [0.65, 0.75]


def test_the_title_names_the_setting(whole: Comparison) -> None:
    assert title(drawn(class_dots(whole))).endswith("over seeds and patches, 100 % labels, 6 dates")
    assert "IoU of each class on the test folds" in title(drawn(class_dots(whole)))
    assert "one seed, so no interval" in title(drawn(class_dots(with_one_seed(whole))))


def test_a_setting_in_which_all_are_tested_goes_before_a_richer_one(whole: Comparison) -> None:
    assert richest_setting(whole) == (1.0, 6)
    cells = tuple(
        summary("strategy_1", 1.0, 6, None, 0.5)
        if (cell.strategy, *cell.setting) == ("strategy_1", 1.0, 6)
        else cell
        for cell in whole.cells
    )
    unfinished = replace(whole, cells=cells)
    assert richest_setting(unfinished) == (1.0, 1)
    assert title(drawn(class_dots(unfinished))).endswith("100 % labels, 1 date")


def test_a_strategy_keeps_its_marker_where_another_is_not_tested(whole: Comparison) -> None:
    cells = tuple(
        replace(cell, test_iou={}) if cell.strategy == "strategy_1" else cell for cell in whole.cells
    )
    every = {line.get_label(): line.get_marker() for line in drawn(class_dots(whole)).axes[0].lines}
    figure = drawn(class_dots(replace(whole, cells=cells)))
    some = {line.get_label(): line.get_marker() for line in figure.axes[0].lines}
    assert some == {name: mark for name, mark in every.items() if name != "strategy_1"}
    assert legend_words(figure) == ["strategy_0", "strategy_2"]


def test_nothing_is_drawn_of_classes_where_nothing_was_tested() -> None:
    assert class_dots(comparison()) is None
    assert class_maps(comparison()) is None


def test_a_map_holds_every_class_in_every_setting_in_percent(whole: Comparison) -> None:
    figure = drawn(class_maps(whole))
    assert panel_titles(figure) == ["strategy_0", "strategy_1", "strategy_2"]
    assert sorted(set(words(figure))) == ["40", "41", "42", "50", "51", "52", "70", "71", "72"]
    assert len(words(figure)) == 3 * 3 * 4
    axes = figure.axes[0]
    assert tick_names(axes.yaxis) == ["meadow", "soft winter wheat", "corn"]
    assert tick_names(axes.xaxis) == ["1", "6", "1", "6", "10 %", "100 %"]
    assert np.asarray(axes.images[0].get_array())[:, 0] == pytest.approx([0.7, 0.5, 0.4])
    assert {each.images[0].get_clim() for each in figure.axes[:3]} == {(0.0, 1.0)}


def test_a_label_fraction_is_below_the_middle_of_its_dates() -> None:
    axis = drawn(class_maps(with_classes(comparison(dates=(1, 6, 15)), IOU))).axes[0].xaxis
    assert tick_names(axis) == ["1", "6", "15", "1", "6", "15", "10 %", "100 %"]
    assert list(axis.get_minorticklocs()) == [1.5, 4.5]


def test_above_an_empty_place_a_map_has_its_columns_named() -> None:
    figure = drawn(class_maps(with_classes(comparison(3, (0.01, 0.1, 1.0), (1, 6, 24)), IOU)))  # two and one
    middle = figure.axes[1].xaxis
    assert all(tick.label1.get_visible() for tick in (*middle.get_major_ticks(), *middle.get_minor_ticks()))
    assert {tick.label1.get_fontsize() for tick in middle.get_minor_ticks()} == {7.0}


def test_along_a_single_axis_columns_have_one_name_and_the_title_what_they_share() -> None:
    few = drawn(class_maps(with_classes(comparison(labels=(0.1,), dates=(1, 6)), IOU)))
    assert tick_names(few.axes[0].xaxis) == ["1", "6"]
    assert (few.get_supxlabel(), title(few)[-18:]) == ("dates", "10 % of the labels")
    one = drawn(class_maps(with_classes(comparison(labels=(0.1, 1.0), dates=(6,)), IOU)))
    assert tick_names(one.axes[0].xaxis) == ["10", "100"]
    assert (one.get_supxlabel(), title(one)[-7:]) == ("labels (%)", "6 dates")


def test_a_single_setting_needs_no_map_of_classes() -> None:
    assert class_maps(with_classes(comparison(labels=(0.1,), dates=(6,)), IOU)) is None


def test_a_cell_that_was_not_tested_is_empty_in_the_map(whole: Comparison) -> None:
    cells = (replace(whole.cells[0], test_iou={}), *whole.cells[1:])
    assert words(drawn(class_maps(replace(whole, cells=cells)))).count("–") == 3


def test_maps_of_many_settings_have_colours_alone() -> None:
    figure = drawn(class_maps(with_classes(comparison(*GRIDS[-1]), IOU)))
    assert words(figure) == []
    assert "percent" not in title(figure)


@pytest.mark.parametrize("draw", [class_dots, class_maps])
@pytest.mark.parametrize(("strategies", "labels", "dates"), GRIDS)
def test_no_text_is_cut_off_or_runs_into_another(
    draw: object, strategies: int, labels: tuple[float, ...], dates: tuple[int, ...]
) -> None:
    assert callable(draw)
    figure = draw(with_classes(comparison(strategies, labels, dates, LONG_NAME), NINETEEN))
    if figure:
        assert_nothing_collides(figure)


def test_of_a_whole_record_the_share_of_each_class_is_named() -> None:
    sweep = synthetic_sweep()
    compared = compare(sweep, synthetic_runs(sweep))
    axes = drawn(class_dots(compared)).axes[0]
    assert tick_names(axes.yaxis)[:2] == ["Meadow (35 %)", "Soft winter wheat (25 %)"]
    leading = compared.cell(compared.baseline or "", 1.0, 24).test_iou
    baseline = next(line for line in axes.lines if line.get_label() == compared.baseline)
    assert list(baseline.get_xdata()) == pytest.approx(
        sorted((leading[name].mean for name in CLASSES), reverse=True)
    )
