"""What a trial of a strategy takes, as it was measured: by the sweep's own trials, or by a short calibration.

Whoever plans reads it, and so may whoever shares a GPU among trials. Nothing here needs PyTorch.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from shapeft_tune.atomic import write_atomically
from shapeft_tune.config.cell import Cell
from shapeft_tune.config.trial import TrialConfig
from shapeft_tune.tune.ledger.ledger import Ledger
from shapeft_tune.tune.ledger.trials import LedgerTrial, State
from shapeft_tune.tune.orders import trial_folder

FOLDER = "measured"
"""Inside the sweep's folder: a small file for each strategy and number of dates."""
RESULT_FILE, BEST_FILE = "result.json", "best.pt"
MOST_RESULTS = 12
"""Trials of one kind whose results are read; more of them say little more."""

Kind = tuple[str, int]
"""Strategy and number of dates: what a trial takes hardly depends on anything else."""


@dataclass(frozen=True)
class Measured:
    """What one trial of a strategy takes with a number of dates."""

    strategy: str
    temporal_length: int
    steps_per_second: float
    """Optimiser steps; with validations between them where ``validation_seconds`` is None."""
    source: Literal["ledger", "calibration"]
    batch_size: int | None = None
    """Patches per step; None where trials had different ones."""
    validation_seconds: float | None = None
    """Of one validation."""
    begin_seconds: float | None = None
    """To open the data and build the network; None where that was not measured."""
    test_seconds: float | None = None
    """To score a confirmation on the test folds; None where that was not measured."""
    best_bytes: int | None = None
    """Of the checkpoint that is kept of a winner and of each confirmation."""
    last_bytes: int | None = None
    """Of the checkpoint that a running trial goes on from."""
    peak_memory_bytes: int | None = None
    """Most of a GPU's memory that tensors took at once; None on a CPU."""
    device: str = ""
    """As its machine's owner would name it."""
    trials: int = 0
    """Of the ledger that it was measured on; 0 in a calibration."""
    meaning: str = ""
    """Of a calibration: the fingerprint of what was run, see :func:`meaning_of_kind`."""
    scaled_from: int | None = None
    """Number of dates that it was measured with, where that was another one."""

    @property
    def kind(self) -> Kind:
        """Strategy and number of dates."""
        return self.strategy, self.temporal_length

    def scaled_to(self, temporal_length: int) -> Measured:
        """Return what follows for another number of dates if time and memory grow in proportion to it."""
        factor = temporal_length / self.temporal_length
        peak = self.peak_memory_bytes
        return replace(
            self,
            temporal_length=temporal_length,
            steps_per_second=self.steps_per_second / factor,
            validation_seconds=_times(self.validation_seconds, factor),
            test_seconds=_times(self.test_seconds, factor),
            peak_memory_bytes=None if peak is None else math.ceil(peak * factor),
            scaled_from=self.temporal_length,
        )


def measured_or_scaled(kind: Kind, known: Mapping[Kind, Measured]) -> Measured | None:
    """Return what was measured of a kind or follows from the nearest number of dates; None for neither."""
    strategy, dates = kind
    if kind in known:
        return known[kind]
    same = [each for each in known.values() if each.strategy == strategy]
    nearest = min(same, key=lambda each: abs(math.log(each.temporal_length / dates)), default=None)
    return nearest.scaled_to(dates) if nearest else None


def meaning_of_kind(config: TrialConfig) -> str:
    """Return the fingerprint of a trial but for its labels: a calibration of it counts for all of them."""
    data = config.data.model_copy(update={"label_fraction": 1.0})
    return config.model_copy(update={"data": data}).fingerprint()


# Calibrations


def keep(measured: Measured, folder: Path) -> None:
    """Write a calibration into the sweep's folder; the one before is replaced."""
    target = _file(folder, measured.kind)
    target.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(target, json.dumps(asdict(measured), indent=1).encode())


