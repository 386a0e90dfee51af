"""How to get a report's numbers again: the commands, the sweep file, and every cell's configuration."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from shapeft_tune import __version__
from shapeft_tune.config import SweepConfig
from shapeft_tune.report.comparison.cells import best_search_run
from shapeft_tune.report.comparison.comparison import trials_by_cell
from shapeft_tune.report.comparison.seeds import confirmations_of
from shapeft_tune.report.runs import Run
from shapeft_tune.tracking.facts import Ending

PROGRAM = "python -m shapeft_tune"


@dataclass(frozen=True)
class Repeat:
    """One confirmation: the best configuration with another seed and, where folds rotate, other folds."""

    seed: int
    folds: Mapping[str, Any]
    """``data.folds`` of its configuration."""
    fingerprint: str
    test_miou: float | None
    """A fraction of 1; of these test folds alone."""

    @property
    def test_folds(self) -> str:
        """Those that it was scored on: ``5``."""
        return ",".join(map(str, self.folds["test"]))


@dataclass(frozen=True)
class Recipe:
    """What is needed to train a cell's best configuration again."""

    strategy: str
    label_fraction: float
    temporal_length: int
    config: Mapping[str, Any]
    """The best search trial's whole configuration; a repeat's has other ``seed`` and ``data.folds``."""
    fingerprint: str
    repeats: tuple[Repeat, ...]

    @property
    def name(self) -> str:
        """Of its cell, where an anchor is to have it: ``utae-labels0.1-dates6``."""
        return f"{self.strategy}-labels{self.label_fraction:g}-dates{self.temporal_length}"

    def file_of(self, repeat: Repeat) -> str:
        """Return the name of a file with a repeat's configuration: ``utae-labels0.1-dates6-seed1.json``."""
        several = len({each.test_folds for each in self.repeats}) > 1
        folds = f"-test{repeat.test_folds.replace(',', '+')}" if several else ""
        return f"{self.name}-seed{repeat.seed}{folds}.json"

    def config_of(self, repeat: Repeat) -> dict[str, Any]:
        """Return the whole configuration of a repeat."""
        data = {**self.config["data"], "folds": dict(repeat.folds)}
        return {**self.config, "data": data, "seed": repeat.seed}


@dataclass(frozen=True)
class Reproduction:
    """What a reader types to get the numbers again."""

    sweep: str
    """Its name in the sweep file, which is that of all its generations."""
    commands: tuple[str, ...]
    """That run the whole sweep and its report."""
    file: str = ""
    """The sweep file's content, as YAML, with nothing but what it sets."""
    recipes: tuple[Recipe, ...] = ()
    """Of the cells with a best configuration, in the sweep's order."""
    computed_with: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """What trials were computed with, by name (``device``, ``code_version``, ...): all values that occur."""


def reproduction_of(sweep: SweepConfig, runs: Iterable[Run]) -> Reproduction:
    """Return what it takes to get a sweep's numbers again."""
    found = trials_by_cell(sweep, runs)
    recipes = [
        Recipe(
            cell.strategy,
            cell.label_fraction,
            cell.temporal_length,
            best.facts.config,
            best.facts.fingerprint,
            tuple(map(_repeat, confirmations_of(best, trials))),
        )
        for cell, trials in found
        if (best := best_search_run(trials))
    ]
    trials = [run for _, of_cell in found for run in of_cell]
    return Reproduction(
        declared(sweep)["name"], commands_of(sweep), sweep_file(sweep), tuple(recipes), _computed_with(trials)
    )


def commands_of(sweep: SweepConfig) -> tuple[str, ...]:
    """Return the commands that run a sweep, once its file is saved, and report on it."""
    file = shlex.quote(f"{declared(sweep)['name']}.yaml")
    data = " --data FOLDER" if any(_needs_folder(cell.template) for cell in sweep.cells) else ""
    return (f"{PROGRAM} plan {file}", f"{PROGRAM} sweep {file}{data}", f"{PROGRAM} report {file}")


def train_commands(recipe: Recipe) -> tuple[str, ...]:
    """Return the commands that train and test each saved repeat; without any, the best search trial's own."""
    data = " --data FOLDER" if _needs_folder(recipe.config) else ""
    files = [recipe.file_of(repeat) for repeat in recipe.repeats] or [f"{recipe.name}.json"]
    return tuple(f"{PROGRAM} train {shlex.quote(file)}{data} --test" for file in files)


def sweep_file(sweep: SweepConfig) -> str:
    """Return a sweep as the YAML file that declares it."""
    import yaml

    return yaml.safe_dump(declared(sweep), sort_keys=False, allow_unicode=True, width=100)


def declared(sweep: SweepConfig) -> dict[str, Any]:
    """Return what a sweep's file says: of any generation, what starts it in a home that has none."""
    from shapeft_tune.tune.declared import as_declared  # here: it brings Optuna, which takes half a second

    return as_declared(sweep)


def config_text(config: Mapping[str, Any]) -> str:
    """Return a trial's configuration as a JSON file holds it."""
    return json.dumps(config, indent=2, allow_nan=False)


def _needs_folder(config: Mapping[str, Any]) -> bool:
    dataset = config.get("data", {}).get("dataset", {})
    return (dataset.get("name") if isinstance(dataset, Mapping) else dataset) != "sample"


def _repeat(run: Run) -> Repeat:
    folds = run.facts.config["data"]["folds"]
    return Repeat(run.facts.seed, folds, run.facts.fingerprint, run.score("test/miou"))


def _computed_with(runs: Sequence[Run]) -> dict[str, tuple[str, ...]]:
    """Return every value of what ended trials were computed with, and what their data amount to."""
    found: dict[str, set[str]] = {}
    for run in runs:
        if run.state not in tuple(Ending):
            continue
        digest = {"data digest": run.facts.data_digest} | dict(run.facts.contents)
        for name, value in ({**run.environment, **digest}).items():
            if value:
                found.setdefault(name, set()).add(value)
    versions_last = sorted(found, key=lambda name: name if name.startswith("version.") else "")
    return {"report written by": (f"shapeft_tune {__version__}",)} | {
        name: tuple(sorted(found[name])) for name in versions_last
    }
