"""A smooth function in the place of training: what a sampler finds there can be told from luck."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

from optuna.storages import InMemoryStorage

from shapeft_tune.config import SweepConfig
from shapeft_tune.config.protocol import Role
from shapeft_tune.tune.ledger.cell_ledger import CellLedger
from shapeft_tune.tune.ledger.ledger import Ledger
from shapeft_tune.tune.ledger.trials import LedgerTrial, State
from tests.tune.small import small

Score = Callable[[LedgerTrial], float]
RATES, DECAYS = (1e-4, 1e-1), (0.0, 0.1)
SMOOTH: dict[str, Any] = {
    "training.optimiser.lr": {"log_uniform": list(RATES)},
    "training.optimiser.weight_decay": {"uniform": list(DECAYS)},
}
ONE_CELL = {"label_fractions": [1.0], "temporal_lengths": [1]}
PEAK = (0.3, 0.8)


def smooth(sampler: Any = "random", trials: int = 12, **optimisation: Any) -> SweepConfig:
    """Return a sweep of one cell over two numbers; ``settings`` and other sections go beside."""
    sections = {
        name: optimisation.pop(name) for name in tuple(optimisation) if name in SweepConfig.model_fields
    }
    changes = {
        "settings": ONE_CELL,
        "search": SMOOTH,
        "budget": {"trials": trials, "confirmation_seeds": 0},
        "optimisation": {"sampler": sampler, "pruner": "none"} | optimisation,
    }
    return small(**changes | sections)


def place(trial: LedgerTrial) -> tuple[float, float]:
    """Return where in the unit square a trial is."""
    optimiser = trial.config.training.optimiser
    return (
        math.log(optimiser.lr / RATES[0]) / math.log(RATES[1] / RATES[0]),
        optimiser.weight_decay / DECAYS[1],
    )


def peaked(trial: LedgerTrial, peak: tuple[float, float] = PEAK) -> float:
    """Score a trial by its distance from a peak of height 1."""
    return 1 - sum((mine - best) ** 2 for mine, best in zip(place(trial), peak, strict=True))


def in_memory(sweep: SweepConfig) -> Ledger:
    """Return a new ledger without a file."""
    return Ledger(sweep, InMemoryStorage())


def only(ledger: Ledger) -> CellLedger:
    (cell,) = ledger.cells.values()
    return cell


def waited_for(cell: CellLedger) -> LedgerTrial | None:
    """Return the cell's next trial, however long its sampler thinks; None where it has no work."""
    while (trial := cell.next()) is None and cell.has_work():
        time.sleep(0.002)
    return trial


def worked_off(cell: CellLedger, score: Score = peaked, most: int = 1000) -> list[LedgerTrial]:
    """Run what there is to run, one trial after another, and return the trials in order."""
    trials: list[LedgerTrial] = []
    while len(trials) < most and (trial := waited_for(cell)):
        trials.append(cell.end(trial, State.COMPLETE, score(trial)))
    return trials


def searched(trials: list[LedgerTrial]) -> list[LedgerTrial]:
    """Return those of the search."""
    return [trial for trial in trials if trial.role is Role.SEARCH]
