"""What is left to do of a sweep, in trials, steps, hours and bytes. Pure arithmetic over what was measured.

No number is made up: what was not measured is None, and what follows from it too.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from shapeft_tune.config.budget import Budget
from shapeft_tune.config.optimisation import Pruner
from shapeft_tune.config.protocol import Role
from shapeft_tune.tune.cluster.slots import Slot
from shapeft_tune.tune.ledger.trials import Spent
from shapeft_tune.tune.planning.measured import Measured, validations_of
from shapeft_tune.tune.planning.pruned_share import WHOLE, Share, expected_share
from shapeft_tune.tune.planning.work import Machine, Work

HOUR = 3600.0
NOT_MEASURED, OTHER_DEVICE = "not measured", "measured on another kind of device"
"""Why a time is unknown."""


class Basis(StrEnum):
    """What an estimate rests on."""

    MEASURED = "measured"
    SCALED = "scaled"
    """From another number of dates, in proportion."""
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class CellEstimate:
    """What is left of one cell will take this; None for what is unknown."""

    work: Work
    measured: Measured | None
    share: Share
    """Of its steps that a search trial is expected to take."""
    search_seconds: float | None
    confirmation_seconds: float | None
    """Of trials one after another."""
    kept_bytes: int | None
    """On disk once the cell is done: the checkpoints of its best search trial and of its confirmations."""
    limit: str
    """Which part of the budget makes it less than the trials alone would take; empty for none."""
    unknown: str
    """Why the time is unknown; empty where it is known."""

    @property
    def seconds(self) -> float | None:
        """Of all trials that are left, one after another."""
        return _sum((self.search_seconds, self.confirmation_seconds))

    @property
    def device_hours(self) -> float | None:
        """Hours of GPUs, or of CPU cores where trials have no GPU."""
        return self._device_hours(self.seconds)

    @property
    def confirmation_device_hours(self) -> float | None:
        """Those of :attr:`device_hours` that confirmations take."""
        return self._device_hours(self.confirmation_seconds)

    @property
    def basis(self) -> Basis:
        """What it rests on."""
        if self.measured is None:
            return Basis.UNKNOWN
        return Basis.SCALED if self.measured.scaled_from is not None else Basis.MEASURED

    def _device_hours(self, seconds: float | None) -> float | None:
        if seconds == 0:
            return 0.0
        return None if seconds is None or self.work.slot is None else seconds * self.work.slot.devices / HOUR


def estimate_cell(
    work: Work, measured: Measured | None, budget: Budget, pruner: Pruner, machine: Machine
) -> CellEstimate:
    """Return what is left of a cell will take.

    Args:
        work: what is left.
        measured: what its trials take.
        budget: of the sweep.
        pruner: of the sweep.
        machine: what it would run on; a limit on wall time allows more on a larger one.
    """
    demand = work.demand
    unknown = _why_unknown(work, measured)
    if measured and not _is_of_its_device(measured, work.slot):
        measured = None
    share = WHOLE
    if demand.steps is not None:
        share = expected_share(pruner, demand.steps, demand.every, work.cell.trials)
    search = confirmation = None
    limit = ""
    if measured and demand.steps is not None:
        pace = _seconds_per_step(measured, demand.steps, demand.every)
        begin = measured.begin_seconds or 0.0
        steps = max(work.search_todo * demand.steps * share.value - work.steps_done[Role.SEARCH], 0.0)
        search, limit = _limited(steps * pace + work.search_todo * begin, pace, work, budget, machine)
        steps = work.confirmations_todo * demand.steps - work.steps_done[Role.CONFIRMATION]
        after = begin + (measured.test_seconds or 0.0)
        confirmation = max(steps, 0) * pace + work.confirmations_todo * after
    if work.trials_todo == 0:
        search = confirmation = 0.0
    wanted = work.confirmations_done + work.confirmations_todo
    best = measured.best_bytes if measured else None
    return CellEstimate(
        work=work,
        measured=measured,
        share=share,
        search_seconds=search,
        confirmation_seconds=confirmation,
        kept_bytes=None if best is None else best * (1 + wanted),
        limit=limit,
        unknown="" if search is not None else unknown,
    )


def _is_of_its_device(measured: Measured, slot: Slot | None) -> bool:
    """Whether it was measured on a GPU if trials get one, and on a CPU if not, as far as that is known."""
    return slot is None or not measured.device or (measured.device == "cpu") == (slot.gpu == 0)


def _seconds_per_step(measured: Measured, steps: int, every: int) -> float:
    """Return what a step takes with its part of the validations."""
    validations = (measured.validation_seconds or 0.0) * validations_of(steps, every)
    return 1 / measured.steps_per_second + validations / steps


def _limited(seconds: float, pace: float, work: Work, budget: Budget, machine: Machine) -> tuple[float, str]:
    """Return how long a search takes that ends with its budget, and which limit it is that ends it.

    Trials that run when a limit is reached are finished; that is left out.
    """
    limits: list[tuple[float, str]] = []
    if budget.steps is not None:
        limits.append(((budget.steps - work.spent_on_search.steps) * pace, "steps"))
    if work.slot:
        if budget.device_hours is not None:
            left = budget.device_hours * HOUR - work.spent_on_search.charged_device_seconds
            limits.append((left / work.slot.devices, "device_hours"))
        if budget.wall_hours is not None:
            left = budget.wall_hours * HOUR - work.wall_seconds
            limits.append((left * machine.at_once(work.slot), "wall_hours"))
    least, name = min(limits, default=(math.inf, ""))
    return (max(least, 0.0), name) if least < seconds else (seconds, "")


def _why_unknown(work: Work, measured: Measured | None) -> str:
    if measured is None:
        return NOT_MEASURED
    if not _is_of_its_device(measured, work.slot):
        return OTHER_DEVICE
    return "epochs over labelled patches that were not counted" if work.demand.steps is None else ""


@dataclass(frozen=True)
class Estimate:
    """What is left of a sweep will take."""

    cells: tuple[CellEstimate, ...]
    machine: Machine
    device_hours: float | None
    """Of all cells of which it is known, within the budget; None where it is of none."""
    wall_hours: float | None
    """The same on the machine, whose slots are never idle; None where it is known of no cell, or where some
    of it could not run there."""
    limit: str
    """Which limit of the whole sweep makes it less than its cells would take; empty for none."""
    kept_bytes: int | None
    """On disk in the end, of all cells of which it is known."""
    peak_bytes: int | None
    """On disk at most: beside what is kept, what running trials go on from; None where that is unknown."""

    @property
    def unknown(self) -> tuple[CellEstimate, ...]:
        """Cells with work that nobody can say the time of."""
        return tuple(cell for cell in self.cells if cell.device_hours is None)

    @property
    def trials_todo(self) -> int:
        """Trials that have not ended."""
        return sum(cell.work.trials_todo for cell in self.cells)

    @property
    def trials_done(self) -> int:
        """Trials that have ended."""
        return sum(cell.work.trials_done for cell in self.cells)

    @property
    def largest_memory(self) -> Measured | None:
        """What takes most of a GPU's memory; None where no trial was measured on one."""
        known = [cell.measured for cell in self.cells if cell.measured and cell.measured.peak_memory_bytes]
        return max(known, key=lambda each: each.peak_memory_bytes or 0, default=None)


