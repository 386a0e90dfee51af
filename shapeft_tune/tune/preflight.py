"""Everything about a sweep that can be known to fail before a cluster is touched."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from shapeft_tune.config.models import ModelConfig
from shapeft_tune.config.places import Places
from shapeft_tune.config.ranges import Choice
from shapeft_tune.config.sweep import Cell, SweepConfig
from shapeft_tune.config.trial import TrialConfig
from shapeft_tune.data import NUM_CLASSES, open_dataset, problems_with
from shapeft_tune.errors import DataError, HomeError, Problem
from shapeft_tune.models import build_model


def check_sweep(sweep: SweepConfig, places: Places) -> str:
    """Check every cell's data and weights, and return what the data amounts to, in 16 digits or more.

    Raises:
        DataError: with everything that the data set lacks.
        WeightsError: a checkpoint is missing or does not fit.
    """
    return check_trials([trial for cell in _first_of_each_kind(sweep) for trial in _variants(cell)], places)


def check_trials(trials: Iterable[TrialConfig], places: Places) -> str:
    """Check the data and weights of some trials; see :func:`check_sweep`."""
    digests: dict[str, None] = {}
    problems: dict[Problem, None] = {}
    models: dict[str, ModelConfig] = {}
    for trial in {(trial.data, trial.model): trial for trial in trials}.values():
        folder = open_dataset(trial.data.dataset, data=places.data, home=places.home)
        digests[folder.digest()] = None
        problems |= dict.fromkeys(problems_with(trial, folder))
        models[trial.model.model_dump_json()] = trial.model
    if problems:
        raise DataError(
            "the data set does not serve what the file asks:\n" + "\n".join(f"  {each}" for each in problems)
        )
    for model in models.values():  # the only sure way to know that weights are there, whole, and fit
        build_model(model, NUM_CLASSES, places.weights_folder)
    return "+".join(sorted(digests))


def require_writable(folder: Path) -> None:
    """Create a folder where it is missing.

    Raises:
        HomeError: it cannot be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".probe.{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise HomeError(
            f"{folder}: expected a folder that can be written to; {error.strerror or error}. "
            "Choose another, as with --home"
        ) from error


def _first_of_each_kind(sweep: SweepConfig) -> list[Cell]:
    """Return a cell for each (strategy, dates); cells that differ in labels alone need the same data."""
    kinds: dict[tuple[str, int], Cell] = {}
    for cell in sweep.cells:
        kinds.setdefault((cell.strategy, cell.temporal_length), cell)
    return list(kinds.values())


def _variants(cell: Cell) -> Iterator[TrialConfig]:
    """Yield a trial with every option of every choice: data, model and weights may depend on it."""
    first = cell.first_corners
    yield cell.trial(first)
    for path, range_ in cell.ranges.items():
        if isinstance(range_, Choice):
            yield from (cell.trial(first | {path: option}) for option in range_.options[1:])
