from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from shapeft_tune.config import SweepConfig
from shapeft_tune.report import Comparison, Run, compare, write_report
from shapeft_tune.report.comparison.pareto import Point, front_of
from shapeft_tune.report.figures import fronts
from shapeft_tune.report.figures.style import COLOURS
from shapeft_tune.report.page import as_markdown
from shapeft_tune.report.report import report_of
from shapeft_tune.report.tables import as_json
from shapeft_tune.tracking import Ending, Recorder, TrialEnd

Make = Callable[..., Run]


@pytest.fixture(scope="module")
def by_cost(sweep: SweepConfig) -> SweepConfig:
    """Return the sweep with cost as its second objective."""
    fields = {name: getattr(sweep, name) for name in type(sweep).model_fields}
    return SweepConfig.model_validate(fields | {"optimisation": {"objective": "miou_and_cost"}})


@pytest.fixture(scope="module")
def runs(run: Make) -> list[Run]:
    """Return three trials of a cell of which one is beaten in both, and one trial of another strategy."""
    return [
        run(1e-3, best__val_miou=0.5, cost__device_seconds=100.0),
        run(2e-3, best__val_miou=0.4, cost__device_seconds=10.0),
        run(3e-3, best__val_miou=0.45, cost__device_seconds=120.0),
        run(1e-3, 1, test__miou=0.4, cost__device_seconds=1.0),
        run(1e-3, strategy="croma", best__val_miou=0.3, cost__device_seconds=5.0),
    ]


def beaten(one: Sequence[float], other: Sequence[float]) -> bool:
    """Whether the other is at least as good and as cheap, and better in one of them."""
    return other[0] >= one[0] and other[1] <= one[1] and tuple(one) != tuple(other)


@pytest.mark.parametrize("seed", range(5))
def test_the_front_is_what_no_other_trial_beats_in_both(run: Make, seed: int) -> None:
    draw = np.random.default_rng(seed)
    values = [(float(a), float(b)) for a, b in draw.integers(0, 8, (15, 2))]
    made = [
        run(1e-3 + number * 1e-4, best__val_miou=miou, cost__device_seconds=cost)
        for number, (miou, cost) in enumerate(values)
    ]
    expected = {one for one in values if not any(beaten(one, other) for other in values)}
    front = front_of(made)
    assert {(point.val_miou, point.device_seconds) for point in front} == expected
    assert len(front) == len(expected)
    assert list(front) == sorted(front, key=lambda point: point.device_seconds)
    oldest = {value: number for number, value in reversed(list(enumerate(values)))}
    for point in front:
        number = oldest[point.val_miou, point.device_seconds]
        assert point.config == {"training.optimiser.lr": 1e-3 + number * 1e-4}


def test_only_complete_search_trials_are_on_the_front(run: Make) -> None:
    others = [
        run(1e-3, best__val_miou=0.9, cost__device_seconds=1.0, state="pruned"),
        run(2e-3, best__val_miou=0.9, cost__device_seconds=1.0, state="running"),
        run(3e-3, best__val_miou=0.9),
        run(1e-3, 1, best__val_miou=0.9, cost__device_seconds=1.0),
    ]
    assert front_of(others) == ()


def test_a_report_has_the_front_of_every_cell_where_cost_is_an_objective(
    by_cost: SweepConfig, sweep: SweepConfig, runs: list[Run]
) -> None:
    report = report_of(by_cost, runs)
    cells = json.loads(as_json(report))["cells"]
    assert [len(cell["front"]) for cell in cells] == [0, 0, 2, 1]
    assert cells[2]["front"][0] == {
        "val_miou": 0.4,
        "device_seconds": 10.0,
        "config": {"training.optimiser.lr": 0.002},
    }
    text = as_markdown(report)
    assert "| utae | 10 % | 6 | 10 | 0.400 | `training.optimiser.lr=0.002` |" in text
    assert "| utae | 10 % | 6 | 120" not in text
    alone = report_of(sweep, runs)
    assert "Pareto" not in as_markdown(alone)
    assert "front" not in as_json(alone)


def drawn(comparison: Comparison) -> list[list[Point]]:
    """Return the points of every line of the figure, as they are in it."""
    figure = fronts(comparison)
    lines = [line for axes in figure.axes for line in axes.lines]
    return [list(zip(line.get_xdata(), line.get_ydata(), strict=True)) for line in lines]


def test_the_figure_has_a_panel_per_setting_and_a_line_per_strategy(
    by_cost: SweepConfig, runs: list[Run]
) -> None:
    comparison = compare(by_cost, runs)
    assert drawn(comparison) == [[], [], [(10.0, 0.4), (100.0, 0.5)], [(5.0, 0.3)]]
    figure = fronts(comparison)
    assert len(figure.axes) == 2
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["utae", "croma"]
    for one, other in itertools.pairwise(figure.axes[0].lines):  # told apart without colour
        assert one.get_marker() != other.get_marker()
        assert one.get_linestyle() != other.get_linestyle()
    assert figure.axes[0].lines[0].get_color() == COLOURS[0]


def test_a_written_report_shows_the_figure(by_cost: SweepConfig, runs: list[Run], tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path / 'mlflow.db'}"
    record = Recorder.open(store, "demo", tmp_path / "demo")
    for each in runs:
        record.trial_ended(each.facts, TrialEnd(Ending(each.state), each.metrics))
    record.close()
    files = write_report(by_cost, store, tmp_path / "report")
    assert (tmp_path / "report" / "figures" / "fronts.png").stat().st_size > 5_000
    assert "(figures/fronts.png)" in files.markdown.read_text()
    assert [len(cell.front) for cell in files.comparison.cells] == [0, 0, 2, 1]
