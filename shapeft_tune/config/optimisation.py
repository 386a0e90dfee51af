"""How the next configuration of a cell is chosen, and a poor one stopped: Optuna's own ways, by name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from shapeft_tune.config.base import Frozen, Violation, named


class Tpe(Frozen):
    """Tree-structured Parzen estimator, multivariate, aware of running trials."""

    name: Literal["tpe"] = "tpe"
    startup_trials: int = Field(8, ge=1)
    """Random trials of a cell before the model of good and bad regions is trusted."""
    candidates: int = Field(24, ge=1)
    """Draws of which the most promising is taken."""


class Random(Frozen):
    """Independent draws."""

    name: Literal["random"] = "random"


class QuasiRandom(Frozen):
    """Draws that fill the space more evenly than random ones do; choices are drawn at random."""

    name: Literal["quasi_random"] = "quasi_random"
    sequence: Literal["sobol", "halton"] = "sobol"


class GaussianProcess(Frozen):
    """Bayesian optimisation with a Gaussian process: for few trials that cost much; asking takes seconds."""

    name: Literal["gaussian_process"] = "gaussian_process"
    startup_trials: int = Field(8, ge=1)
    """Random trials of a cell before the process is asked."""
    deterministic: bool = False
    """Whether to trust scores to be without noise."""


class CmaEs(Frozen):
    """Covariance matrix adaptation: for ranges of numbers without conditions, and many trials."""

    name: Literal["cma_es"] = "cma_es"
    startup_trials: int = Field(8, ge=1)
    """Random trials of a cell before the strategy begins."""
    population: int | None = Field(None, ge=3)
    """Trials of a generation; by default 4 + 3 ln(number of ranges)."""


class Grid(Frozen):
    """Every combination once; continuous ranges at evenly spaced points."""

    name: Literal["grid"] = "grid"
    points: int = Field(5, ge=2)
    """Values of a continuous range."""


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


class Hyperband(Frozen):
    """Successive halving with several first rungs at once, so that slow starters are not all stopped."""

    name: Literal["hyperband"] = "hyperband"
    min_steps: int = Field(100, ge=1)
    """Optimiser steps that every trial of the most eager bracket gets."""
    reduction: int = Field(3, ge=2)
    """One in this many goes on at each rung."""


class Patience(Frozen):
    """Stop a trial that has stayed below its own earlier best for a while."""

    name: Literal["patience"] = "patience"
    validations: int = Field(3, ge=1)
    """Validations below its earlier best that a trial is given."""
    tolerance: float = Field(0.0, ge=0)
    """How far below its earlier best it may stay, in mIoU."""


Sampler = Annotated[
    Tpe | Random | QuasiRandom | GaussianProcess | CmaEs | Grid, named(), Field(discriminator="name")
]
Pruner = Annotated[
    NoPruner | Median | SuccessiveHalving | Hyperband | Patience, Field(discriminator="name"), named()
]
"""The name is spelled out around the union that it tells apart: in an optional field the other order tries
every member, and tells of each why it is not the one."""


class Search(Frozen):
    """How the next configuration of a cell is chosen and a poor one stopped."""

    sampler: Sampler = Tpe()
    pruner: Pruner | None = None
    """By default ``median``, and ``none`` with two objectives."""
    objective: Literal["miou", "miou_and_cost"] = "miou"
    """``miou``: the best validation mIoU. ``miou_and_cost``: also few seconds of device time; the report has
    the front of what is best for its cost, and the best mIoU of it is confirmed."""
    neighbours: bool = True
    """Whether a cell tries what was best in neighbouring cells (next label fraction, next number of dates,
    same strategy) right after its default. Which have ended by then depends on the cluster's timing."""
    seed: int = Field(0, ge=0)
    """Seed of the samplers; trials have their own in ``base.seed``."""

    def rules(self) -> Iterator[Violation]:
        """Optuna prunes by one objective only, and CMA-ES knows but one."""
        if self.objective == "miou":
            return
        if self.pruner is not None and not isinstance(self.pruner, NoPruner):
            yield Violation("pruner", "none where the objective is miou_and_cost", self.pruner.name)
        if isinstance(self.sampler, CmaEs):
            yield Violation("sampler", "another one where the objective is miou_and_cost", "cma_es")

    @property
    def grid_points(self) -> int | None:
        """How many values of a continuous range a full grid has; None for any other search."""
        return self.sampler.points if isinstance(self.sampler, Grid) else None

    @property
    def stopping(self) -> Pruner:
        """The pruner, by default as the objective allows."""
        return self.pruner or (Median() if self.objective == "miou" else NoPruner())
