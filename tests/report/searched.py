"""A sweep that searches every kind of field, and trials of it whose scores follow a known rule."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random
from typing import Any

from shapeft_tune.config import Cell, SweepConfig
from shapeft_tune.config.protocol import Role
from shapeft_tune.report import Run
from shapeft_tune.tracking import TrialFacts

LR, LOSS, BATCH = "training.optimiser.lr", "training.loss", "training.batch_size"
DECAY, DROPOUT, SIZE = "training.optimiser.weight_decay", "model.temporal.dropout", "size"
TEMPORAL = "model.temporal"
CROMA = {"name": "croma_optical", "tuning": {"mode": "frozen", "weights": "none"}}

Score = Callable[[Cell, Mapping[str, Any]], float]


def searched_sweep(fields: Mapping[str, Any], **other: Any) -> SweepConfig:
    """Return a sweep of one strategy, ``croma``, in one setting, that searches these fields."""
    return SweepConfig.model_validate(
        {
            "name": "searched",
            "base": {"data": {"dataset": "pastis"}, "training": {"steps": 2000, "optimiser": "adamw"}},
            "settings": {"label_fractions": [0.1], "temporal_lengths": [6]},
            "strategies": {"croma": {"config": {"model": CROMA}}},
            "search": dict(fields),
            "budget": {"trials": 40, "confirmation_seeds": 2},
        }
        | other
    )


def tried(cell: Cell, count: int, score: Score, sweep: str = "searched", seed: int = 0) -> list[Run]:
    """Return complete search trials with values drawn from the cell's ranges, scored by a rule."""
    random = Random(seed)
    values = [cell.axes.values(cell.axes.drawn(random)) for _ in range(count)]
    return [search_run(cell, each, score(cell, each), sweep=sweep) for each in values]


def search_run(
    cell: Cell,
    values: Mapping[str, Any],
    score: float | None,
    state: str = "complete",
    sweep: str = "searched",
    metrics: Mapping[str, float] | None = None,
) -> Run:
    """Return one search trial as the record would give it back."""
    trial = cell.trial(dict(values), 0, 0)
    facts = TrialFacts(
        sweep=sweep,
        strategy=cell.strategy,
        label_fraction=cell.label_fraction,
        temporal_length=cell.temporal_length,
        role=Role.SEARCH,
        seed=0,
        fingerprint=trial.fingerprint(),
        config=trial.canonical(),
        sampled=dict(values),
        origin="sampler",
    )
    best = {} if score is None else {"best/val_miou": score}
    return Run(facts, state, {"cost/steps": 2000.0} | best | dict(metrics or {}), ("miou", 1))


def everything() -> dict[str, Any]:
    """Return every kind of range."""
    return {
        LR: {"log_uniform": [1e-5, 1e-2]},
        LOSS: {"choice": ["cross_entropy", "weighted_cross_entropy", "dice"]},
        BATCH: {"int": [4, 16], "step": 4},
        DECAY: {"log_normal": {"median": 1e-2, "factor": 3}},
        TEMPORAL: {"choice": ["ltae", "mean"]},
        DROPOUT: {"uniform": [0, 0.4], "when": {TEMPORAL: "ltae"}},
        SIZE: {
            "one_of": [
                {"model.size": "small", "training.steps": 2000},
                {"model.size": "base", "training.steps": 1000},
            ]
        },
    }
