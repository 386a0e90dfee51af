from __future__ import annotations

from dataclasses import replace

import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from shapeft_tune.report import Comparison, compare
from shapeft_tune.report.comparison import Recommendation
from shapeft_tune.report.figures import cost_of_search, cost_of_training
from shapeft_tune.report.figures.cost import Point, front_of, last_step
from shapeft_tune.report.figures.hours import round_ticks
from shapeft_tune.report.words.device_time import DeviceTime
from tests.report.drawn import (
    GRIDS,
    LONG_NAME,
    assert_nothing_collides,
    comparison,
    legend_words,
    panel_titles,
    summary,
    title,
    with_hours,
    with_one_seed,
)
from tests.report.synthetic import synthetic_runs, synthetic_sweep


def drawn(figure: Figure | None) -> Figure:
    assert figure is not None
    return figure


def point(hours: float, miou: float) -> Point:
    return Point(0, "utae", hours, miou, None, None)


def marks(axes: Axes) -> list[tuple[float, float]]:
    """Return where markers are: the first line is the front."""
    return [(*line.get_xdata(), *line.get_ydata()) for line in axes.lines[1:]]


def panel(figure: Figure, name: str) -> Axes:
    return next(axes for axes in figure.axes if axes.get_title().startswith(f"{name}\n"))


def test_a_strategy_stands_at_its_hours_and_its_miou() -> None:
    figure = drawn(cost_of_training(with_hours(comparison(strategies=3), (2.0, 1.0, 8.0))))
    axes = panel(figure, "10 % labels, 1 date")
    assert [*map(pytest.approx, marks(axes))] == [(2.0, 0.14), (1.0, 0.15), (8.0, 0.16)]
    assert axes.get_xscale() == "log"


def test_the_front_leaves_out_what_is_dearer_and_no_better() -> None:
    figure = drawn(cost_of_training(with_hours(comparison(strategies=3), (2.0, 1.0, 8.0))))
    front = panel(figure, "10 % labels, 1 date").lines[0]
    assert list(front.get_xdata()) == [1.0, 8.0]
    assert list(front.get_ydata()) == pytest.approx([0.15, 0.16])
    assert front.get_drawstyle() == "steps-post"


def test_of_equals_the_cheaper_is_on_the_front_alone() -> None:
    assert front_of([point(2, 0.4), point(1, 0.4)]) == [point(1, 0.4)]
    assert front_of([point(1, 0.3), point(1, 0.4)]) == [point(1, 0.4)]


def test_the_last_step_is_said_above_each_panel() -> None:
    assert last_step([point(1, 0.3), point(2, 0.38), point(9, 0.40), point(10, 0.2)]) == (
        "+0.020 mIoU for 4.5 times the cost"
    )
    assert last_step([point(1, 0.4), point(2, 0.3)]) == "the best is the cheapest"
    assert last_step([point(1, 0.4)]) == "no other is tested"
    assert last_step([]) == "no test scores yet"
    figure = drawn(cost_of_training(with_hours(comparison(), (1.0, 3.0))))
    assert all(name.endswith("\n+0.010 mIoU for 3 times the cost") for name in panel_titles(figure))


def test_panels_lie_as_settings_do_in_the_maps() -> None:
    figure = drawn(cost_of_training(with_hours(comparison(labels=(0.01, 0.1)), (1.0, 3.0))))
    figure.canvas.draw()
    lower, upper = (panel(figure, f"{name} % labels, 1 date").get_position() for name in (1, 10))
    right = panel(figure, "1 % labels, 6 dates").get_position()
    assert lower.y1 < upper.y0
    assert lower.x1 < right.x0


def test_the_other_figure_has_the_hours_of_search_and_repeats() -> None:
    figure = drawn(cost_of_search(with_hours(comparison(), (1.0, 3.0), search=20)))
    assert [x for x, _ in marks(panel(figure, "10 % labels, 1 date"))] == [20.0, 60.0]
    assert "search" in title(figure)


