from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from random import Random
from typing import Any

import pytest
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from shapeft_tune.config import Cell, SweepConfig
from shapeft_tune.report import Comparison, Run, compare
from shapeft_tune.report.figures import history as history_module
from shapeft_tune.report.figures import parallel as parallel_module
from shapeft_tune.report.figures.best_values import best_values_over_dates, best_values_over_labels
from shapeft_tune.report.figures.history import history
from shapeft_tune.report.figures.importances import importances
from shapeft_tune.report.figures.parallel import parallel
from shapeft_tune.report.figures.saving import as_svg
from shapeft_tune.report.figures.searched_axis import in_one_style, position, ticks
from shapeft_tune.report.figures.style import style_of
from shapeft_tune.report.hyperparameters import SearchedField, StrategySearch, searches_of
from shapeft_tune.report.hyperparameters.best_values import best_values
from tests.report.searched import (
    CROMA,
    DROPOUT,
    LOSS,
    LR,
    SIZE,
    everything,
    search_run,
    searched_sweep,
    tried,
)
from tests.report.synthetic import synthetic_runs, synthetic_sweep

LR_RANGE: Mapping[str, Any] = {LR: {"log_uniform": [1e-4, 1e-2]}}
Searched = tuple[Comparison, tuple[StrategySearch, ...]]


def searched(sweep: SweepConfig, runs: Sequence[Run]) -> Searched:
    return compare(sweep, runs), searches_of(sweep, runs)


@pytest.fixture(scope="module")
def many() -> Searched:
    sweep = synthetic_sweep(trials=20)
    return searched(sweep, synthetic_runs(sweep))


@pytest.fixture(scope="module")
def few() -> Searched:
    sweep = synthetic_sweep(("croma_finetune",), trials=4)
    return searched(sweep, synthetic_runs(sweep))


@pytest.fixture(scope="module")
def of_every_kind() -> Searched:
    """Two strategies in four settings, every kind of field; some trials pruned, some failed."""
    strategies = {name: {"config": {"model": CROMA}} for name in ("one", "another")}
    settings = {"label_fractions": [0.1, 1.0], "temporal_lengths": [6, 12]}
    sweep = searched_sweep(everything(), strategies=strategies, settings=settings)
    random = Random(7)
    runs = [
        ended(run, random)
        for cell in sweep.cells
        for run in tried(cell, 12, _by_lr, seed=random.randrange(99))
    ]
    return searched(sweep, runs)


def _by_lr(_: Cell, values: Mapping[str, Any]) -> float:
    return 0.3 + 20 * float(values[LR])


def ended(run: Run, random: Random) -> Run:
    chance = random.random()
    if chance < 0.2:
        return replace(run, state="pruned", metrics={"val/miou": 0.2})
    return replace(run, state="failed", metrics={}) if chance < 0.3 else run


def one_cell(*tries: tuple[float, float | None, str]) -> Searched:
    sweep = searched_sweep(LR_RANGE)
    return searched(sweep, [search_run(sweep.cells[0], {LR: lr}, score, state) for lr, score, state in tries])


def drawn(figure: Figure | None) -> Figure:
    assert figure is not None
    figure.draw_without_rendering()
    return figure


def panels(figure: Figure) -> list[Axes]:
    return [axes for axes in figure.axes if axes.get_label() != "<colorbar>"]


def texts(axes: Axes) -> list[str]:
    return [text.get_text() for text in axes.texts]


def y_ticks(axes: Axes) -> list[str]:
    return [tick.get_text() for tick in axes.get_yticklabels() if tick.get_visible()]


def legend_texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def lines_of(axes: Axes, linestyle: str = "None") -> list[Any]:
    return [line for line in axes.lines if line.get_linestyle() == linestyle]


# An axis of a searched field


def test_a_range_by_factors_has_powers_of_ten_at_even_distances() -> None:
    field = SearchedField(LR, (LR,), 1e-4, 1e-1, log=True)
    assert list(ticks(field).values()) == ["1e-4", "1e-3", "1e-2", "1e-1"]
    assert list(ticks(field)) == pytest.approx([0, 1 / 3, 2 / 3, 1])
    assert position(field, 10**-2.5) == pytest.approx(0.5)


def test_one_axis_has_one_style_of_numbers() -> None:
    assert in_one_style([0.0, 1e-3, 0.02, 1.0, 50.0]) == ["0", "1e-3", "2e-2", "1", "50"]
    assert in_one_style([0.0, 0.02, 0.5]) == ["0", "0.02", "0.5"]


def test_a_narrow_range_by_factors_still_has_ticks() -> None:
    named = ticks(SearchedField(LR, (LR,), 2e-4, 8e-4, log=True))
    assert list(named.values()) == ["2e-4", "4e-4", "6e-4", "8e-4"]


