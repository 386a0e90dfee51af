"""Where things lie on a machine; never part of what a trial is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

CACHE_BYTES = 100 * 10**9


@dataclass(frozen=True)
class Places:
    """Absolute folders, the same on every machine of a cluster."""

    home: Path
    """Everything that is written."""
    data: Path | None = None
    """The data set's folder, for data sets that are not generated."""
    weights: Path | None = None
    """Pretrained checkpoints; by default ``weights`` inside the home."""
    cache: Path | None = None
    """Local disk of a node, for copies of what is read from a slow one; by default there are none."""
    cache_bytes: int = CACHE_BYTES
    """The most that these copies take."""

    @property
    def weights_folder(self) -> Path:
        """Where checkpoints are looked for."""
        return self.weights or self.home / "weights"

    def sweep_folder(self, sweep: str) -> Path:
        """Where a sweep keeps its ledger, trials and report."""
        return self.home / sweep

    @property
    def single_trials(self) -> Path:
        """Where trials that belong to no sweep are kept."""
        return self.home / "single"