def test_an_interval_is_drawn_where_there_is_one() -> None:
    whole = with_hours(comparison(), (1.0, 3.0))
    axes = panel(drawn(cost_of_training(whole)), "10 % labels, 1 date")
    ends = [tuple(bar.get_segments()[0][:, 1]) for bar in axes.collections]
    assert [*map(pytest.approx, ends)] == [(0.12, 0.16), (0.13, 0.17)]
    assert not panel(drawn(cost_of_training(with_one_seed(whole))), "10 % labels, 1 date").collections


def test_the_recommended_cheap_strategy_has_a_ring() -> None:
    whole = with_hours(comparison(), (1.0, 3.0))
    recommended = replace(whole, recommendations=(Recommendation(0.1, 1, "strategy_1", "strategy_0", ()),))
    figure = drawn(cost_of_training(recommended))
    rings = [line for axes in figure.axes for line in axes.lines if line.get_markerfacecolor() == "none"]
    assert [(*ring.get_xdata(), *ring.get_ydata()) for ring in rings] == [pytest.approx((1.0, 0.14))]
    assert legend_words(figure)[-1] == "the cheapest to train that is not told apart from the best"
    assert len(legend_words(drawn(cost_of_training(whole)))) == 3


def test_a_strategy_that_is_not_tested_is_no_point() -> None:
    whole = with_hours(comparison(), (1.0, 3.0))
    bare = replace(summary("strategy_1", 0.1, 1, None, 0.9), training_device_hours=3.0)
    cells = tuple(
        bare if cell.setting == (0.1, 1) and cell.val_miou_best and cell.strategy == "strategy_1" else cell
        for cell in whole.cells
    )
    figure = drawn(cost_of_training(replace(whole, cells=cells)))
    assert len(marks(panel(figure, "10 % labels, 1 date"))) == 1


def test_there_is_no_figure_without_a_choice_or_without_hours() -> None:
    assert cost_of_training(with_hours(comparison(strategies=1), (1.0,))) is None
    assert cost_of_training(comparison()) is None
    assert cost_of_search(comparison()) is None


@pytest.mark.parametrize(
    ("hours", "name"),
    [(1.2, "hours"), (0.99, "minutes"), (1 / 60, "minutes"), (0.01, "seconds"), (1e-5, "seconds")],
)
def test_the_axis_has_the_largest_unit_of_which_there_is_one(hours: float, name: str) -> None:
    assert DeviceTime.fitting([hours / 9, hours]).unit == f"device {name}"
    figure = drawn(cost_of_training(with_hours(comparison(), (hours, hours / 9))))
    assert figure.get_supxlabel().startswith(f"device {name} of one training")


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (2, 7, [2, 3, 5]),
        (1, 30, [1, 3, 10, 30]),
        (0.1, 50, [0.1, 1, 10]),
        (2.1, 4.5, [3, 4]),
        (1e-3, 1e3, [1e-3, 1e-1, 1e1, 1e3]),
    ],
)
def test_a_logarithmic_axis_has_few_round_ticks(low: float, high: float, ticks: list[float]) -> None:
    assert round_ticks(low, high) == pytest.approx(ticks)


@pytest.mark.parametrize("draw", [cost_of_training, cost_of_search])
@pytest.mark.parametrize(("strategies", "labels", "dates"), GRIDS[1:])
def test_no_text_is_cut_off_or_runs_into_another(
    draw: object, strategies: int, labels: tuple[float, ...], dates: tuple[int, ...]
) -> None:
    whole = with_hours(comparison(strategies, labels, dates, LONG_NAME), (0.3, 1, 2.5, 7, 20)[:strategies])
    assert callable(draw)
    assert_nothing_collides(drawn(draw(whole)))


@pytest.fixture(scope="module")
def simulated() -> Comparison:
    sweep = synthetic_sweep()
    return compare(sweep, synthetic_runs(sweep))


def test_the_costs_of_a_whole_record_are_drawn(simulated: Comparison) -> None:
    figure = drawn(cost_of_training(simulated))
    cell = simulated.cell("croma_finetune", 1.0, 24)
    last = marks(panel(figure, "100 % labels, 24 dates"))[-1]
    assert last == pytest.approx((cell.training_device_hours, cell.test_miou_mean))
