"""What the record is told about a trial. Plain values: what writes them need not know MLflow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from shapeft_tune.config.protocol import Role
from shapeft_tune.scores import Counts


class Ending(StrEnum):
    """How a trial ended."""

    COMPLETE = "complete"
    PRUNED = "pruned"
    FAILED = "failed"


class SweepEnding(StrEnum):
    """How a sweep ended, this time: any of them can be continued."""

    FINISHED = "finished"
    STOPPED = "stopped"
    FAILED = "failed"


@dataclass(frozen=True)
class TrialFacts:
    """Everything known about a trial before it starts; nothing of it changes afterwards."""

    sweep: str
    strategy: str
    label_fraction: float
    temporal_length: int
    role: Role
    seed: int
    fingerprint: str
    config: Mapping[str, Any]
    """The whole ``TrialConfig`` as ``canonical()`` gives it."""
    sampled: Mapping[str, Any] = field(default_factory=dict)
    """Value by dotted path of the fields that are searched."""
    origin: str = ""
    """Where a search trial's configuration came from: ``default``, ``neighbour ...`` or ``sampler``."""

    @property
    def model(self) -> str:
        """Name of the network."""
        return str(self.config["model"]["name"])

    @property
    def tuning(self) -> str:
        """How the network is tuned; a model without the choice is trained from scratch."""
        return str(self.config["model"].get("tuning", {}).get("mode", "scratch"))

    @property
    def test_folds(self) -> str:
        """Those that a confirmation is scored on: ``5``, or ``4,5``; a search trial leaves them closed."""
        return ",".join(map(str, self.config["data"]["folds"]["test"]))

    @property
    def title(self) -> str:
        """Name the trial for people: ``utae labels=0.1 dates=6 #1a2b3c``.

        A confirmation is named with its seed and the folds that it is tested on, too: ``seed=1 test=5``.
        """
        cell = f"{self.strategy} labels={self.label_fraction:g} dates={self.temporal_length}"
        repeat = f" seed={self.seed} test={self.test_folds}" if self.role is Role.CONFIRMATION else ""
        return f"{cell}{repeat} #{self.fingerprint[:6]}"


@dataclass(frozen=True)
class TrialEnd:
    """What a trial came to."""

    ending: Ending
    metrics: Mapping[str, float] = field(default_factory=dict)
    """Final values by name (``best/val_miou``, ``test/miou``, ``cost/seconds``); mIoU as fractions of 1."""
    message: str = ""
    """Why it failed."""
    artifacts: Mapping[str, Path] = field(default_factory=dict)
    """Files to attach, by the name that they get there."""
    test_counts_KK: Counts | None = field(default=None, compare=False)
    """Confusion matrix of all test patches of a confirmation; those of rotated folds are summed later."""