def estimate_sweep(
    cells: Sequence[CellEstimate], budget: Budget, machine: Machine, spent: Spent, wall_seconds: float
) -> Estimate:
    """Add up the cells of a sweep, within the budget of the whole.

    Args:
        cells: of the file.
        budget: of the sweep.
        machine: what it would run on.
        spent: by all trials so far.
        wall_seconds: in which the sweep was at work so far.
    """
    known = [hours for cell in cells if (hours := cell.device_hours) is not None]
    device_hours, wall_hours = (sum(known) if known else None), _wall_hours(cells, machine)
    total, limit = budget.total, ""
    charged = spent.charged_device_seconds / HOUR
    left = math.inf if total.device_hours is None else total.device_hours - charged
    if device_hours is not None and device_hours > left:
        part = max(left, 0.0) / device_hours
        device_hours, limit = max(left, 0.0), "total.device_hours"
        wall_hours = None if wall_hours is None else wall_hours * part
    left = math.inf if total.wall_hours is None else total.wall_hours - wall_seconds / HOUR
    if device_hours is not None and wall_hours is not None and wall_hours > left:
        device_hours *= max(left, 0.0) / wall_hours
        wall_hours, limit = max(left, 0.0), "total.wall_hours"
    kept = [cell.kept_bytes for cell in cells if cell.kept_bytes is not None]
    return Estimate(
        cells=tuple(cells),
        machine=machine,
        device_hours=device_hours,
        wall_hours=wall_hours,
        limit=limit,
        kept_bytes=sum(kept) if kept else None,
        peak_bytes=_peak_bytes(cells, sum(kept), machine),
    )


def _wall_hours(cells: Iterable[CellEstimate], machine: Machine) -> float | None:
    """Return hours with no slot idle, but not less than the longest search trial and confirmation in turn."""
    together = longest = 0.0
    known = [cell for cell in cells if cell.device_hours is not None]
    if not known:
        return None
    for cell in known:
        if cell.seconds is None or cell.work.slot is None:
            continue
        if cell.seconds and not machine.at_once(cell.work.slot):
            return None
        if cell.seconds:
            together += cell.seconds / machine.at_once(cell.work.slot)
            longest = max(longest, _in_turn(cell))
    return max(together, longest) / HOUR


def _in_turn(cell: CellEstimate) -> float:
    search = (cell.search_seconds or 0.0) / max(cell.work.search_todo, 1)
    return search + (cell.confirmation_seconds or 0.0) / max(cell.work.confirmations_todo, 1)


def _peak_bytes(cells: Iterable[CellEstimate], kept: int, machine: Machine) -> int | None:
    """Return what is kept and what as many running trials as have room hold, of the largest kind."""
    largest = 0
    for cell in cells:
        if not cell.work.trials_todo:
            continue
        measured, slot = cell.measured, cell.work.slot
        if measured is None or measured.last_bytes is None or measured.best_bytes is None or slot is None:
            return None
        largest = max(largest, machine.at_once(slot) * (measured.last_bytes + measured.best_bytes))
    return kept + largest


def _sum(numbers: Iterable[float | None]) -> float | None:
    known = list(numbers)
    return None if None in known else sum(number for number in known if number is not None)
