"""Ranges that are searched in some trials only, groups, constraints and grids: which trials a cell makes."""

from __future__ import annotations

from typing import Any

import pytest

from shapeft_tune.config import Cell, SweepConfig
from shapeft_tune.config.corners import corner_values
from shapeft_tune.config.fields import known_fields, look_up
from shapeft_tune.config.merge import value_at
from tests.config.examples import CROMA, MODEL, SWEEP

FROZEN = {"mode": "frozen", "weights": "none"}
FINETUNE = {"mode": "finetune", "weights": "none"}
RATIO = "model.tuning.encoder_lr_ratio"
TUNING: dict[str, Any] = {
    RATIO: {"log_uniform": [1e-3, 1.0], "when": {"model.tuning": "finetune"}},
    "model.tuning": {"choice": [FROZEN, FINETUNE]},
}


def cell(search: dict[str, Any], **changes: Any) -> Cell:
    strategies = {"croma": {"config": {"model": CROMA}}}
    content = SWEEP | {"strategies": strategies, "search": search} | changes
    return SweepConfig.model_validate(content).cells[0]


def test_a_field_that_only_one_option_has_is_searched_with_that_option() -> None:
    tried = list(corner_values(cell(TUNING)))
    assert {RATIO in values for values in tried} == {True, False}
    for values in tried:
        assert (RATIO in values) == (values["model.tuning"]["mode"] == "finetune")
        assert cell(TUNING).trial(values).model.tuning.mode == values["model.tuning"]["mode"]


@pytest.mark.parametrize(
    ("when", "active"),
    [
        ({"model.tuning": "frozen"}, True),
        ({"model.tuning.mode": "frozen"}, True),
        ({"model.tuning": ["lora", "frozen"]}, True),
        ({"model.tuning": ["lora", "finetune"]}, False),
        ({"training.loss": "cross_entropy"}, True),  # a default that nobody wrote
        ({"training.gradient_clip": 1.0, "model.tuning": "frozen"}, True),
        ({"training.gradient_clip": 2.0, "model.tuning": "frozen"}, False),
        ({"training.gradient_clip": None}, False),
    ],
)
def test_a_condition_compares_names_values_and_defaults(when: dict[str, Any], active: bool) -> None:
    searched = cell({"training.batch_size": {"choice": [1, 2], "when": when}})
    assert searched.axes.is_active("training.batch_size", {}) is active


def test_a_condition_may_wait_for_another_condition_in_any_order_of_the_file() -> None:
    search = {
        "training.batch_size": {"choice": [2, 4], "when": {"training.schedule": "multi_step"}},
        "training.schedule": {"choice": ["cosine", "multi_step"], "when": {"training.optimiser": "sgd"}},
        "training.optimiser": {"choice": ["adamw", "sgd"]},
    }
    searched = cell(search, budget={"trials": 50})
    assert searched.axes.order == ("training.optimiser", "training.schedule", "training.batch_size")
    assert searched.trials == 4  # adamw; sgd with cosine; sgd with multi_step and either batch
    assert len(list(corner_values(searched))) > 4


def test_a_plain_value_may_have_a_condition_too() -> None:
    search = {
        "training.optimiser": {"choice": ["adamw", "sgd"]},
        "training.gradient_clip": {"value": 0.5, "when": {"training.optimiser": "sgd"}},
    }
    clips = [
        cell(search).trial({"training.optimiser": name}).training.gradient_clip for name in ("adamw", "sgd")
    ]
    assert clips == [1.0, 0.5]


GROUP: dict[str, Any] = {
    "scale": {
        "one_of": [
            {"training.batch_size": 4, "training.optimiser.lr": 1e-3},
            {"training": {"batch_size": 16, "optimiser": {"lr": 4e-3}}},
            {"training": {"batch_size": 2, "schedule": {"name": "multi_step", "gamma": 0.5}}},
        ]
    }
}


def test_a_group_sets_plain_fields_and_replaces_named_sections_whole() -> None:
    searched = cell(GROUP, budget={"trials": 9})
    made = [searched.trial(values).training for values in searched.option_values()]
    assert [(each.batch_size, each.optimiser.lr) for each in made] == [(4, 1e-3), (16, 4e-3), (2, 2e-3)]
    assert made[2].schedule.model_dump()["gamma"] == 0.5
    assert searched.trials == 3
    assert "scale" not in searched.first_corners


@pytest.mark.parametrize(
    ("constraints", "trials"),
    [
        ([], 4),
        (["training.batch_size * training.steps <= 80"], 2),
        (["training.batch_size >= 4 or training.gradient_clip < 1", "training.steps == 40"], 3),
        ([f"{RATIO} < 0"], 4),  # of a frozen encoder there is no such rate
    ],
)
def test_only_configurations_that_keep_the_constraints_are_counted_and_judged(
    constraints: list[str], trials: int
) -> None:
    search = {"training.batch_size": {"choice": [2, 4]}, "training.gradient_clip": {"choice": [0.5, 1.0]}}
    searched = cell(search, constraints=constraints, budget={"trials": 50})
    assert searched.trials == trials
    assert all(map(searched.keeps_constraints, corner_values(searched)))


def test_a_range_without_end_in_one_branch_is_enough_for_any_number_of_trials() -> None:
    assert cell(TUNING, budget={"trials": 500}).trials == 500
    never = cell(TUNING, budget={"trials": 500}, constraints=[f"{RATIO} < 0"])
    assert never.trials == 1  # only the frozen one keeps it


def test_a_grid_is_the_combinations_that_can_occur() -> None:
    search = {
        "training.batch_size": {"grid": [2, 4, 8]},
        "training.gradient_clip": {"grid": [0.5, 1.0]},
        "training.optimiser.lr": {"log_uniform": [1e-4, 1e-2]},
    }
    limited = cell(search, constraints=["training.batch_size * training.gradient_clip <= 4"])
    pairs = [tuple(picks.values()) for picks in limited.grid_combinations]
    assert pairs == [(2, 0.5), (2, 1.0), (4, 0.5), (4, 1.0), (8, 0.5)]


@pytest.mark.parametrize("model", [MODEL, CROMA, {"name": "timm:resnet18", "tuning": "scratch"}])
def test_a_field_of_a_draft_is_what_the_finished_trial_has_there(model: dict[str, Any]) -> None:
    strategies = {"any": {"config": {"model": model, "data": {"augmentation": "none"}}}}
    searched = SweepConfig.model_validate(SWEEP | {"strategies": strategies, "search": {}}).cells[0]
    finished = searched.trial().canonical()
    compared = 0
    for path in known_fields():
        there = look_up(searched.template, path)
        if value_at(finished, path) is not None and not isinstance(value_at(finished, path), dict):
            assert there == value_at(finished, path), path
            compared += 1
    assert compared > 30
