"""What a file says otherwise than its ledger: for ``plan --diff``, which changes nothing.

A ledger notes what its trials mean: fixed values, kinds, options and conditions of ranges, the objective,
data and weights. It does not note bounds (but for those of ``log_normal``), constraints, sampler, pruner and
resources; these are not compared. Finished trials that a narrower range or a new constraint would exclude
count all the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna
from optuna.storages import BaseStorage

from shapeft_tune.config.protocol import METRIC
from shapeft_tune.config.sweep import SweepConfig
from shapeft_tune.tune.ledger.asking import VOID
from shapeft_tune.tune.ledger.cell_ledger import CellLedger
from shapeft_tune.tune.ledger.ledger import Ledger
from shapeft_tune.tune.ledger.ledger_storage import look_storage
from shapeft_tune.tune.ledger.meaning import CONTENT
from shapeft_tune.tune.ledger.trials import State

if TYPE_CHECKING:
    from shapeft_tune.tune.preflight import Contents


@dataclass(frozen=True)
class Change:
    """One cell that the file changes something of."""

    cell: str
    """Its key."""
    there: int
    """Trials that the ledger holds."""
    wanted: int
    """Trials that the file asks for."""
    limit: str = ""
    """Which limit of the budget ended its search; empty for none."""

    def __str__(self) -> str:
        """Render as ``utae/labels=1/dates=6: 3 -> 5``."""
        return f"{self.cell}: {self.there} -> {self.wanted}"


@dataclass(frozen=True)
class LedgerDiff:
    """What the file says otherwise than the ledger."""

    refused: Mapping[str, int]
    """Differences that change what finished trials mean, each with the number of its cells."""
    new: tuple[Change, ...]
    """Cells without a trial so far."""
    unfinished: tuple[Change, ...]
    """Cells in the middle of their search: whether the file asks for more than before, nobody noted."""
    reopened: tuple[Change, ...]
    """Cells whose search had ended, by the number of trials or another limit, and would go on."""
    ended: tuple[Change, ...]
    """Cells whose search another limit than the number of trials has ended, and that stay so."""
    seeds: tuple[Change, ...]
    """Cells whose search stays as it is and that need confirmations."""
    gone: tuple[Change, ...]
    """Cells of the ledger that the file has no more; kept, and not shown in reports."""

    @property
    def empty(self) -> bool:
        """Whether nothing that was compared differs, and nothing is to be done."""
        return not any((self.refused, self.new, self.unfinished, self.reopened, self.seeds, self.gone))


def compare(
    sweep: SweepConfig, folder: Path, url: str | None = None, contents: Contents | None = None
) -> LedgerDiff:
    """Hold a file against its ledger.

    Args:
        sweep: the checked file.
        folder: the sweep's.
        url: of a database that holds the ledger, where it is not a file in the folder.
        contents: of data and weights; without them only what the file says is compared.

    Raises:
        LedgerError: the ledger cannot be read.
    """
    storage = look_storage(url, folder)
    ledger = Ledger(sweep, storage)
    refused: Counter[str] = Counter()
    found: dict[str, list[Change]] = {}
    for cell in ledger.cells.values():
        if lines := cell.changed_meaning(_protocol(cell, contents)):
            refused.update(lines)
            continue
        for kind, change in _changes(cell):
            found.setdefault(kind, []).append(change)
    kinds = ("new", "unfinished", "reopened", "ended", "seeds")
    return LedgerDiff(
        refused=dict(refused),
        **{kind: tuple(found.get(kind, ())) for kind in kinds},
        gone=tuple(_gone(sweep, storage)),
    )


def _protocol(cell: CellLedger, contents: Contents | None) -> dict[str, str] | None:
    """Return the parts of a cell's meaning that are not in the file; None where they were not looked at."""
    if contents is None:
        return None
    named = contents.by_strategy.get(cell.cell.strategy, {})
    metric = {"metric": f"{METRIC.name} v{METRIC.version}", "data": contents.data}
    return metric | {f"{CONTENT}{name}": digest for name, digest in named.items()}


def _changes(cell: CellLedger) -> Iterator[tuple[str, Change]]:
    key, search = cell.cell.key, cell.search_trials()
    change = Change(key, len(search), cell.cell.trials, cell.budget_reached)
    if not search:
        yield "new", change
        return
    if cell.search_todo():
        yield "reopened" if cell.confirmation_trials() else "unfinished", change
    elif any(trial.state is State.RUNNING for trial in search):
        yield "unfinished", change
    elif len(search) < cell.cell.trials:
        yield "ended", change
    if not cell.search_todo() and (missing := cell.confirmations_to_come()):
        there = len(cell.current_confirmations())
        yield "seeds", Change(key, there, there + missing)


def _gone(sweep: SweepConfig, storage: BaseStorage) -> Iterator[Change]:
    """Yield the cells that have studies and are not in the file."""
    counted: Counter[str] = Counter()
    for study in optuna.get_all_study_summaries(storage, include_best_trial=False):
        name, _, rest = study.study_name.partition(":")
        key, _, role = rest.rpartition(":")
        if name == sweep.name and key and role:
            trials = storage.get_all_trials(study._study_id, deepcopy=False)
            counted[key] += sum(VOID not in trial.user_attrs for trial in trials)
    for key in sorted(counted.keys() - {cell.key for cell in sweep.cells}):
        if counted[key]:
            yield Change(key, counted[key], 0)


def diff_json(diff: LedgerDiff) -> dict[str, Any]:
    """Return the differences for machines."""
    changes = ("new", "unfinished", "reopened", "ended", "seeds", "gone")
    return {
        "refused": [{"difference": line, "cells": count} for line, count in diff.refused.items()],
        **{
            kind: [
                {"cell": change.cell, "there": change.there, "wanted": change.wanted, "limit": change.limit}
                for change in getattr(diff, kind)
            ]
            for kind in changes
        },
    }
