from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter

from shapeft_tune.config import SweepConfig
from shapeft_tune.config.ranges import Choice, Fixed, IntRange, LogUniform, RangeField, Uniform
from tests.config.examples import MODEL, SWEEP


def sweep(**changes: Any) -> SweepConfig:
    return SweepConfig.model_validate(SWEEP | changes)


def test_there_is_a_cell_for_every_strategy_in_every_setting_cheap_ones_first() -> None:
    strategies = {"a": {"config": {"model": MODEL}}, "b": {"config": {"model": MODEL}}}
    cells = [
        (cell.strategy, cell.label_fraction, cell.temporal_length)
        for cell in sweep(strategies=strategies).cells
    ]
    assert cells == [
        (name, fraction, length) for length in (1, 3) for fraction in (0.5, 1.0) for name in ("a", "b")
    ]


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ({"uniform": [0, 1]}, Uniform(bounds=(0, 1))),
        ({"log_uniform": [1e-4, 1]}, LogUniform(bounds=(1e-4, 1))),
        ({"int": [1, 9], "step": 2}, IntRange(bounds=(1, 9), step=2)),
        ({"choice": [[1, 2], {"a": None}, "x"]}, Choice(options=([1, 2], {"a": None}, "x"))),
        (0.1, Fixed(value=0.1)),
        ({"name": "adamw"}, Fixed(value={"name": "adamw"})),
    ],
)
def test_a_range_is_what_the_file_says(written: Any, meant: Any) -> None:
    assert TypeAdapter(RangeField).validate_python(written) == meant


def test_a_trial_gets_sampled_fixed_and_default_values_and_its_setting() -> None:
    cell = sweep(search={"training.optimiser.lr": {"uniform": [0.1, 1]}, "training.batch_size": 3}).cells[0]
    trial = cell.trial({"training.optimiser.lr": 0.5}, seed=7)
    assert trial.training.optimiser.lr == 0.5
    assert trial.training.batch_size == 3
    assert trial.training.steps == 40
    assert (trial.data.label_fraction, trial.data.temporal_length, trial.seed) == (0.5, 1, 7)


def test_a_strategy_searches_its_own_ranges_over_the_shared_ones() -> None:
    strategies = {
        "a": {"config": {"model": MODEL}, "search": {"training.optimiser.lr": {"uniform": [0.1, 0.2]}}}
    }
    assert sweep(strategies=strategies).cells[0].ranges == {
        "training.optimiser.lr": Uniform(bounds=(0.1, 0.2))
    }


@pytest.mark.parametrize(
    ("search", "trials"),
    [
        ({}, 1),
        ({"model.dropout": 0.1}, 1),
        ({"model.dropout": {"choice": [0.1, 0.2]}}, 2),
        ({"model.dropout": {"choice": [0.1, 0.2]}, "training.batch_size": {"int": [1, 9]}}, 5),
        ({"model.dropout": {"uniform": [0.1, 0.2]}}, 5),
    ],
)
def test_no_more_trials_are_run_than_there_are_configurations(search: dict[str, Any], trials: int) -> None:
    assert sweep(search=search, budget={"trials": 5}).cells[0].trials == trials


def test_a_strategy_may_have_its_own_budget_and_resources() -> None:
    own = {"config": {"model": MODEL}, "trials": 9, "resources": {"cpu": 2, "gpu": 0.25}}
    cells = {cell.strategy: cell for cell in sweep(strategies=SWEEP["strategies"] | {"own": own}).cells}
    assert (cells["own"].wanted_trials, cells["own"].resources.gpu) == (9, 0.25)
    assert (cells["utae"].wanted_trials, cells["utae"].resources.gpu) == (3, 0)
