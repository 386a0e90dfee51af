"""How far a cell is, in numbers."""

from __future__ import annotations

from dataclasses import dataclass

from shapeft_tune.config.cell import Cell
from shapeft_tune.tune.ledger.cell_ledger import CellLedger
from shapeft_tune.tune.ledger.trials import Spent, State


@dataclass(frozen=True)
class CellCounts:
    """How far one cell is."""

    cell: Cell
    running: int
    """Search and confirmation trials that were handed out and have not ended."""
    complete: int
    pruned: int
    failed: int
    retried: int
    """Times that a trial was tried again after a fault of the machine."""
    search_todo: int
    budget_reached: str
    """Which limit beside the number of trials ended the search; empty for none."""
    confirmations_done: int
    """Of the configuration that is the best now."""
    confirmations_failed: int
    confirmations_todo: int
    best_miou: float | None
    """Best validation mIoU of the complete search trials."""
    spent: Spent

    @property
    def confirmations_wanted(self) -> int:
        """How many there will be, or would be if none had failed."""
        return self.confirmations_done + self.confirmations_failed + self.confirmations_todo

    @property
    def trials_done(self) -> int:
        """Trials that have ended, however they did."""
        return self.complete + self.pruned + self.failed + self.confirmations_done + self.confirmations_failed

    @property
    def trials_todo(self) -> int:
        """Trials that have not ended."""
        return self.running + self.search_todo + self.confirmations_todo

    @property
    def done(self) -> bool:
        """Nothing runs, and nothing is left to run."""
        return self.trials_todo == 0


def count_cell(cell: CellLedger) -> CellCounts:
    """Return how far a cell is."""
    search, confirmations = cell.search_trials(), cell.confirmation_trials()
    current = cell.current_confirmations()
    by_state = {state: sum(trial.state is state for trial in search) for state in State}
    best = cell.best()
    return CellCounts(
        cell=cell.cell,
        running=by_state[State.RUNNING] + sum(trial.state is State.RUNNING for trial in confirmations),
        complete=by_state[State.COMPLETE],
        pruned=by_state[State.PRUNED],
        failed=by_state[State.FAILED],
        retried=sum(len(trial.retried) for trial in cell.trials()),
        search_todo=cell.search_todo(),
        budget_reached=cell.budget_reached,
        confirmations_done=sum(trial.state is State.COMPLETE for trial in current),
        confirmations_failed=sum(trial.state is State.FAILED for trial in current),
        confirmations_todo=cell.confirmations_to_come(),
        best_miou=best.score if best else None,
        spent=cell.spent(),
    )
