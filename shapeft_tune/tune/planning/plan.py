"""What a sweep would run and take: its file and its ledger, with what was measured, put together.

Without a calibration this needs no PyTorch and is quick, so that it is looked at before anything is paid for.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from shapeft_tune.config.cell import Cell
from shapeft_tune.config.places import Places
from shapeft_tune.config.sweep import SweepConfig
from shapeft_tune.tune.cluster.sharing import kept_shares
from shapeft_tune.tune.cluster.slots import Slot, slots_of
from shapeft_tune.tune.ledger.ledger import Ledger
from shapeft_tune.tune.planning.demand import demand_of
from shapeft_tune.tune.planning.estimate import (
    Basis,
    CellEstimate,
    Estimate,
    estimate_cell,
    estimate_sweep,
)
from shapeft_tune.tune.planning.leave_out import Saving, could_be_left_out
from shapeft_tune.tune.planning.measured import (
    Kind,
    kept,
    kind_of,
    meaning_of_kind,
    measured_or_scaled,
    of_the_past,
)
from shapeft_tune.tune.planning.work import Machine, work_of

GPUS = Path("/proc/driver/nvidia/gpus")
NOTHING_COUNTED: Mapping[str, int] = {}


@dataclass(frozen=True)
class Plan:
    """What a sweep would run, what that takes, and what of it takes most."""

    sweep: str
    estimate: Estimate
    savings: tuple[Saving, ...]
    in_epochs: bool
    """Whether steps follow from labelled patches, so that only the data tells them."""
    begun: bool
    """Whether the ledger holds anything of the sweep."""

    def to_measure(self) -> tuple[Cell, ...]:
        """Return a cell for each strategy and number of dates that has work and was not measured itself."""
        cells: dict[Kind, Cell] = {}
        for each in self.estimate.cells:
            if each.work.trials_todo and each.basis is not Basis.MEASURED:
                cells.setdefault(kind_of(each.work.cell), each.work.cell)
        return tuple(cells.values())


def draw_up(
    sweep: SweepConfig,
    places: Places,
    machine: Machine,
    url: str | None = None,
    labelled: Mapping[str, int] = NOTHING_COUNTED,
) -> Plan:
    """Say what `sweep` would run and take; writes nothing.

    Args:
        sweep: the checked file.
        places: where things lie.
        machine: what it would run on.
        url: of a database that holds the ledger, where it is not a file in the sweep's folder.
        labelled: patches that trials learn from, by cell, see :func:`labelled_patches_of`.

    Raises:
        LedgerError: the file would be refused.
    """
    folder = places.sweep_folder(sweep.name)
    ledger = Ledger.look(folder, sweep, url)
    demands = {cell.key: demand_of(cell, labelled.get(cell.key)) for cell in sweep.cells}
    meanings = {kind_of(cell): meaning_of_kind(demands[cell.key].largest) for cell in reversed(sweep.cells)}
    known = kept(folder, meanings) | of_the_past(ledger, folder)
    slots = _known_slots(sweep, folder, machine)
    cells = [
        estimate_cell(
            work_of(ledger.cells[cell.key], slots.get(cell.key), demands[cell.key]),
            measured_or_scaled(kind_of(cell), known),
            sweep.budget,
            sweep.optimisation.stopping,
            machine,
        )
        for cell in sweep.cells
    ]
    estimate = estimate_sweep(cells, sweep.budget, machine, ledger.spent(), ledger.wall_seconds)
    in_epochs = any(demand.in_epochs for demand in demands.values())
    return Plan(sweep.name, estimate, could_be_left_out(sweep, estimate), in_epochs, ledger.exists)


def _known_slots(sweep: SweepConfig, folder: Path, machine: Machine) -> dict[str, Slot]:
    """Return the slots of all cells but those whose share of a GPU is still to be measured."""
    shares = dict.fromkeys((cell.key for cell in sweep.cells), 0.0)  # without a GPU they compute on the CPU
    if machine.gpus:
        shares = kept_shares(sweep.cells, folder, machine.cpus / machine.gpus)
    known = {cell.key: cell for cell in sweep.cells if cell.resources.gpu != "auto" or cell.key in shares}
    return slots_of(known, shares)


def labelled_patches_of(sweep: SweepConfig, places: Places) -> dict[str, int]:
    """Return how many patches the trials of each cell learn from; opens the data, and may make the sample.

    Raises:
        DataError: the data set is not given or cannot be read.
    """
    from shapeft_tune.data import open_dataset  # PyTorch: only where epochs ask for it
    from shapeft_tune.data.labels import labelled_patches

    folders, counts = {}, {}
    for cell in sweep.cells:
        data = cell.trial(cell.first_corners).data
        if data.dataset not in folders:
            folders[data.dataset] = open_dataset(data.dataset, data=places.data, home=places.home)
        patches = folders[data.dataset].in_folds(data.folds.train)
        counts[cell.key] = len(labelled_patches(patches, data.label_fraction, seed=0))  # as many for any seed
    return counts


def this_machine(cpus: int | None = None, gpus: int | None = None) -> Machine:
    """Return what this machine has, or what is given instead."""
    return Machine(cpus or os.cpu_count() or 1, _gpus_here() if gpus is None else gpus)


def _gpus_here() -> int:
    """Return how many GPUs a process here may use. Asks no driver: that takes seconds."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return len([name for name in visible.split(",") if name.strip() not in ("", "-1")])
    return len(list(GPUS.iterdir())) if GPUS.is_dir() else 0


def plan_json(plan: Plan) -> dict[str, Any]:
    """Return everything that a plan says, for machines; null is unknown."""
    estimate = plan.estimate
    memory = estimate.largest_memory
    return {
        "sweep": plan.sweep,
        "trials_to_do": estimate.trials_todo,
        "trials_done": estimate.trials_done,
        "device_hours": estimate.device_hours,
        "wall_hours": estimate.wall_hours,
        "machine": asdict(estimate.machine),
        "limit": estimate.limit,
        "disk_bytes": estimate.kept_bytes,
        "disk_bytes_at_most": estimate.peak_bytes,
        "largest_memory_bytes": memory.peak_memory_bytes if memory else None,
        "cells_of_unknown_time": len(estimate.unknown),
        "could_be_left_out": [asdict(saving) for saving in plan.savings],
        "cells": [_cell_json(cell) for cell in estimate.cells],
    }


def _cell_json(estimate: CellEstimate) -> dict[str, Any]:
    work, measured = estimate.work, estimate.measured
    return {
        "strategy": work.cell.strategy,
        "label_fraction": work.cell.label_fraction,
        "temporal_length": work.cell.temporal_length,
        "trials_to_do": work.trials_todo,
        "trials_done": work.trials_done,
        "search_to_do": work.search_todo,
        "search_done": work.search_done,
        "confirmations_to_do": work.confirmations_todo,
        "confirmations_done": work.confirmations_done,
        "budget_reached": work.budget_reached,
        "steps": work.demand.steps,
        "steps_vary": work.demand.steps_vary,
        "share_of_steps": estimate.share.value,
        "share_is": estimate.share.words or "exact",
        "basis": str(estimate.basis),
        "measured": asdict(measured) if measured else None,
        "seconds": estimate.seconds,
        "device_hours": estimate.device_hours,
        "disk_bytes": estimate.kept_bytes,
        "limit": estimate.limit,
        "unknown": estimate.unknown,
    }
