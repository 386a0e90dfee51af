from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from shapeft_tune.config import SweepConfig, load_sweep, load_trial
from shapeft_tune.config.data import Folds
from shapeft_tune.config.ranges import Choice, Fixed, IntRange, LogUniform, RangeField, Uniform
from shapeft_tune.errors import ConfigError, Problem
from tests.config.examples import MODEL, SWEEP, TRIAL, written


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


def folds_of(*assignment: tuple[int, ...]) -> Folds:
    train, validation, test = assignment
    return Folds(train=train, validation=validation, test=test)


def test_folds_rotate_in_the_order_of_the_original() -> None:
    assert [Folds().rotated(by) for by in range(5)] == [
        folds_of((1, 2, 3), (4,), (5,)),
        folds_of((2, 3, 4), (5,), (1,)),
        folds_of((3, 4, 5), (1,), (2,)),
        folds_of((4, 5, 1), (2,), (3,)),
        folds_of((5, 1, 2), (3,), (4,)),
    ]


@pytest.mark.parametrize("folds", [folds_of((3,), (1, 2), (4,)), folds_of((2, 5), (4,), (1,))])
def test_any_assignment_with_one_test_fold_tests_every_fold_once(folds: Folds) -> None:
    rotations = [folds.rotated(by) for by in range(5)]
    assert sorted(each.test[0] for each in rotations) == [1, 2, 3, 4, 5]
    assert rotations[0] == folds
    assert folds.rotated(5) == folds


def test_a_rotated_trial_differs_in_its_folds_alone() -> None:
    cell = sweep(folds="rotate").cells[0]
    trial, rotated = cell.trial(seed=3), cell.trial(seed=3, rotation=1)
    assert rotated.data.folds == trial.data.folds.rotated(1)
    data = rotated.data.model_copy(update={"folds": trial.data.folds})
    assert rotated.model_copy(update={"data": data}) == trial


def test_cells_rotate_only_where_the_file_says_so() -> None:
    assert {cell.rotations for cell in sweep().cells} == {1}
    assert {cell.rotations for cell in sweep(folds="rotate").cells} == {5}


def only_problem(path: Path) -> Problem:
    with pytest.raises(ConfigError) as caught:
        load_sweep(path)
    (problem,) = caught.value.problems
    return problem


def test_rotation_with_two_test_folds_is_refused_where_the_file_asks_for_it(tmp_path: Path) -> None:
    data = {"dataset": "sample", "folds": {"train": [1, 2], "validation": [3], "test": [4, 5]}}
    content = SWEEP | {"base": SWEEP["base"] | {"data": data}}
    load_sweep(written(tmp_path, content))
    problem = only_problem(written(tmp_path, content | {"folds": "rotate"}))
    assert problem.path == "folds"
    assert problem.line is not None
    assert "one test fold" in problem.expected
    assert "[4, 5] in utae" in problem.got


@pytest.mark.parametrize("searched", [False, True])
def test_rotation_with_weights_that_have_seen_folds_is_refused_before_anything_starts(
    tmp_path: Path, searched: bool
) -> None:
    tuning: dict[str, Any] = {"mode": "finetune", "weights": "none"}
    published = "Fold_1/model.pth.tar"
    search: dict[str, Any] = SWEEP["search"]
    if searched:  # as the second option of a choice beside another choice
        search = search | {
            "model.tuning.encoder_lr_ratio": {"choice": [0.1, 1.0]},
            "model.tuning.weights": {"choice": ["none", published]},
        }
    else:
        tuning["weights"] = published
    strategies = {"utae": {"config": {"model": MODEL | {"tuning": tuning}}}}
    content = SWEEP | {"strategies": strategies, "search": search}
    load_sweep(written(tmp_path, content))
    problem = only_problem(written(tmp_path, content | {"folds": "rotate"}))
    assert problem.path == "folds"
    assert problem.expected == "fixed: the pretrained weights of utae have seen folds [1, 2, 3]"


def test_rotation_in_the_place_of_a_trials_folds_is_sent_to_the_top_of_the_file(tmp_path: Path) -> None:
    data = {"dataset": "sample", "folds": "rotate"}
    problem = only_problem(written(tmp_path, SWEEP | {"base": SWEEP["base"] | {"data": data}}))
    assert (problem.path, problem.got) == ("base.data.folds", "'rotate'")
    assert "`folds: rotate` stands at the top of a sweep file" in problem.expected
    with pytest.raises(ConfigError, match=r"data.folds .*top of a sweep file"):
        load_trial(written(tmp_path, TRIAL | {"data": data}))
