"""The ledger: what has been tried, what came of it, and what has still to run. Nothing else decides that.

Each cell has two Optuna studies in one storage: one for its search trials, from which samplers and pruners
learn, and one for its confirmation trials, which must not teach them. A trial is RUNNING from the moment
it is handed out until it has ended; one that is RUNNING when a driver starts belongs to a driver that died,
and goes on from its checkpoint.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import optuna
from optuna.storages import BaseStorage, InMemoryStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend

from shapeft_tune.config.protocol import METRIC
from shapeft_tune.config.sweep import Cell, SweepConfig
from shapeft_tune.errors import LedgerError
from shapeft_tune.tune.cell_ledger import CONTENT, CellLedger, LedgerTrial, State

LEDGER_FILE = "ledger.journal"
NO_CONTENTS: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True)
class CellCounts:
    """How far one cell is."""

    cell: Cell
    running: int
    """Search and confirmation trials that were handed out and have not ended."""
    complete: int
    pruned: int
    failed: int
    search_todo: int
    confirmations_done: int
    """Of the configuration that is the best now."""
    confirmations_failed: int
    confirmations_todo: int
    best_miou: float | None
    """Best validation mIoU of the complete search trials."""

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


class Ledger:
    """Every cell of a sweep."""

    def __init__(self, sweep: SweepConfig, storage: BaseStorage) -> None:
        existing = set(optuna.get_all_study_names(storage))
        self.cells = {cell.key: CellLedger(cell, sweep, storage, existing) for cell in sweep.cells}

    @classmethod
    def open(
        cls,
        folder: Path,
        sweep: SweepConfig,
        data_digest: str,
        contents: Mapping[str, Mapping[str, str]] = NO_CONTENTS,
    ) -> Ledger:
        """Open the ledger in a sweep's folder for running; create it on first use.

        Args:
            folder: the sweep's.
            sweep: the checked file.
            data_digest: what the data amounts to.
            contents: what else a strategy reads amounts to, a checkpoint say, by strategy and name.

        Raises:
            LedgerError: the file means something else by a cell than the ledger does, or data or a
                checkpoint is not what it was.
        """
        folder.mkdir(parents=True, exist_ok=True)
        _cut_torn_line(folder / LEDGER_FILE)
        ledger = cls(sweep, _storage(folder / LEDGER_FILE))
        protocol = {"data": data_digest, "metric": f"{METRIC.name} v{METRIC.version}"}
        ledger._require_same_meaning(protocol, contents)
        for cell in ledger.cells.values():
            cell.void_half_asked()
        return ledger

    @classmethod
    def look(cls, folder: Path, sweep: SweepConfig) -> Ledger:
        """Open the ledger for reading, also beside a running sweep; empty where there is none yet.

        Raises:
            LedgerError: as in :meth:`open`.
        """
        path = folder / LEDGER_FILE
        if not path.exists():
            return cls(sweep, InMemoryStorage())
        ledger = cls(sweep, _storage(path))
        ledger._refuse(line for cell in ledger.cells.values() for line in cell.changed_meaning())
        return ledger

    def trials(self) -> tuple[LedgerTrial, ...]:
        """Return every trial of every cell of the file."""
        return tuple(trial for cell in self.cells.values() for trial in cell.trials())

    def count(self, cell_key: str) -> CellCounts:
        """Return how far one cell is."""
        return _counts(self.cells[cell_key])

    def counts(self) -> tuple[CellCounts, ...]:
        """Return how far every cell is."""
        return tuple(map(self.count, self.cells))

    def _require_same_meaning(
        self, protocol: Mapping[str, str], contents: Mapping[str, Mapping[str, str]]
    ) -> None:
        """Compare each cell with what was noted; a new strategy may bring new content."""
        self._refuse(
            line
            for cell in self.cells.values()
            for line in cell.settle_meaning(
                {**protocol, **_named(contents.get(cell.cell.strategy, NO_CONTENTS))}
            )
        )

    def _refuse(self, lines: Iterable[str]) -> None:
        if differences := Counter(lines):
            shown = "\n".join(f"  {line} (in {count} cells)" for line, count in differences.items())
            raise LedgerError(
                f"file, data or weights have changed the meaning of trials that were already run:\n{shown}\n"
                "undo the change, or give the sweep another `name` to start afresh"
            )


def _named(contents: Mapping[str, str]) -> dict[str, str]:
    return {f"{CONTENT}{name}": digest for name, digest in contents.items()}


def _cut_torn_line(path: Path) -> None:
    """Cut off half a line that a full disk or a power cut left at the end; the next would be glued to it."""
    if path.exists():
        content = path.read_bytes()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            os.truncate(path, whole)


def _storage(path: Path) -> BaseStorage:
    try:
        return JournalStorage(JournalFileBackend(str(path)))
    except (ValueError, KeyError) as error:
        raise LedgerError(
            f"{path}: damaged ({error}). Put a copy back, or move the sweep's folder away to start afresh"
        ) from error


def _counts(cell: CellLedger) -> CellCounts:
    search, confirmations = cell.search_trials(), cell.confirmation_trials()
    by_state = {state: sum(trial.state is state for trial in search) for state in State}
    best = cell.best()
    return CellCounts(
        cell=cell.cell,
        running=by_state[State.RUNNING] + sum(trial.state is State.RUNNING for trial in confirmations),
        complete=by_state[State.COMPLETE],
        pruned=by_state[State.PRUNED],
        failed=by_state[State.FAILED],
        search_todo=cell.search_todo(),
        confirmations_done=sum(trial.state is State.COMPLETE for trial in cell.current_confirmations()),
        confirmations_failed=sum(trial.state is State.FAILED for trial in cell.current_confirmations()),
        confirmations_todo=cell.confirmations_to_come(),
        best_miou=best.score if best else None,
    )
