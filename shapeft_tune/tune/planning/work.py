"""What is left to do of a cell, counted, and the machine that would do it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from shapeft_tune.config.cell import Cell
from shapeft_tune.config.protocol import Role
from shapeft_tune.tune.cluster.slots import Slot
from shapeft_tune.tune.ledger.cell_ledger import CellLedger
from shapeft_tune.tune.ledger.trials import Spent, State
from shapeft_tune.tune.planning.demand import Demand


@dataclass(frozen=True)
class Machine:
    """What the sweep would run on."""

    cpus: int
    gpus: int

    def at_once(self, slot: Slot) -> int:
        """Return how many trials run beside each other where all take this slot."""
        processes = math.floor(self.cpus / slot.cpu + 1e-9)
        if slot.gpu:
            processes = min(processes, self.gpus * math.floor(1 / slot.gpu + 1e-9))
        return processes // slot.workers


@dataclass(frozen=True)
class Work:
    """What is left to do of one cell, counted."""

    cell: Cell
    slot: Slot | None
    """None while its share of a GPU is still to be measured."""
    demand: Demand
    search_done: int
    search_todo: int
    """Those that run included."""
    confirmations_done: int
    confirmations_todo: int
    """Those that run included, and those that follow the search."""
    steps_done: Mapping[Role, int]
    """Steps that running trials have behind them."""
    spent_on_search: Spent
    wall_seconds: float
    """In which the cell had search trials at work."""
    budget_reached: str
    """Which limit beside the number of trials ended the search; empty for none."""

    @property
    def trials_todo(self) -> int:
        """Trials that have not ended."""
        return self.search_todo + self.confirmations_todo

    @property
    def trials_done(self) -> int:
        """Trials that have ended, however they did."""
        return self.search_done + self.confirmations_done


def work_of(cell: CellLedger, slot: Slot | None, demand: Demand) -> Work:
    """Count what is left to do of a cell."""
    running = cell.unfinished()
    of_role = {role: [trial for trial in running if trial.role is role] for role in Role}
    current = [trial for trial in cell.current_confirmations() if trial.state is not State.RUNNING]
    return Work(
        cell=cell.cell,
        slot=slot,
        demand=demand,
        search_done=len(cell.search_trials()) - len(of_role[Role.SEARCH]),
        search_todo=cell.search_todo() + len(of_role[Role.SEARCH]),
        confirmations_done=len(current),
        confirmations_todo=cell.confirmations_to_come() + len(of_role[Role.CONFIRMATION]),
        steps_done={role: sum(trial.spent.steps for trial in trials) for role, trials in of_role.items()},
        spent_on_search=cell.spent(Role.SEARCH),
        wall_seconds=cell.wall_seconds,
        budget_reached=cell.budget_reached,
    )
