"""Mistakes in search spaces, all told at once, each at its line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from shapeft_tune.config import load_sweep
from shapeft_tune.errors import ConfigError, Problem
from tests.config.examples import CROMA, MODEL, SWEEP, written
from tests.config.test_conditions import GROUP, RATIO, TUNING

FINETUNED = CROMA | {"tuning": {"mode": "finetune", "weights": "none"}}
LR = "training.optimiser.lr"


def problems(folder: Path, **changes: Any) -> dict[str, Problem]:
    strategies = {"frozen": {"config": {"model": CROMA}}, "finetune": {"config": {"model": FINETUNED}}}
    file = written(folder, SWEEP | {"strategies": strategies, "search": {}} | changes)
    with pytest.raises(ConfigError) as caught:
        load_sweep(file)
    assert all(problem.line for problem in caught.value.problems)
    return {problem.path: problem for problem in caught.value.problems}


def test_mistakes_in_sections_and_in_the_trials_they_make_are_told_in_one_go(tmp_path: Path) -> None:
    found = problems(
        tmp_path,
        budget={"trials": 0},
        colour="red",
        settings={"label_fractions": [2.0], "temporal_lengths": [1]},
        optimisation={"sampler": {"name": "tpe", "startup_trials": 0}},
        search={LR: {"log_uniform": [1, 0.1]}, "training.batch_size": {"int": [0, 4]}},
        constraints=["training.batch_size <"],
        base=SWEEP["base"] | {"training": {"stepz": 4}},
    )
    assert found.keys() == {
        "budget.trials",
        "colour",
        "settings.label_fractions.0",
        "optimisation.sampler.startup_trials",
        f"search.{LR}.log_uniform",
        "search.training.batch_size",
        "constraints.0",
        "base.training.stepz",
    }


def test_what_is_missing_only_because_a_faulty_range_was_taken_out_is_not_told(tmp_path: Path) -> None:
    bare = {"name": "croma_optical", "size": "small", "tuning": {"mode": "frozen"}}
    found = problems(
        tmp_path,
        strategies={"a": {"config": {"model": bare}, "search": {"model.tuning.weights": {"choice": []}}}},
    )
    assert [path.split(".choice")[0] for path in found] == ["strategies.a.search.model.tuning.weights"]
    misspelt = problems(
        tmp_path,
        strategies={
            "a": {"config": {"model": bare}, "serch": {"model.tuning.weights": {"choice": ["none"]}}}
        },
    )
    assert list(misspelt) == ["strategies.a.serch"]


def test_a_range_over_a_field_that_some_strategy_lacks_is_sent_to_a_condition(tmp_path: Path) -> None:
    ranged = {RATIO: {"uniform": [0.1, 0.2]}}
    (path, problem), *others = problems(tmp_path, search=ranged).items()
    assert (path, others) == (f"search.{RATIO}", [])
    assert "when: {model.tuning: [finetune, lora]}" in problem.hint
    load_sweep(
        written(tmp_path, SWEEP | {"strategies": {"a": {"config": {"model": FINETUNED}, "search": ranged}}})
    )


def test_a_shared_conditional_range_serves_the_strategies_where_it_holds(tmp_path: Path) -> None:
    ranged = {RATIO: TUNING[RATIO]}
    strategies = {"frozen": {"config": {"model": CROMA}}, "finetune": {"config": {"model": FINETUNED}}}
    sweep = load_sweep(written(tmp_path, SWEEP | {"strategies": strategies, "search": ranged}))
    assert {cell.strategy: cell.trials for cell in sweep.cells} == {"frozen": 1, "finetune": 3}


@pytest.mark.parametrize(
    ("search", "place", "expected"),
    [
        ({LR: {"uniform": [0.1, 1], "when": {"model.tunning": "x"}}}, f"{LR}.when.model.tunning", "a field"),
        ({LR: {"uniform": [0.1, 1], "when": {"model.tuning": "lora"}}}, f"{LR}.when", "holds in some trial"),
        ({LR: {"uniform": [0.1, 1], "when": {LR: 1}}}, f"{LR}.when", "do not wait for one another"),
        (GROUP | {LR: {"uniform": [0.1, 1]}}, LR, "one range or group only"),
        (GROUP | {"training.optimiser": {"choice": ["adamw", "sgd"]}}, "scale", "one range or group only"),
        ({"training.batch_size": GROUP["scale"]}, "training.batch_size", "a name of your own"),
        ({"free": {"one_of": [{"training.batchsize": 1}]}}, "free", "a field that trials have"),
        ({"free": {"one_of": [{"seed": 1}]}}, "free", "may differ in"),
        (
            {
                "training.optimiser": {"choice": [{"name": "adamw", "lr": 1}, "sgd"]},
                LR: {"uniform": [0.1, 1]},
            },
            LR,
            "one range or group only",
        ),
        (
            {
                "training.batch_size": {"grid": [2, 4], "when": {"training.optimiser": "sgd"}},
                "training.optimiser": {"choice": ["adamw", "sgd"]},
            },
            "training.batch_size.when",
            "fixed or in a grid",
        ),
    ],
)
def test_ranges_that_make_no_sense_together_are_refused(
    tmp_path: Path, search: dict[str, Any], place: str, expected: str
) -> None:
    found = problems(tmp_path, search=search)
    assert expected in found[f"search.{place}"].expected
    assert found[f"search.{place}"].line


def test_a_grid_that_is_larger_than_the_budget_is_refused_with_both_numbers(tmp_path: Path) -> None:
    search = {"training.batch_size": {"grid": [2, 4]}, "training.gradient_clip": {"grid": [0.5, 1.0]}}
    problem = problems(tmp_path, search=search)["budget.trials"]
    assert "at least 4" in problem.expected
    assert problem.got == "3"


@pytest.mark.parametrize("where", ["sweep", "strategy"])
def test_a_grid_without_end_is_refused_by_its_size_alone(tmp_path: Path, where: str) -> None:
    paths = [LR, "training.gradient_clip", "training.optimiser.weight_decay"]
    search = {path: {"grid": [(number + 1) / 1e4 for number in range(300)]} for path in paths}
    strategies = {"a": {"config": {"model": MODEL}, "search": search if where == "strategy" else {}}}
    shared = search if where == "sweep" else {}
    found = problems(tmp_path, search=shared, strategies=strategies)
    (path, problem), *others = found.items()
    assert (path.endswith(f"search.{LR}"), others) == (True, [])
    assert problem.expected.startswith("a grid of at most 10000 combinations")
    assert problem.got.startswith("27000000 of ")


def test_a_long_list_of_whole_numbers_is_not_written_out_for_a_full_grid(tmp_path: Path) -> None:
    search = {"training.batch_size": {"int": [1, 2**53]}}
    found = problems(tmp_path, search=search, optimisation={"sampler": "grid"})
    assert "at most 10000 combinations" in found["optimisation.sampler"].expected


@pytest.mark.parametrize(
    ("pruner", "place"),
    [
        ("medan", ""),
        ({"name": "median", "startup_trials": 0}, ".startup_trials"),
        ({"name": "hyperband", "min_stepz": 3}, ".min_stepz"),
        ({"min_steps": 3}, ""),
        ({"name": "patience", "tolerance": "x"}, ".tolerance"),
    ],
)
def test_a_mistake_in_the_pruner_is_one_problem(tmp_path: Path, pruner: Any, place: str) -> None:
    assert list(problems(tmp_path, optimisation={"pruner": pruner})) == [f"optimisation.pruner{place}"]


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"budget": {"trials": True}}, "budget.trials"),
        ({"resources": {"gpu": True}}, "resources.gpu"),
        ({"settings": {"label_fractions": [True], "temporal_lengths": [1]}}, "settings.label_fractions"),
        ({"search": {"training.batch_size": {"int": [True, 4]}}}, "search.training.batch_size.int"),
        ({"search": {"training.batch_size": {"choice": [True, 4]}}}, "search.training.batch_size"),
        ({"strategies": {"a": {"config": {"model": MODEL}, "trials": True}}}, "strategies.a.trials"),
    ],
)
def test_true_is_no_number(tmp_path: Path, changes: dict[str, Any], place: str) -> None:
    found = problems(tmp_path, **changes)
    assert list(found) == [place]
    assert found[place].expected == "a number"
    assert "true" in found[place].got.lower()


@pytest.mark.parametrize(
    ("budget", "most"), [({"trials": 10**400}, "1000000"), ({"confirmation_seeds": 10**9}, "1000")]
)
def test_a_budget_without_measure_is_refused(tmp_path: Path, budget: dict[str, int], most: str) -> None:
    (problem,) = problems(tmp_path, budget=budget).values()
    assert problem.expected == f"less than or equal to {most}"
    assert len(problem.got) <= 80


@pytest.mark.parametrize(
    ("written_", "place", "expected"),
    [
        ({"when": {"training.loss": "dice"}}, "", "a range beside `when`: one of uniform, log_uniform"),
        ({"uniform": [0, 1], "choice": [1]}, "", "one kind of range, not uniform and choice"),
        ({"log_uniform": 5}, ".log_uniform", "a list"),
        ({"log_normal": [1e-3, 3]}, ".log_normal", "a mapping"),
        ({"int": [1, 4], "step": 0}, ".step", "greater than or equal to 1"),
        ({"int": [1, 4], "when": "x"}, ".when", "a mapping"),
        (
            {"choice": [1, 2], "when": {"training.loss": {"a": 1}}},
            ".when.training.loss",
            "a value, or a list",
        ),
        ({"choice": []}, ".choice", "at least 1 item"),
        ({"choice": [1], "default": 2}, ".default", "one of [1]"),
    ],
)
def test_a_range_says_what_it_lacks_at_the_key_to_change(
    tmp_path: Path, written_: dict[str, Any], place: str, expected: str
) -> None:
    found = problems(tmp_path, search={LR: written_})
    assert list(found) == [f"search.{LR}{place}"]
    assert expected in found[f"search.{LR}{place}"].expected


def test_a_default_in_a_group_is_refused_and_a_bad_option_told_by_its_number(tmp_path: Path) -> None:
    options = {"one_of": [{"training.batch_size": 2}, {"training.batch_size": 4}]}
    found = problems(tmp_path, search={"g": options | {"default": 1}})
    assert "no default for a group" in found["search.g"].expected
    assert list(problems(tmp_path, search={"g": {"one_of": [{"training.batch_size": 2}, {}]}})) == [
        "search.g.one_of.1"
    ]


def test_what_is_empty_only_because_its_parts_were_taken_out_is_not_told(tmp_path: Path) -> None:
    assert list(problems(tmp_path, strategies={"a": None})) == ["strategies.a"]


def test_constraints_that_no_configuration_keeps_are_refused_at_their_line(tmp_path: Path) -> None:
    search = {LR: {"log_uniform": [1e-3, 1e-2]}}
    kept, broken = f"{LR} < 1", f"{LR} * training.batch_size > 1"
    found = problems(tmp_path, search=search, constraints=[kept, broken])
    assert list(found) == ["constraints.1"]
    assert broken in found["constraints.1"].got


def test_a_constraint_over_an_unknown_field_names_those_like_it(tmp_path: Path) -> None:
    found = problems(tmp_path, constraints=["training.optimizer.lr < 1"])
    assert LR in found["constraints.0"].hint


def test_corners_that_cannot_occur_are_not_judged(tmp_path: Path) -> None:
    search = {
        "training.schedule": {"choice": ["cosine", "multi_step"]},
        "training.schedule.milestones": {
            "choice": [[0.4, 0.9], [0.6, 0.9]],
            "when": {"training.schedule": "multi_step"},
        },
        "training.schedule.warmup": {"uniform": [0.0, 0.5]},
    }
    found = problems(tmp_path, search=search)
    assert "less than the first milestone (0.4)" in found["search.training.schedule.warmup"].expected
    kept = "training.schedule == 'cosine' or training.schedule.warmup < 0.4"
    content = {"search": search, "constraints": [kept], "strategies": {"a": {"config": {"model": MODEL}}}}
    load_sweep(written(tmp_path, SWEEP | content))
