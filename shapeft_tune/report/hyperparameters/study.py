"""The search of each strategy, cell by cell: what was tried, in which order, and what came of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import TYPE_CHECKING, Any

from shapeft_tune.config import Cell, SweepConfig
from shapeft_tune.config.protocol import Role
from shapeft_tune.report.comparison.cells import best_search_run
from shapeft_tune.report.comparison.comparison import trials_by_cell
from shapeft_tune.report.hyperparameters.fields import SearchedField, fields_of
from shapeft_tune.report.hyperparameters.importances import (
    Scored,
    chance_levels,
    importances_of,
    mean_importances,
    predictability,
)
from shapeft_tune.report.runs import Run
from shapeft_tune.tracking.facts import Ending

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution


PREDICTABLE = 0.1
"""Share of the variance of unseen trials' scores below which no searched field is said to matter. Of random
scores it was -0.4 in the mean over nine simulated cells, of scores that a field decides 0.7 to 0.8."""


@dataclass(frozen=True)
class SearchTrial:
    """One search trial that ended."""

    values: Mapping[str, Any]
    """The searched values, by dotted path; those of a condition that does not hold are not there."""
    val_miou: float | None
    """Best on the validation folds, a fraction of 1; None where there was no validation. Of a trial that was
    pruned or failed and whose best is not recorded, the last."""
    state: str
    """An ``Ending``."""
    steps: float | None
    """Optimiser steps that it took."""
    origin: str
    """``default``, ``neighbour ...`` or ``sampler``."""

    @property
    def is_complete(self) -> bool:
        """Whether it ran to its end and has a score: only then can it be the best."""
        return self.state == Ending.COMPLETE and self.val_miou is not None


@dataclass(frozen=True)
class CellSearch:
    """The search of one cell."""

    label_fraction: float
    temporal_length: int
    trials: tuple[SearchTrial, ...]
    """The oldest first."""
    best: SearchTrial | None
    importances: Mapping[str, float]
    """By dotted path, or a group's name, the most important first; they add up to 1. Empty where too few
    trials are complete, and where a single field is searched."""
    chance: Mapping[str, float] = field(default_factory=dict)
    """What chance may give a field, by name; all but the most important one have it."""
    predictability: float | None = None
    """Share of the variance of unseen trials' scores that the searched values predict; None as above."""

    @property
    def setting(self) -> tuple[float, int]:
        """Label fraction and number of dates."""
        return self.label_fraction, self.temporal_length

    @property
    def complete(self) -> tuple[SearchTrial, ...]:
        """The trials that ran to their end, the oldest first."""
        return tuple(trial for trial in self.trials if trial.is_complete)


@dataclass(frozen=True)
class StrategySearch:
    """The search of one strategy over all settings."""

    strategy: str
    cells: tuple[CellSearch, ...]
    importances: Mapping[str, float]
    """Mean over the cells that have any, the most important first."""
    pruned_share: float | None
    """Share of the ended trials that were pruned; None where none has ended."""
    fields: tuple[SearchedField, ...] = ()
    """What is searched, as the file has it."""
    chance: Mapping[str, float] = field(default_factory=dict)
    """Mean over the cells in which another field matters more, by name: a field at or below it cannot be said
    to matter. The most important one has none."""
    predictability: float | None = None
    """Mean over the cells; where it is about 0 or less, no field can be said to matter."""

    def matters(self, name: str) -> bool:
        """Whether a field is known to matter: more than chance would make of it."""
        predictable = self.predictability is not None and self.predictability > PREDICTABLE
        return predictable and self.importances.get(name, 0.0) > self.chance.get(name, 0.0)

    @property
    def ranked_fields(self) -> tuple[SearchedField, ...]:
        """The searched fields, the most important first where that is known."""
        return tuple(sorted(self.fields, key=lambda each: -self.importances.get(each.name, 0.0)))


def searches_of(sweep: SweepConfig, runs: Iterable[Run]) -> tuple[StrategySearch, ...]:
    """Return the search of every strategy, in the sweep's order.

    Trials that the sweep as it is would not make, and those that still run, are left out.
    """
    found = trials_by_cell(sweep, runs)
    return tuple(
        _strategy_search([(cell, ended) for cell, ended in found if cell.strategy == strategy])
        for strategy in sweep.strategies
    )


def _strategy_search(runs_by_cell: Sequence[tuple[Cell, Sequence[Run]]]) -> StrategySearch:
    cells = tuple(_cell_search(cell, runs) for cell, runs in runs_by_cell)
    importances = mean_importances([cell.importances for cell in cells])
    states = [trial.state for cell in cells for trial in cell.trials]
    return StrategySearch(
        strategy=runs_by_cell[0][0].strategy,
        cells=cells,
        importances=importances,
        pruned_share=states.count(Ending.PRUNED) / len(states) if states else None,
        fields=fields_of(runs_by_cell[0][0]),
        chance={
            name: level
            for name in list(importances)[1:]
            if (level := _mean(cell.chance.get(name) for cell in cells)) is not None
        },
        predictability=_mean(cell.predictability for cell in cells),
    )


def _cell_search(cell: Cell, runs: Sequence[Run]) -> CellSearch:
    ended = [run for run in runs if run.facts.role == Role.SEARCH and run.state in tuple(Ending)]
    best = best_search_run(ended)
    trials = {id(run): _search_trial(run) for run in ended}
    distributions, scored = _as_sampled(cell, [trial for trial in trials.values() if trial.is_complete])
    importances = importances_of(distributions, scored)
    return CellSearch(
        cell.label_fraction,
        cell.temporal_length,
        tuple(trials.values()),
        trials[id(best)] if best else None,
        importances,
        chance_levels(distributions, scored, importances),
        predictability(distributions, scored) if importances else None,
    )


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None


def _search_trial(run: Run) -> SearchTrial:
    score = run.score("best/val_miou")
    return SearchTrial(
        values=run.facts.sampled,
        val_miou=run.score("val/miou") if score is None else score,
        state=run.state,
        steps=run.score("cost/steps"),
        origin=run.facts.origin,
    )


def _as_sampled(
    cell: Cell, complete: Sequence[SearchTrial]
) -> tuple[dict[str, BaseDistribution], list[Scored]]:
    """Return ranges and trials as the sampler knows them, without trials from outside the ranges."""
    from shapeft_tune.tune.ledger.space import Space  # here: Optuna takes half a second

    space = Space(cell)
    scored = [
        Scored(parameters, trial.val_miou)
        for trial in complete
        if trial.val_miou is not None and (parameters := space.parameters(trial.values)) is not None
    ]
    return space.distributions, scored