def test_an_even_range_a_few_numbers_and_options_have_their_ticks() -> None:
    assert list(ticks(SearchedField("a", ("a",), 0.0, 0.4)).values()) == ["0", "0.1", "0.2", "0.3", "0.4"]
    few = SearchedField("a", ("a",), 4, 16, numbers=(4, 8, 12, 16))
    assert list(ticks(few).values()) == ["4", "8", "12", "16"]
    options = SearchedField("a", ("a",), options=("x", "y", "z"), picks=({}, {}, {}))
    assert ticks(options) == {0: "x", 0.5: "y", 1: "z"}


def test_numbers_beside_an_axis_are_brief() -> None:
    assert [in_one_style([value])[0] for value in (1e-4, 2.5e-5, 0.001, 0.05, 16.0, 1e6)] == [
        "1e-4",
        "2.5e-5",
        "1e-3",
        "0.05",
        "16",
        "1e6",
    ]


# Importances


def test_importances_are_bars_with_the_largest_on_top(many: Searched) -> None:
    figure = drawn(importances("simulated", many[1]))
    assert len(panels(figure)) == 3
    for axes, search in zip(panels(figure), many[1], strict=True):
        assert y_ticks(axes) == [name.rpartition(".")[2] for name in search.importances]
        assert axes.yaxis_inverted()
        assert [bar.get_width() for bar in axes.patches] == pytest.approx(list(search.importances.values()))
        assert texts(axes) == [f"{value:.2f}" for value in search.importances.values()]
        assert search.strategy in axes.get_title(loc="left")


def test_every_cell_is_a_dot_beside_its_bar(many: Searched) -> None:
    figure = drawn(importances("simulated", many[1]))
    for axes, search in zip(panels(figure), many[1], strict=True):
        (dots,) = lines_of(axes)
        assert len(dots.get_xdata()) == len(search.cells) * len(search.importances)
        assert sum(dots.get_xdata()) == pytest.approx(len(search.cells))


def test_what_chance_may_give_is_marked_at_all_but_the_first(many: Searched) -> None:
    figure = drawn(importances("simulated", many[1]))
    for axes, search in zip(panels(figure), many[1], strict=True):
        (marks,) = [each for each in axes.collections if isinstance(each, LineCollection)]
        assert [path[0, 0] for path in marks.get_segments()] == pytest.approx(list(search.chance.values()))
        assert len(search.chance) == len(search.importances) - 1
    assert "up to here it may be chance" in legend_texts(figure)


def test_importances_of_few_trials_are_not_drawn(few: Searched) -> None:
    assert importances("simulated", few[1]) is None


def test_a_strategy_without_importances_is_left_out_and_the_others_keep_their_colours(many: Searched) -> None:
    searches = (replace(many[1][0], importances={}), *many[1][1:])
    figure = drawn(importances("simulated", searches))
    assert [axes.get_title(loc="left").split()[0] for axes in panels(figure)] == [
        "croma_frozen",
        "croma_finetune",
    ]
    edge = panels(figure)[0].patches[0].get_edgecolor()
    assert edge[:3] == pytest.approx(_rgb(style_of(1)[0]))


def _rgb(colour: str) -> tuple[float, ...]:
    from matplotlib.colors import to_rgb

    return to_rgb(colour)


# Best values


def test_best_values_have_a_row_for_each_field_and_a_column_for_each_strategy(many: Searched) -> None:
    figure = drawn(best_values_over_labels(*many))
    grid = panels(figure)
    assert len(grid) == 9
    assert [axes.get_title() for axes in grid[:3]] == ["utae", "croma_frozen", "croma_finetune"]
    rows = [axes.get_ylabel().replace("\n", "") for axes in grid[::3]]
    assert rows[0] == "lr"
    assert set(rows) == {"lr", "loss", "encoder_lr_ratio"}
    assert legend_texts(figure) == ["1", "6", "24"]
    ratio = 3 * rows.index("encoder_lr_ratio")
    assert [texts(axes) for axes in grid[ratio : ratio + 2]] == [["not searched"]] * 2


def test_marks_are_at_the_best_values_and_bars_reach_as_far_as_those_about_as_good(many: Searched) -> None:
    comparison, searches = many
    axes = panels(drawn(best_values_over_labels(comparison, searches)))[0]
    field = searches[0].fields[0]
    assert field.name == LR
    found = best_values(searches[0], field)
    marks = sorted(y for line in lines_of(axes) for y in line.get_ydata())
    assert marks == pytest.approx(sorted(position(field, each.value) for each in found))
    bars = sorted(
        (low[1], high[1])
        for each in axes.collections
        if isinstance(each, LineCollection)
        for low, high in each.get_segments()
    )
    truth = sorted((position(field, min(each.close)), position(field, max(each.close))) for each in found)
    assert [*map(tuple, bars)] == [*map(pytest.approx, truth)]


