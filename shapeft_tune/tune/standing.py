"""Where a sweep stands, read from its ledger alone, beside a running sweep or after it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from shapeft_tune.config.places import Places
from shapeft_tune.config.sweep import SweepConfig
from shapeft_tune.tune.cell_ledger import State, short_reason
from shapeft_tune.tune.ledger import CellCounts, Ledger
from shapeft_tune.tune.trainable import trial_folder


def look_at(sweep: SweepConfig, places: Places) -> tuple[CellCounts, ...]:
    """Return how far every cell of the file is."""
    return Ledger.look(places.sweep_folder(sweep.name), sweep).counts()


def failures(sweep: SweepConfig, places: Places) -> Iterator[str]:
    """Yield a line for each failed trial: which, why, and where its folder is."""
    folder = places.sweep_folder(sweep.name)
    for trial in Ledger.look(folder, sweep).trials():
        if trial.state is State.FAILED:
            place: Path = trial_folder(folder, trial.cell.strategy, trial.fingerprint)
            yield f"{trial.cell.key} {trial.role} failed: {short_reason(trial.message)} ({place})"


def status_json(sweep: str, driver: str | None, counts: Sequence[CellCounts]) -> dict[str, Any]:
    """Return the counts by state for each cell, whether all is done, and who is at work on the rest."""
    return {
        "sweep": sweep,
        "driver": driver,
        "done": all(count.done for count in counts),
        "cells": [
            _cell(count)
            | {
                "running": count.running,
                "complete": count.complete,
                "pruned": count.pruned,
                "failed": count.failed,
                "to_do": count.search_todo + count.confirmations_todo,
                "confirmations": count.confirmations_done,
                "confirmations_failed": count.confirmations_failed,
                "val_miou_best": count.best_miou,
                "done": count.done,
            }
            for count in counts
        ],
    }


def plan_json(sweep: str, counts: Sequence[CellCounts]) -> dict[str, Any]:
    """Return the trials of each cell, to do and done."""
    return {
        "sweep": sweep,
        "trials_to_do": sum(count.trials_todo for count in counts),
        "trials_done": sum(count.trials_done for count in counts),
        "cells": [
            _cell(count) | {"trials_to_do": count.trials_todo, "trials_done": count.trials_done}
            for count in counts
        ],
    }


def _cell(count: CellCounts) -> dict[str, Any]:
    cell = count.cell
    return {
        "strategy": cell.strategy,
        "label_fraction": cell.label_fraction,
        "temporal_length": cell.temporal_length,
    }
