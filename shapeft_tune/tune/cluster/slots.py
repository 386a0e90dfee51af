"""What each trial takes of the cluster, in Ray's terms."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from shapeft_tune.config.cell import Cell
from shapeft_tune.config.resources import Resources


@dataclass(frozen=True)
class Slot:
    """What one trial takes."""

    cpu: float
    """Cores of each process."""
    gpu: float
    """Share of a GPU of each process: 0, 1/k or 1."""
    workers: int = 1
    """Processes."""

    @property
    def devices(self) -> float:
        """GPUs that it takes or, where it takes none, CPU cores: what device time is counted in."""
        return self.workers * (self.gpu or self.cpu)


def slots_of(cells: Mapping[str, Cell], shares: Mapping[str, float]) -> dict[str, Slot]:
    """Return the slot of every cell by its key.

    Args:
        cells: by key.
        shares: of a GPU, by the key of each cell that leaves it to a measurement (``gpu: auto``).
    """
    return {key: _slot(cell.resources, shares.get(key, 0.0)) for key, cell in cells.items()}


def _slot(resources: Resources, measured: float) -> Slot:
    share = resources.gpu_of_each
    return Slot(resources.cpu, measured if share == "auto" else share, resources.processes)