def test_marks_of_one_setting_do_not_hide_each_other(many: Searched) -> None:
    axes = panels(drawn(best_values_over_labels(*many)))[0]
    places = [x for line in lines_of(axes) for x in line.get_xdata()]
    assert len({round(place, 6) for place in places}) == len(places) == 9


def test_dates_lie_along_the_axis_and_labels_in_the_legend_the_other_way_round(many: Searched) -> None:
    figure = drawn(best_values_over_dates(*many))
    assert [tick.get_text() for tick in panels(figure)[-1].get_xticklabels()] == ["1", "6", "24"]
    assert legend_texts(figure) == ["1", "10", "100"]
    assert figure.legends[0].get_title().get_text() == "labels (%)"


def test_options_are_ticks_and_others_about_as_good_are_hollow() -> None:
    sweep = searched_sweep(
        {LOSS: {"choice": ["cross_entropy", "dice"]}},
        settings={"label_fractions": [0.1, 1.0], "temporal_lengths": [6]},
    )
    scores = ({"cross_entropy": 0.5, "dice": 0.495}, {"cross_entropy": 0.3, "dice": 0.4})
    runs = [
        search_run(cell, {LOSS: loss}, score)
        for cell, by_loss in zip(sweep.cells, scores, strict=True)
        for loss, score in by_loss.items()
    ]
    (axes,) = panels(drawn(best_values_over_labels(*searched(sweep, runs))))
    assert y_ticks(axes) == ["cross_entropy", "dice"]
    hollow = sorted(
        y for line in lines_of(axes) if line.get_markerfacecolor() == "w" for y in line.get_ydata()
    )
    filled = [y for line in lines_of(axes) if line.get_markerfacecolor() != "w" for y in line.get_ydata()]
    assert hollow == [0, 1, 1]  # both options at 10 %, the better one alone at 100 %
    assert filled == [0, 1]


def test_with_one_setting_nothing_is_drawn_over_it() -> None:
    found = one_cell((1e-3, 0.4, "complete"), (2e-3, 0.5, "complete"))
    assert best_values_over_labels(*found) is None
    assert best_values_over_dates(*found) is None


def test_more_fields_than_fit_are_named_in_the_title(of_every_kind: Searched) -> None:
    figure = drawn(best_values_over_labels(*of_every_kind))
    assert len(panels(figure)) == 6 * 2
    assert "less important and left out: " in " ".join(figure.get_suptitle().split())


# Parallel coordinates


def test_every_complete_trial_is_a_line_through_its_values(few: Searched) -> None:
    figure = drawn(parallel("simulated", few[1]))
    (axes,) = panels(figure)
    search = few[1][0]
    trials = [trial for cell in search.cells for trial in cell.complete]
    (lines,) = [
        each for each in axes.collections if isinstance(each, LineCollection) and len(each.get_paths()) > 1
    ]
    assert len(lines.get_paths()) == len(trials)
    assert [tick.get_text() for tick in axes.get_xticklabels()][:3] == ["lr", "loss", "encoder_lr_ratio"]
    starts = sorted(path.vertices[0][1] for path in lines.get_paths())
    lr = search.fields[0]
    assert starts == pytest.approx(sorted(position(lr, trial.values[LR]) for trial in trials))
    assert {"1e-4", "1e-3", "1e-2", "cross_entropy", "0"} <= {text.replace("\n", "") for text in texts(axes)}


def test_the_best_of_every_cell_is_at_the_top_and_darkest(few: Searched) -> None:
    (axes,) = panels(drawn(parallel("simulated", few[1])))
    (lines,) = [
        each for each in axes.collections if isinstance(each, LineCollection) and len(each.get_paths()) > 1
    ]
    ends = [path.vertices[-1][1] for path in lines.get_paths()]
    assert ends == sorted(ends)  # the best are drawn last, over the others
    assert ends.count(pytest.approx(1)) >= len(few[1][0].cells)
    lightness = [sum(colour[:3]) for colour in lines.get_colors()]
    assert lightness[0] > lightness[-1]


def test_a_field_that_a_trial_does_not_have_is_passed_below_the_axis(of_every_kind: Searched) -> None:
    figure = drawn(parallel("searched", of_every_kind[1]))
    for axes, search in zip(panels(figure), of_every_kind[1], strict=True):
        shown = [field.name for field in search.ranked_fields[: parallel_module.MOST_FIELDS]]
        if DROPOUT not in shown:
            continue
        (lines,) = [
            each
            for each in axes.collections
            if isinstance(each, LineCollection) and len(each.get_paths()) > 1
        ]
        passed = [path.vertices[shown.index(DROPOUT)][1] < 0 for path in lines.get_paths()]
        without = [DROPOUT not in trial.values for cell in search.cells for trial in cell.complete]
        assert sum(passed) == sum(without) > 0
        assert "unused" in texts(axes)


