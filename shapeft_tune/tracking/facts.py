"""What the record is told about a trial. Plain values: what writes them need not know MLflow."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from shapeft_tune.config.protocol import Role
from shapeft_tune.scores import Counts

Key = tuple[str, str, str]
"""Strategy, role and fingerprint: what names a trial among all of its sweep. Two strategies may arrive at the
same experiment, and so may a search and a confirmation; each has its own run."""
CELL_WALL_SECONDS = "cost/cell_wall_seconds"
"""Metric of a search trial: in how many seconds its cell had had search trials at work when it ended. No sum
over trials says that, as they run beside each other."""


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


def cell_title(strategy: str, label_fraction: float, temporal_length: int) -> str:
    """Name a cell for people: ``utae labels=0.1 dates=6``."""
    return f"{strategy} labels={label_fraction:g} dates={temporal_length}"


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
    data_digest: str = ""
    """What the data set amounts to, in 16 digits or more."""
    contents: Mapping[str, str] = field(default_factory=dict)
    """What else the trial reads amounts to, by name: ``{"weights CROMA_base.pt": "0a1b..."}``."""

    @property
    def model(self) -> str:
        """Name of the network."""
        return str(self.config["model"]["name"])

    @property
    def tuning(self) -> str:
        """How the network is tuned; a model without the choice is trained from scratch."""
        return str(self.config["model"].get("tuning", {}).get("mode", "scratch"))

    @property
    def encoder(self) -> str:
        """Name of the encoder with its size or pretraining: ``croma_optical base``, ``ssl4eo_vit dino``."""
        model = self.config["model"]
        kinds = [str(model[kind]) for kind in ("size", "pretraining") if model.get(kind)]
        return " ".join([self.model, *kinds])

    @property
    def decoder(self) -> str:
        """Name of the decoder; that of a network which has its own is the network's."""
        decoder = self.config["model"].get("decoder")
        return str(decoder["name"]) if decoder else self.model

    @property
    def configuration(self) -> str:
        """Name what a search trial and its confirmations share: all but the seed and the folds.

        Twelve digits. Trials of one configuration are repeats of each other.
        """
        data = {key: value for key, value in self.config["data"].items() if key != "folds"}
        shared = {key: value for key, value in self.config.items() if key != "seed"} | {"data": data}
        text = json.dumps(shared, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    @property
    def test_folds(self) -> str:
        """Those that a confirmation is scored on: ``5``, or ``4,5``; a search trial leaves them closed."""
        return ",".join(map(str, self.config["data"]["folds"]["test"]))

    @property
    def title(self) -> str:
        """Name the trial for people: ``utae labels=0.1 dates=6 #1a2b3c``.

        A confirmation is named with its seed and the folds that it is tested on, too: ``seed=1 test=5``.
        """
        cell = cell_title(self.strategy, self.label_fraction, self.temporal_length)
        repeat = f" seed={self.seed} test={self.test_folds}" if self.role is Role.CONFIRMATION else ""
        return f"{cell}{repeat} #{self.fingerprint[:6]}"


@dataclass(frozen=True)
class Place:
    """Where a trial runs, from the moment that it has its slot."""

    host: str
    device: str
    """As its machine's owner would name it: ``cpu``, ``gpu 1``."""


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
    environment: Mapping[str, str] = field(default_factory=dict)
    """What it was computed with, by name: ``device``, ``precision``, ``host``, ``code_version``, ..."""
    test_counts_KK: Counts | None = field(default=None, compare=False)
    """Confusion matrix of all test patches of a confirmation; those of rotated folds are summed later."""
