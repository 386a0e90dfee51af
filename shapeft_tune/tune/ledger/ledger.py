"""The ledger: what has been tried, what came of it, and what has still to run. Nothing else decides that.

Each cell has two Optuna studies in one storage: one for its search trials, from which samplers and pruners
learn, and one for its confirmation trials, which must not teach them. A trial is RUNNING from the moment
it is handed out until it has ended; one that is RUNNING when a driver starts belongs to a driver that died,
and goes on from its checkpoint.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import MappingProxyType
from typing import Any

import optuna
from optuna.storages import BaseStorage
from optuna.study import Study

from shapeft_tune.config.protocol import METRIC
from shapeft_tune.config.sweep import SweepConfig
from shapeft_tune.errors import LedgerError
from shapeft_tune.tune.ledger.cell_ledger import CellLedger
from shapeft_tune.tune.ledger.cell_studies import WALL_SECONDS
from shapeft_tune.tune.ledger.counts import CellCounts, count_cell
from shapeft_tune.tune.ledger.ledger_storage import look_storage, open_storage
from shapeft_tune.tune.ledger.meaning import CONTENT
from shapeft_tune.tune.ledger.trials import LedgerTrial, Spent

NO_CONTENTS: Mapping[str, Any] = MappingProxyType({})


class Ledger:
    """Every cell of a sweep."""

    def __init__(self, sweep: SweepConfig, storage: BaseStorage) -> None:
        existing = set(optuna.get_all_study_names(storage))
        thinker = ThreadPoolExecutor(1, thread_name_prefix="sampler")  # its thread is born when it is needed
        self.sweep = sweep
        self._storage = storage
        self._own_name = f"{sweep.name}:sweep"
        self._own = self._loaded() if self._own_name in existing else None
        self.exists = any(name.startswith(f"{sweep.name}:") for name in existing)
        """Whether the storage held anything of the sweep."""
        self.cells = {cell.key: CellLedger(cell, sweep, storage, existing, thinker) for cell in sweep.cells}
        for cell in self.cells.values():
            cell.neighbours = tuple(self._neighbours(cell))

    @classmethod
    def open(
        cls,
        folder: Path,
        sweep: SweepConfig,
        data_digest: str,
        contents: Mapping[str, Mapping[str, str]] = NO_CONTENTS,
        storage: BaseStorage | None = None,
    ) -> Ledger:
        """Open the ledger for running; create it on first use.

        Args:
            folder: the sweep's.
            sweep: the checked file.
            data_digest: what the data amounts to.
            contents: what else a strategy reads amounts to, a checkpoint say, by strategy and name.
            storage: that holds the ledger, where it is not a file in the folder.

        Raises:
            LedgerError: the file means something else by a cell than the ledger does, or data or a
                checkpoint is not what it was.
        """
        folder.mkdir(parents=True, exist_ok=True)
        ledger = cls(sweep, storage or open_storage(None, folder))
        ledger._require_same_meaning(_protocol(data_digest), contents)
        for cell in ledger.cells.values():
            cell.settle_half_asked()
        return ledger

    @classmethod
    def look(cls, folder: Path, sweep: SweepConfig, url: str | None = None) -> Ledger:
        """Open the ledger for reading, also beside a running sweep; empty where there is none yet.

        Args:
            folder: the sweep's.
            sweep: the checked file.
            url: of a database that holds the ledger, where it is not a file in the folder.

        Raises:
            LedgerError: as in :meth:`open`, as far as the file alone can tell.
        """
        ledger = cls(sweep, look_storage(url, folder))
        ledger._refuse(line for cell in ledger.cells.values() for line in cell.changed_meaning())
        return ledger

    @classmethod
    def changes(
        cls,
        folder: Path,
        sweep: SweepConfig,
        data_digest: str,
        contents: Mapping[str, Mapping[str, str]] = NO_CONTENTS,
        url: str | None = None,
    ) -> list[str]:
        """Return a line for each thing in a cell that :meth:`open` would refuse; writes nothing.

        Args:
            folder: the sweep's.
            sweep: the checked file.
            data_digest: as in :meth:`open`, like ``contents``.
            contents: what else the strategies read amounts to.
            url: as in :meth:`look`.
        """
        cells = cls(sweep, look_storage(url, folder)).cells.values()
        protocol = _protocol(data_digest)
        return [
            line
            for cell in cells
            for line in cell.changed_meaning(protocol | _named(contents.get(cell.cell.strategy, NO_CONTENTS)))
        ]

    def refresh(self) -> None:
        """Read what another process wrote since the last time; trials that had ended are not read again."""
        existing = set(optuna.get_all_study_names(self._storage))
        self._own = self._loaded() if self._own_name in existing else None
        for cell in self.cells.values():
            cell.refresh(existing)

    def trials(self) -> tuple[LedgerTrial, ...]:
        """Return every trial of every cell of the file."""
        return tuple(trial for cell in self.cells.values() for trial in cell.trials())

    def count(self, cell_key: str) -> CellCounts:
        """Return how far one cell is."""
        return count_cell(self.cells[cell_key])

    def counts(self) -> tuple[CellCounts, ...]:
        """Return how far every cell is."""
        return tuple(map(self.count, self.cells))

    def reopen_failed(self) -> int:
        """Make room for the failed trials that the cells' budgets let run again; return their number."""
        return sum(cell.reopen_failed() for cell in self.cells.values())

    # What all cells took

    def spent(self) -> Spent:
        """Return what all trials of the file's cells took so far."""
        return sum((cell.spent() for cell in self.cells.values()), Spent())

    @property
    def wall_seconds(self) -> float:
        """Seconds in which the sweep was at work, over all its runs."""
        return float(self._own.user_attrs.get(WALL_SECONDS, 0.0)) if self._own else 0.0

    def note_wall_seconds(self, seconds: float) -> None:
        """Note in how many seconds, all runs together, the sweep was at work."""
        if self._own is None:
            optuna.create_study(study_name=self._own_name, storage=self._storage)
            self._own = self._loaded()
        self._own.set_user_attr(WALL_SECONDS, seconds)

    # Inner workings

    def _loaded(self) -> Study:
        return optuna.load_study(study_name=self._own_name, storage=self._storage)

    def _neighbours(self, of: CellLedger) -> Iterator[CellLedger]:
        """Yield the cells of the same strategy, one label fraction or one number of dates away."""
        settings = self.sweep.settings
        fractions, lengths = sorted(settings.label_fractions), sorted(settings.temporal_lengths)

        def place(cell: CellLedger) -> tuple[int, int]:
            return fractions.index(cell.cell.label_fraction), lengths.index(cell.cell.temporal_length)

        (row, column) = place(of)
        for other in self.cells.values():
            if other.cell.strategy == of.cell.strategy:
                other_row, other_column = place(other)
                if abs(row - other_row) + abs(column - other_column) == 1:
                    yield other

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
                "undo the change; or keep those results as they are and start a new generation of the sweep "
                "beside them with `sweep --new`"
            )


def _protocol(data_digest: str) -> dict[str, str]:
    return {"data": data_digest, "metric": f"{METRIC.name} v{METRIC.version}"}


def _named(contents: Mapping[str, str]) -> dict[str, str]:
    return {f"{CONTENT}{name}": digest for name, digest in contents.items()}
