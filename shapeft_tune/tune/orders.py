"""What a worker is told, and what it answers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from shapeft_tune.config.protocol import Role

STOP_FILE = "stop"
"""While this file is in the sweep's folder, trials write their checkpoint and end."""
CHECKPOINTS = ("last.pt", "best.pt")
"""The large files of a trial: only the best search trial of a cell and confirmations keep the second."""
INTERRUPTED = "interrupted"
"""It was asked to stop."""
OBSTRUCTED = "obstructed"
"""It met what every other trial would meet as well."""


@dataclass(frozen=True)
class Order:
    """What a worker is told; small, because Ray copies it many times."""

    strategy: str
    fingerprint: str
    role: Role
    config: Mapping[str, Any]
    cpu: float
    """Cores of each process."""
    gpu: float
    """Share of a GPU of each process."""
    workers: int = 1
    """Processes that share the trial's batches."""

    def to_ray(self) -> dict[str, str]:
        """Return the configuration that Ray carries: one string, which Ray does not look into."""
        return {"order": json.dumps(asdict(self))}

    @classmethod
    def from_ray(cls, config: Mapping[str, str]) -> Order:
        """Read what :meth:`to_ray` wrote."""
        return cls(**json.loads(config["order"]))


@dataclass(frozen=True)
class Outcome:
    """How a worker left a trial; ``state`` is a ledger state, or one of the two that can go on later."""

    state: str
    score: float | None = None
    message: str = ""
    fault: str = ""
    """Whose it is that it failed: a word of ``faults.py``."""
    lost_teammate: bool = False
    """It failed because another process of the trial did, and knows no more than that."""
    steps: int = 0
    """Optimiser steps, and time spent, over all the pieces of a trial that is complete."""
    seconds: float = 0.0
    disk_bytes: int = 0
    """What its folder takes now; 0 where it is not known."""

    def to_ray(self) -> dict[str, Any]:
        """Return the last result that Ray is told."""
        return {"outcome": asdict(self)}


def trial_folder(sweep_folder: Path, strategy: str, fingerprint: str) -> Path:
    """Return the folder that holds everything about one trial.

    Two strategies may meet in the same experiment; each has a folder of its own, or both would write there.
    """
    return sweep_folder / "trials" / strategy / fingerprint