def kept(folder: Path, meanings: Mapping[Kind, str]) -> dict[Kind, Measured]:
    """Return the calibrations in the sweep's folder that are still of what the file says.

    Args:
        folder: the sweep's.
        meanings: what each kind's calibration runs now, see :func:`meaning_of_kind`.
    """
    found = {}
    for kind, meaning in meanings.items():
        try:
            measured = Measured(**json.loads(_file(folder, kind).read_text(encoding="utf-8")))
        except (FileNotFoundError, ValueError, TypeError):  # none, or of another version
            continue
        if measured.meaning == meaning:
            found[kind] = measured
    return found


def _file(folder: Path, kind: Kind) -> Path:
    strategy, dates = kind
    return folder / FOLDER / f"{strategy},dates={dates}.json"


# The ledger's past


def of_the_past(ledger: Ledger, folder: Path) -> dict[Kind, Measured]:
    """Return what the ledger's trials took, by kind: from the results of complete ones, else from any.

    Args:
        ledger: opened for reading or running.
        folder: the sweep's, with the trials' folders where they are on this machine.
    """
    by_kind: dict[Kind, list[LedgerTrial]] = {}
    for trial in ledger.trials():
        if trial.state is not State.RUNNING and trial.spent.steps and trial.spent.seconds > 0:
            by_kind.setdefault(kind_of(trial.cell), []).append(trial)
    return {kind: _of_trials(kind, trials, folder) for kind, trials in by_kind.items()}


def kind_of(cell: Cell) -> Kind:
    """Return a cell's strategy and number of dates."""
    return cell.strategy, cell.temporal_length


def _of_trials(kind: Kind, trials: list[LedgerTrial], folder: Path) -> Measured:
    sizes = {trial.config.training.batch_size for trial in trials}
    seconds = sum(trial.spent.seconds for trial in trials)
    spent = Measured(
        *kind,
        steps_per_second=sum(trial.spent.steps for trial in trials) / seconds,
        source="ledger",
        batch_size=sizes.pop() if len(sizes) == 1 else None,
        best_bytes=_largest(_best_sizes(trials, folder)),
        trials=len(trials),
    )
    if not (results := list(_results(trials, folder))):
        return spent
    steps, train_seconds = (sum(result[name] for result in results) for name in ("steps", "train_seconds"))
    validations = sum(validations_of(result["steps"], result["every"]) for result in results)
    return replace(
        spent,
        steps_per_second=steps / train_seconds,
        validation_seconds=(sum(each["seconds"] for each in results) - train_seconds) / validations,
        peak_memory_bytes=_largest(each["peak"] for each in results if each["peak"] is not None),
        device=", ".join(sorted({each["device"] for each in results})),
    )


def validations_of(steps: int, every: int) -> int:
    """Return how often a trial is validated: at every multiple of ``every``, and at its end."""
    return math.ceil(steps / every)


def _results(trials: Iterable[LedgerTrial], folder: Path) -> Iterator[dict[str, Any]]:
    """Yield what the newest complete trials wrote of their cost, as far as they measured it."""
    complete = [trial for trial in trials if trial.state is State.COMPLETE]
    for trial in complete[-MOST_RESULTS:]:
        path = trial_folder(folder, trial.cell.strategy, trial.fingerprint) / RESULT_FILE
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):  # its folder is elsewhere
            continue
        if content.get("train_seconds"):
            yield {
                "steps": content["steps"],
                "every": trial.config.validation.every,
                "seconds": content["seconds"],
                "train_seconds": content["train_seconds"],
                "peak": content.get("peak_memory_bytes"),
                "device": content["device"],
            }


def _best_sizes(trials: Iterable[LedgerTrial], folder: Path) -> Iterator[int]:
    for trial in trials:
        path = trial_folder(folder, trial.cell.strategy, trial.fingerprint) / BEST_FILE
        if path.is_file():
            yield path.stat().st_size


def _largest(numbers: Iterable[int]) -> int | None:
    return max(numbers, default=None)


def _times(number: float | None, factor: float) -> float | None:
    return None if number is None else number * factor
