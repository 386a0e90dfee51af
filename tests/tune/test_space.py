from __future__ import annotations

from typing import Any

import optuna
import pytest

from shapeft_tune.tune.space import Space
from tests.tune.small import SMALL, small


def space(search: dict[str, Any], base: dict[str, Any] | None = None) -> Space:
    return Space(small(search=search, base=base or SMALL["base"]).cells[0])


@pytest.mark.parametrize(
    "options",
    [
        [1, 2, 3],
        ["a", "b"],
        [True, False],
        [None, 0.5],
        [[8, 8], [8, 16]],
        [{"name": "adamw", "lr": 0.1}, {"name": "sgd", "lr": 0.2}],
    ],
)
def test_a_choice_comes_back_from_optuna_as_it_was_written(options: list[Any]) -> None:
    searched = space({"field.of.some.kind": {"choice": options}})
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    drawn = [searched.values(study.ask(searched.distributions).params) for _ in range(20)]
    values = [value["field.of.some.kind"] for value in drawn]
    assert all(value in options for value in values)
    assert all(type(value) in {type(option) for option in options} for value in values)
    assert all(option in values for option in options)


def test_the_first_configuration_is_the_one_that_the_file_writes() -> None:
    search = {
        "training.optimiser.lr": {"log_uniform": [1e-3, 1e-2]},
        "training.batch_size": {"int": [1, 4]},
        "training.loss": {"choice": ["weighted_cross_entropy", "cross_entropy"]},
    }
    assert space(search).default() == {
        "training.optimiser.lr": 0.002,
        "training.batch_size": 2,
        "training.loss": "cross_entropy",
    }


def test_there_is_no_first_configuration_outside_the_ranges() -> None:
    assert space({"training.optimiser.lr": {"uniform": [0.5, 1.0]}}).default() is None


def test_all_combinations_of_a_finite_space_are_listed_once() -> None:
    searched = space({"training.batch_size": {"int": [1, 5], "step": 2}, "model.heads": {"choice": [1, 2]}})
    listed = [tuple(parameters.values()) for parameters in searched.combinations()]
    assert sorted(listed) == [(1, 1), (1, 2), (3, 1), (3, 2), (5, 1), (5, 2)]


def test_a_fixed_value_is_not_searched() -> None:
    assert not space({"training.batch_size": 3, "model.heads": {"choice": [2]}}).distributions