def test_many_trials_are_thinned_and_that_is_said(few: Searched, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel_module, "MOST_LINES", 10)
    (axes,) = panels(drawn(parallel("simulated", few[1])))
    count = sum(len(cell.complete) for cell in few[1][0].cells)
    assert f"10 of {count} trials" in axes.get_title(loc="left")


def test_a_single_trial_is_a_line_and_none_are_no_figure() -> None:
    comparison, searches = one_cell((1e-3, 0.4, "complete"))
    assert drawn(parallel("searched", searches)) is not None
    assert parallel("searched", one_cell((1e-3, None, "failed"))[1]) is None
    assert history(comparison, searches) is not None


# History


def test_the_history_has_a_panel_for_each_setting_most_labels_on_top(many: Searched) -> None:
    figure = drawn(history(*many))
    titles = [axes.get_title().replace("\n", " ") for axes in panels(figure)]
    assert titles[0] == "100 % labels, 1 date"
    assert titles[-1] == "1 % labels, 24 dates"
    assert len(titles) == 9


def test_trials_are_marked_by_how_they_ended() -> None:
    tries = ((1e-3, 0.4, "complete"), (2e-3, 0.3, "pruned"), (3e-3, None, "failed"), (4e-3, 0.5, "complete"))
    (axes,) = panels(drawn(history(*one_cell(*tries))))
    marks = [(line.get_marker(), line.get_markerfacecolor(), *line.get_xdata()) for line in lines_of(axes)]
    colour, marker, _ = style_of(0)
    assert (marker, colour, 1, 4) in marks
    assert (marker, "w", 2) in marks
    assert ("x", colour, 3) in marks


def test_a_failed_trial_lies_at_the_bottom_and_does_not_move_the_axis() -> None:
    (axes,) = panels(drawn(history(*one_cell((1e-3, 0.4, "complete"), (3e-3, None, "failed")))))
    assert axes.get_ylim()[0] > 0.3


def test_the_line_is_the_best_complete_trial_until_then() -> None:
    tries = ((1e-3, 0.4, "complete"), (2e-3, 0.9, "pruned"), (3e-3, 0.3, "complete"), (4e-3, 0.5, "complete"))
    (axes,) = panels(drawn(history(*one_cell(*tries, (5e-3, None, "failed")))))
    (best,) = lines_of(axes, "-")
    assert [*zip(best.get_xdata(), best.get_ydata(), strict=True)] == [(1, 0.4), (3, 0.4), (4, 0.5), (5, 0.5)]
    assert best.get_drawstyle() == "steps-post"


def test_marks_are_pixels_in_a_drawing_of_very_many_and_all_else_is_not(
    many: Searched, monkeypatch: pytest.MonkeyPatch
) -> None:
    marks = as_svg(drawn(history(*many)), "history").decode()
    assert "<image" not in marks
    monkeypatch.setattr(history_module, "MOST_DRAWN", 100)
    pixels = as_svg(drawn(history(*many)), "history").decode()
    assert pixels.count("<image") == 9, "one picture for each panel"
    assert pixels.count("<use") < marks.count("<use") - 9 * 3 * 20 / 2
    texts_of = re.compile(r"<text[^>]*>([^<]*)<")
    assert texts_of.findall(pixels) == texts_of.findall(marks)


def test_the_legend_names_strategies_with_their_pruned_share_and_the_states_there_are(
    of_every_kind: Searched,
) -> None:
    comparison, searches = of_every_kind
    named = legend_texts(drawn(history(comparison, searches)))
    shares = [f"{each.strategy}\n{100 * (each.pruned_share or 0):.0f} % pruned" for each in searches]
    assert named == [*shares, "complete", "pruned", "failed"]


def test_a_search_that_has_not_begun_has_no_figures() -> None:
    comparison, searches = one_cell()
    assert history(comparison, searches) is None
    assert importances("searched", searches) is None
    assert parallel("searched", searches) is None


@pytest.mark.filterwarnings("error")  # a layout that does not fit is only warned of
def test_figures_of_every_kind_of_field_fit(of_every_kind: Searched) -> None:
    comparison, searches = of_every_kind
    figures = (
        best_values_over_labels(comparison, searches),
        best_values_over_dates(comparison, searches),
        parallel("searched", searches),
        history(comparison, searches),
    )
    for figure in figures:
        drawn(figure)
    assert SIZE in {field.name for field in searches[0].fields}
