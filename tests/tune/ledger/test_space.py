from __future__ import annotations

import json
from typing import Any

import optuna
import pytest

from shapeft_tune.config.merge import value_at
from shapeft_tune.tune.ledger.space import Space
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


FROZEN, FINETUNE = ({"mode": mode, "weights": "none"} for mode in ("frozen", "finetune"))
RATIO = "model.tuning.encoder_lr_ratio"
CROMA = {"name": "croma_optical", "size": "small", "tuning": FINETUNE | {"encoder_lr_ratio": 0.3}}
BRANCHES: dict[str, Any] = {
    RATIO: {"log_uniform": [1e-2, 1.0], "when": {"model.tuning": "finetune"}},
    "model.tuning": {"choice": [FROZEN, FINETUNE]},
    "training.optimiser.lr": {"log_normal": {"median": 1e-3, "factor": 3}},
    "scale": {
        "one_of": [{"training.batch_size": 2}, {"training.batch_size": 4, "training.gradient_clip": 2}]
    },
    "training.loss": {"grid": ["cross_entropy", "dice", {"name": "focal", "gamma": 1}]},
    "training.optimiser.weight_decay": {"uniform": [0.0, 0.1], "default": 0.05},
}


def branches(constraints: list[str] | None = None, **changes: Any) -> Space:
    strategies = {"croma": {"config": {"model": CROMA}}}
    content = {"strategies": strategies, "search": BRANCHES, "constraints": constraints or []} | changes
    return Space(small(**content).cells[0])


def test_every_sampler_can_ask_for_a_branching_space_and_gets_trials() -> None:
    searched = branches()
    assert searched.conditional
    for sampler in (optuna.samplers.TPESampler(seed=0, group=True), optuna.samplers.RandomSampler(seed=0)):
        study = optuna.create_study(sampler=sampler)
        for _ in range(15):
            trial = study.ask()
            for name, distribution in searched.distributions.items():
                if searched.is_active(name, trial.params):
                    trial._suggest(name, distribution)
            assert searched.is_whole(trial.params)
            assert searched.allows(trial.params)
            study.tell(trial, len(trial.params))


def test_parameters_come_back_from_the_values_of_any_allowed_trial() -> None:
    searched = branches()
    for parameters, _ in zip(searched.draws(3), range(50), strict=False):
        values = searched.values(parameters)
        assert "scale" not in values
        assert searched.values(searched.parameters(values) or {}) == values
        recorded = searched._cell.trial(values).canonical()  # as MLflow gives them back: defaults written out
        from_record = {path: value_at(recorded, path) for path in values}
        assert searched.values(searched.parameters(from_record) or {}) == values


def test_values_outside_the_ranges_have_no_parameters() -> None:
    searched = branches()
    values = searched.values(next(searched.draws(0)))
    assert searched.parameters(values | {"training.batch_size": 3}) is None
    assert searched.parameters(values | {"training.optimiser.weight_decay": 0.2}) is None
    assert searched.parameters({}) is None
    assert searched.parameters(values | {"model.input": "whole"}) == searched.parameters(values)


def test_parameters_of_an_inactive_range_make_a_trial_not_whole_and_reach_no_trial() -> None:
    searched = branches()
    frozen = next(each for each in searched.draws(0) if RATIO not in each)
    assert searched.is_whole(frozen)
    assert not searched.is_whole(frozen | {RATIO: 0.1})
    assert not searched.is_whole({})
    assert RATIO not in searched.values(frozen | {RATIO: 0.1})
    assert space({}).is_whole({})


def test_the_default_is_taken_from_the_range_the_median_the_file_and_the_first_option() -> None:
    searched = branches()
    default = searched.default()
    assert default is not None
    assert searched.values(default) == {
        "model.tuning": FINETUNE,
        RATIO: 0.3,
        "training.optimiser.lr": 1e-3,
        "training.batch_size": 2,
        "training.loss": "cross_entropy",
        "training.optimiser.weight_decay": 0.05,
    }
    assert branches(["training.optimiser.weight_decay != 0.05"]).default() is None


def test_draws_keep_the_constraints_and_repeat_with_their_seed() -> None:
    searched = branches([f"{RATIO} * training.optimiser.lr <= 1e-4"])
    first, again = ([each for each, _ in zip(searched.draws(1), range(30), strict=False)] for _ in range(2))
    assert first == again
    assert any(RATIO in each for each in first)
    for each in first:
        values = searched.values(each)
        assert values.get(RATIO, 0) * values["training.optimiser.lr"] <= 1e-4


def test_draws_end_where_nothing_is_allowed() -> None:
    impossible = Space(
        small(search={"training.batch_size": {"choice": [1, 2]}}, constraints=["training.steps < 2"]).cells[0]
    )
    assert list(impossible.draws(0)) == []
    assert list(impossible.combinations()) == []


def test_combinations_are_whole_and_keep_the_constraints() -> None:
    search = {
        "training.batch_size": {"choice": [1, 2], "when": {"training.optimiser": "sgd"}},
        "training.optimiser": {"choice": ["adamw", "sgd"]},
        "model.heads": {"choice": [1, 2]},
    }
    kept = "training.optimiser == 'adamw' or model.heads == 2"
    searched = Space(small(search=search, constraints=[kept], budget={"trials": 50}).cells[0])
    found = list(searched.combinations())
    assert len(found) == searched._cell.trials == 4
    assert all(map(searched.is_whole, found))


def test_the_grids_combinations_take_turns() -> None:
    search = {
        "training.batch_size": {"grid": [1, 2]},
        "model.heads": {"grid": [1, 2]},
        "training.optimiser.lr": {"uniform": [0.1, 1]},
    }
    searched = Space(small(search=search).cells[0])
    seen: list[dict[str, Any]] = []
    for _ in range(6):
        seen.append(searched.grid_turns(seen)[0] | {"training.optimiser.lr": 0.5})
    pairs = [(each["training.batch_size"], each["model.heads"]) for each in seen]
    assert pairs == [(1, 1), (1, 2), (2, 1), (2, 2), (1, 1), (1, 2)]
    assert searched.grid_turns(seen[1:])[0] == {"training.batch_size": 1, "model.heads": 1}
    assert len(searched.grid_turns(seen)) == 4
    assert space({}).grid_turns([]) == [{}]


def test_combinations_and_draws_can_be_had_with_some_parameters_given() -> None:
    given = {"training.loss": json.dumps({"name": "focal", "gamma": 1}), "training.batch_size": 2}
    finite = space({"training.loss": BRANCHES["training.loss"], "training.batch_size": {"int": [1, 3]}})
    assert list(finite.combinations(given)) == [given]
    loss = {"training.loss": given["training.loss"]}
    drawn = [each for each, _ in zip(branches().draws(0, loss), range(20), strict=False)]
    assert all(loss.items() <= each.items() for each in drawn)
    assert len({each["training.optimiser.lr"] for each in drawn}) == 20


def test_a_full_grid_has_points_spread_over_every_continuous_range() -> None:
    grid = {"sampler": {"name": "grid", "points": 3}}
    searched = branches(optimisation=grid, budget={"trials": 500})
    assert searched.finite
    assert not branches().finite
    listed = list(searched.combinations())
    assert len(listed) == searched._cell.trials == (3 + 1) * 3 * 2 * 3 * 3  # the ratio: where it is searched
    rates = sorted({each["training.optimiser.lr"] for each in listed})
    assert rates == pytest.approx([0.001, 0.5, 0.999], abs=1e-6)  # values have six digits
    assert all(map(searched.is_whole, listed[::20]))
