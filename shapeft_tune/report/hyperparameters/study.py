"""The search of each strategy, cell by cell: what was tried, in which order, and what came of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from shapeft_tune.config import SweepConfig
from shapeft_tune.report.runs import Run


@dataclass(frozen=True)
class SearchTrial:
    """One search trial that ended."""

    values: Mapping[str, Any]
    """The searched values, by dotted path; those of a condition that does not hold are not there."""
    val_miou: float | None
    """Best on the validation folds, a fraction of 1; None where there was no validation."""
    state: str
    """An ``Ending``."""
    steps: float | None
    """Optimiser steps that it took."""
    origin: str
    """``default``, ``neighbour ...`` or ``sampler``."""


@dataclass(frozen=True)
class CellSearch:
    """The search of one cell."""

    label_fraction: float
    temporal_length: int
    trials: tuple[SearchTrial, ...]
    """The oldest first."""
    best: SearchTrial | None
    importances: Mapping[str, float]
    """By dotted path, the most important first; they add up to 1. Empty where too few trials are complete."""


@dataclass(frozen=True)
class StrategySearch:
    """The search of one strategy over all settings."""

    strategy: str
    cells: tuple[CellSearch, ...]
    importances: Mapping[str, float]
    """Mean over the cells that have any, the most important first."""
    pruned_share: float | None
    """Share of the ended trials that were pruned; None where none has ended."""


def searches_of(sweep: SweepConfig, runs: Iterable[Run]) -> tuple[StrategySearch, ...]:
    """Return the search of every strategy, in the sweep's order."""
    raise NotImplementedError
