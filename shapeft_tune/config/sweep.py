"""A sweep: strategies x settings, what is searched in each cell, and the budget, in one YAML file."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from shapeft_tune.config.base import Frozen, Violation, named
from shapeft_tune.config.data import FOLDS
from shapeft_tune.config.merge import merged, with_values
from shapeft_tune.config.ranges import Choice, Range, RangeField
from shapeft_tune.config.trial import TrialConfig

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
"""Letters, digits, ``_``, ``.`` and ``-``: it becomes a folder, a study and an experiment."""


class Settings(Frozen):
    """The grid of label availability and temporal resolution; every strategy is tuned in every one."""

    label_fractions: tuple[Annotated[float, Field(gt=0, le=1)], ...] = Field(min_length=1)
    temporal_lengths: tuple[Annotated[int, Field(ge=1)], ...] = Field(min_length=1)

    def rules(self) -> Iterator[Violation]:
        """No setting twice."""
        for name in ("label_fractions", "temporal_lengths"):
            values = getattr(self, name)
            if len(set(values)) < len(values):
                yield Violation(name, "different values", str(list(values)))


class Resources(Frozen):
    """What one trial takes of the cluster."""

    cpu: float = Field(1.0, gt=0)
    """CPU cores; may be a fraction."""
    gpu: float = Field(0.0, ge=0, le=1)
    """Share of a GPU: 0.25 lets four trials share one; a trial computes on one at most."""

    def rules(self) -> Iterator[Violation]:
        """Ray gives fractions of one CPU or whole ones."""
        if self.cpu > 1 and self.cpu != int(self.cpu):
            yield Violation("cpu", "a fraction below 1 or a whole number", str(self.cpu))


class Strategy(Frozen):
    """A model and a way to tune it: what is fixed, and what is searched."""

    config: dict[str, Any] = Field(default_factory=dict)
    """Part of a ``TrialConfig``, laid over ``base``. A searched field's value here is the first one tried."""
    search: dict[str, RangeField] = Field(default_factory=dict)
    """Ranges by dotted path into ``TrialConfig``, laid over the sweep's own ``search``."""
    trials: int | None = Field(None, ge=1)
    """Search trials per cell of this strategy; by default the budget's."""
    resources: Resources | None = None
    """By default the sweep's."""


class Budget(Frozen):
    """How much is spent on each cell."""

    trials: int = Field(20, ge=1)
    """Search trials per cell, pruned and failed ones included."""
    confirmation_seeds: int = Field(3, ge=0)
    """The best configuration again with this many other seeds, scored on the test folds; 0 for none. With
    ``folds: rotate`` each of them is five trials."""


class Tpe(Frozen):
    """Tree-structured Parzen estimator, multivariate, aware of running trials."""

    name: Literal["tpe"] = "tpe"
    startup_trials: int = Field(8, ge=1)
    """Random trials of a cell before the model of good and bad regions is trusted."""


class Random(Frozen):
    """Independent draws."""

    name: Literal["random"] = "random"


class NoPruner(Frozen):
    """Every trial runs to its end."""

    name: Literal["none"] = "none"


class Median(Frozen):
    """Stop a trial that is below the median of its cell at the same step."""

    name: Literal["median"] = "median"
    startup_trials: int = Field(4, ge=1)
    """Trials of the cell that must have ended first."""
    warmup_steps: int = Field(0, ge=0)
    """Optimiser steps before any trial is stopped."""


class SuccessiveHalving(Frozen):
    """Asynchronous successive halving within the cell."""

    name: Literal["successive_halving"] = "successive_halving"
    min_steps: int = Field(100, ge=1)
    """Optimiser steps that every trial gets."""
    reduction: int = Field(3, ge=2)
    """One in this many goes on at each rung."""


class Search(Frozen):
    """How the next configuration of a cell is chosen and a poor one stopped."""

    sampler: Annotated[Tpe | Random, named(), Field(discriminator="name")] = Tpe()
    pruner: Annotated[NoPruner | Median | SuccessiveHalving, named(), Field(discriminator="name")] = Median()
    seed: int = Field(0, ge=0)
    """Seed of the samplers; trials have their own in ``base.seed``."""


OWN_FOLDERS = ("artifacts", "facts", "mlflow.db", "samples", "single", "weights")
"""What the home holds beside the sweeps' folders."""

MOST_CHOICES = 256
"""Combinations of choices that are tried for what they say of folds."""


