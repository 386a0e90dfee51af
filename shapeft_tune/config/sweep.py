"""A sweep: strategies x settings, what is searched in each cell, and the budget, in one YAML file."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import Field

from shapeft_tune.config.base import Frozen, Violation
from shapeft_tune.config.budget import MOST_TRIALS, Budget
from shapeft_tune.config.cell import Cell, beyond_cma_es, beyond_grid, cannot_rotate
from shapeft_tune.config.data import FOLDS
from shapeft_tune.config.merge import merged
from shapeft_tune.config.optimisation import Search
from shapeft_tune.config.ranges import RangeField
from shapeft_tune.config.resources import Resources

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


class Strategy(Frozen):
    """A model and a way to tune it: what is fixed, and what is searched."""

    config: dict[str, Any] = Field(default_factory=dict)
    """Part of a ``TrialConfig``, laid over ``base``. What it has for searched fields is tried first where it
    lies within the ranges and keeps the constraints."""
    search: dict[str, RangeField] = Field(default_factory=dict)
    """Ranges by dotted path into ``TrialConfig``, laid over the sweep's own ``search``."""
    constraints: tuple[str, ...] = ()
    """As the sweep's own, which hold as well."""
    trials: int | None = Field(None, ge=1, le=MOST_TRIALS)
    """Search trials per cell of this strategy; by default the budget's."""
    resources: Resources | None = None
    """By default the sweep's."""


OWN_FOLDERS = ("artifacts", "facts", "mlflow.db", "samples", "single", "weights")
"""What the home holds beside the sweeps' folders."""


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
    constraints: tuple[str, ...] = ()
    """What must hold between the values of every trial: ``training.batch_size * training.steps <= 20000``."""
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
        """The folder is none of the home's own, folds can rotate, and the sampler suits the ranges."""
        if self.name in OWN_FOLDERS:
            yield Violation("name", f"none of the home's own folders {list(OWN_FOLDERS)}", self.name)
        if self.folds == "rotate":
            first_cells = {cell.strategy: cell for cell in reversed(self.cells)}
            for cell in first_cells.values():  # settings make no difference to folds
                yield from dict.fromkeys(cannot_rotate(cell))
        beyond = {"cma_es": beyond_cma_es, "grid": beyond_grid}.get(self.optimisation.sampler.name)
        if beyond:
            for cell in {cell.strategy: cell for cell in self.cells}.values():  # nor to what is searched
                yield from beyond(cell)

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
            constraints=self.constraints + strategy.constraints,
            rotations=FOLDS if self.folds == "rotate" else 1,
            grid_points=self.optimisation.grid_points,
        )
