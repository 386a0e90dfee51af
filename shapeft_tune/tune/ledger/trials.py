"""One trial as the ledger knows it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from optuna.trial import TrialState

from shapeft_tune.config.cell import Cell
from shapeft_tune.config.protocol import Role
from shapeft_tune.config.trial import TrialConfig

DEFAULT, NEIGHBOUR, SAMPLER = "default", "neighbour", "sampler"
"""Where a configuration came from: the file, the best of a neighbouring cell, or the sampler."""


class State(StrEnum):
    """Where a trial stands."""

    RUNNING = "running"
    COMPLETE = "complete"
    PRUNED = "pruned"
    FAILED = "failed"


STATES = {
    TrialState.RUNNING: State.RUNNING,
    TrialState.COMPLETE: State.COMPLETE,
    TrialState.PRUNED: State.PRUNED,
    TrialState.FAIL: State.FAILED,
}
OPTUNA_STATES = {ours: optunas for optunas, ours in STATES.items()}


@dataclass(frozen=True)
class Spent:
    """What a trial took, over all its pieces."""

    steps: int = 0
    """Optimiser steps."""
    seconds: float = 0.0
    """Training and scoring."""
    device_seconds: float = 0.0
    """The same times its GPUs, or its CPU cores where it has no GPU."""
    lost_device_seconds: float = 0.0
    """Of tries that ended in a fault, after their last checkpoint: they got the trial nowhere."""

    @property
    def charged_device_seconds(self) -> float:
        """What a budget counts: time that got the trial further, and time that did not."""
        return self.device_seconds + self.lost_device_seconds

    def __add__(self, other: Spent) -> Spent:
        """Return what both took."""
        return Spent(
            self.steps + other.steps,
            self.seconds + other.seconds,
            self.device_seconds + other.device_seconds,
            self.lost_device_seconds + other.lost_device_seconds,
        )

    def __sub__(self, other: Spent) -> Spent:
        """Return what this took beyond the other."""
        return Spent(
            self.steps - other.steps,
            self.seconds - other.seconds,
            self.device_seconds - other.device_seconds,
            self.lost_device_seconds - other.lost_device_seconds,
        )


@dataclass(frozen=True)
class LedgerTrial:
    """One trial as the ledger knows it."""

    cell: Cell
    role: Role
    storage_id: int
    number: int
    """Within its study."""
    state: State
    config: TrialConfig
    fingerprint: str
    sampled: Mapping[str, Any]
    """Value of each searched field, by dotted path."""
    score: float | None = None
    """Search: best validation mIoU. Confirmation: test mIoU. None unless complete."""
    message: str = ""
    """Why it failed."""
    origin: str = SAMPLER
    """``default``, ``neighbour`` and the cell's name, or ``sampler``."""
    retried: tuple[str, ...] = ()
    """Faults after which it was tried again."""
    spent: Spent = Spent()
    began: datetime | None = None
    """When it was handed out first, by its driver's clock."""
    ended: datetime | None = None
    """None while it runs."""
