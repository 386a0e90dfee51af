"""The schema by which editors check sweep files: it knows what `plan` knows of single fields."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from shapeft_tune.config.schema import sweep_schema
from shapeft_tune.config.yaml_file import read_yaml
from tests.config.examples import SWEEP
from tests.config.test_conditions import GROUP, TUNING

SEARCH_SPACES = Path(__file__).parents[2] / "search_spaces"
SHIPPED = sorted(SEARCH_SPACES.glob("*.yaml"))
VALIDATOR = Draft202012Validator(sweep_schema())


def mistakes(**changes: Any) -> list[str]:
    return [error.json_path for error in VALIDATOR.iter_errors(SWEEP | changes)]


def test_the_shipped_schema_is_the_one_that_the_code_has() -> None:
    shipped = json.loads((SEARCH_SPACES / "schema.json").read_text())
    assert shipped == sweep_schema(), "run: python -m shapeft_tune plan --schema > search_spaces/schema.json"
    Draft202012Validator.check_schema(shipped)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_shipped_file_names_the_schema_and_keeps_it(path: Path) -> None:
    assert path.read_text().splitlines()[0] == "# yaml-language-server: $schema=schema.json"
    assert [error.message for error in VALIDATOR.iter_errors(read_yaml(path).content)] == []


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"search": TUNING | GROUP | {"training.batch_size": {"grid": [1, 2]}, "training.loss": "focal"}},
        {"search": {"training.optimiser.lr": {"log_normal": {"median": 1, "factor": 2}, "default": 1.5}}},
        {
            "base": {
                "training": {"optimiser": "adamw", "steps": {"epochs": 3}},
                "data": {"augmentation": "none"},
            }
        },
        {"strategies": {"any": {"config": {"model": {"name": "timm:resnet18", "tuning": "scratch"}}}}},
        {"strategies": {"any": {"config": {"model": {"size": "large"}}, "trials": 3}}},
        {"optimisation": {"sampler": "random", "pruner": {"name": "patience"}}, "constraints": ["a < b"]},
    ],
)
def test_what_may_be_written_keeps_the_schema(changes: dict[str, Any]) -> None:
    assert mistakes(**changes) == []


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"colour": "red"}, "$"),
        ({"budget": {"trials": "many"}}, "$.budget.trials"),
        ({"base": {"trainin": {}}}, "$.base"),
        ({"base": {"training": {"batch_size": "big"}}}, "$.base.training.batch_size"),
        ({"base": {"training": {"optimiser": "adamm"}}}, "$.base.training.optimiser"),
        (
            {"base": {"training": {"optimiser": {"name": "adamw", "momentum": 0.9}}}},
            "$.base.training.optimiser",
        ),
        ({"strategies": {"a": {"config": {"model": {"name": "timm:"}}}}}, "$.strategies.a.config.model"),
        ({"search": {"training.optimizer.lr": {"uniform": [0, 1]}}}, "$.search['training.optimizer.lr']"),
        ({"search": {"training.optimiser.lr": {"unifrom": [0, 1]}}}, "$.search['training.optimiser.lr']"),
        ({"search": {"training.optimiser.lr": {"uniform": [0, "one"]}}}, "$.search['training.optimiser.lr']"),
        ({"search": {"data.folds": {"choice": [1, 2]}}}, "$.search['data.folds']"),
        ({"optimisation": {"sampler": {"name": "tpe", "population": 3}}}, "$.optimisation.sampler"),
    ],
)
def test_a_mistake_does_not(changes: dict[str, Any], place: str) -> None:
    assert any(path.startswith(place) for path in mistakes(**changes))


def test_editors_are_told_what_a_searched_field_means_and_what_it_is_by_default() -> None:
    fields = sweep_schema()["$defs"]["Ranges"]["properties"]
    assert fields["training.batch_size"]["description"] == "Patches per optimiser step."
    assert fields["training.batch_size"]["default"] == 8
    assert fields["model.tuning.encoder_lr_ratio"]["description"].startswith("finetune: Learning rate of the")
    assert "default" not in fields["model.tuning.encoder_lr_ratio"]  # each member has its own