class SweepConfig(Frozen):
    """One sweep file."""

    name: Name
    """Names the folder inside the home, the studies in the ledger and the experiment in MLflow."""
    question: str = ""
    """What the sweep is to answer; shown in the report."""
    base: dict[str, Any] = Field(default_factory=dict)
    """Part of a ``TrialConfig`` that all strategies share."""
    search: dict[str, RangeField] = Field(default_factory=dict)
    """Ranges by dotted path that all strategies share."""
    settings: Settings
    strategies: dict[Name, Strategy] = Field(min_length=1)
    budget: Budget = Budget()
    folds: Literal["fixed", "rotate"] = "fixed"
    """``fixed``: every trial has the folds of ``data.folds``. ``rotate``: so have the search trials, but each
    confirmation seed is trained five times, all folds one further each time, so that every fold is tested
    once; its score is that of the five confusion matrices' sum. The search has seen the labels of its own
    training and validation folds when these are tested in turn: only ``fixed`` tests on a fold that nothing
    was chosen by."""
    optimisation: Search = Search()
    resources: Resources = Resources()

    def rules(self) -> Iterator[Violation]:
        """The sweep's folder is not one of the home's own; folds can rotate where they are to."""
        if self.name in OWN_FOLDERS:
            yield Violation("name", f"none of the home's own folders {list(OWN_FOLDERS)}", self.name)
        if self.folds == "rotate":
            first_cells = {cell.strategy: cell for cell in reversed(self.cells)}
            for cell in first_cells.values():  # settings make no difference to folds
                yield from dict.fromkeys(_cannot_rotate(cell))

    @cached_property
    def cells(self) -> tuple[Cell, ...]:
        """Every cell, cheap ones first: few dates, then few labels."""
        grid = itertools.product(
            sorted(self.settings.temporal_lengths), sorted(self.settings.label_fractions), self.strategies
        )
        return tuple(self._cell(name, fraction, length) for length, fraction, name in grid)

    def _cell(self, name: str, fraction: float, length: int) -> Cell:
        strategy = self.strategies[name]
        setting = {"data": {"label_fraction": fraction, "temporal_length": length}}
        return Cell(
            strategy=name,
            label_fraction=fraction,
            temporal_length=length,
            template=merged(merged(self.base, strategy.config), setting),
            ranges=self.search | strategy.search,
            wanted_trials=strategy.trials or self.budget.trials,
            resources=strategy.resources or self.resources,
            rotations=FOLDS if self.folds == "rotate" else 1,
        )


@dataclass(frozen=True)
class Cell:
    """One strategy in one setting: the unit in which hyperparameters are tuned and results compared."""

    strategy: str
    label_fraction: float
    temporal_length: int
    template: Mapping[str, Any]
    ranges: Mapping[str, Range]
    wanted_trials: int
    resources: Resources
    rotations: int = 1
    """Confirmation trials of one seed, each with the folds one further than the one before."""

    @property
    def key(self) -> str:
        """A readable name, unique in the sweep: ``utae/labels=0.1/dates=6``."""
        return f"{self.strategy}/labels={self.label_fraction:g}/dates={self.temporal_length}"

    @property
    def trials(self) -> int:
        """Search trials to run: what was asked for, or fewer where the ranges hold fewer configurations."""
        size = math.prod(range_.count for range_ in self.ranges.values())
        return int(min(self.wanted_trials, size))

    @property
    def first_corners(self) -> dict[str, Any]:
        """One value for every searched field: a trial to judge the cell by where any will do."""
        return {path: range_.corners[0] for path, range_ in self.ranges.items()}

    def draft(self, values: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Return the unchecked trial with these values; other fields keep the template's."""
        fixed = {path: range_.corners[0] for path, range_ in self.ranges.items() if range_.count == 1}
        return with_values(self.template, fixed | dict(values or {}))

    def trial(
        self, values: Mapping[str, Any] | None = None, seed: int | None = None, rotation: int = 0
    ) -> TrialConfig:
        """Build the trial with these values for searched fields.

        Args:
            values: value by dotted path; fields left out keep the template's value.
            seed: replaces the template's.
            rotation: how many places every fold of the template is moved on.

        Raises:
            pydantic.ValidationError: the values do not make a valid trial.
        """
        draft = self.draft(values)
        trial = TrialConfig.model_validate(draft if seed is None else draft | {"seed": seed})
        if rotation == 0:
            return trial
        data = trial.data.model_copy(update={"folds": trial.data.folds.rotated(rotation)})
        return TrialConfig.model_validate(dict(trial) | {"data": data})  # judged anew: weights know folds


def _cannot_rotate(cell: Cell) -> Iterator[Violation]:
    """Yield why the folds of a strategy must stay fixed; a trial that is broken otherwise is not judged."""
    for values in _combined_choices(cell):
        try:
            trial = cell.trial(values)
        except ValidationError:
            continue
        test, seen = trial.data.folds.test, sorted(trial.model.seen_folds)
        if len(test) != 1:
            expected = "fixed, or one test fold: rotation tests every fold once"
            yield Violation("folds", expected, f"rotate, with test folds {list(test)} in {cell.strategy}")
        if seen:
            expected = f"fixed: the pretrained weights of {cell.strategy} have seen folds {seen}"
            yield Violation("folds", expected, "rotate, which tests on them too")


def _combined_choices(cell: Cell) -> Iterator[dict[str, Any]]:
    """Yield values for all searched fields; among them, weights and folds can depend on choices alone."""
    choices = {path: range_.options for path, range_ in cell.ranges.items() if isinstance(range_, Choice)}
    for combination in itertools.islice(itertools.product(*choices.values()), MOST_CHOICES):
        yield cell.first_corners | dict(zip(choices, combination, strict=True))
