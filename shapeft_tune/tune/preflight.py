"""Everything about a sweep that can be known to fail before a cluster is touched."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from shapeft_tune.config.cell import Cell
from shapeft_tune.config.data import Dataset
from shapeft_tune.config.models import ModelConfig
from shapeft_tune.config.places import Places
from shapeft_tune.config.sweep import SweepConfig
from shapeft_tune.config.trial import TrialConfig
from shapeft_tune.data import Folder, open_dataset, problems_with
from shapeft_tune.data.sources import S2, sources_of
from shapeft_tune.data.splits import SizeOf
from shapeft_tune.errors import DataError, HomeError, Problem
from shapeft_tune.models import build_model, try_out
from shapeft_tune.models.weights import noting_digests

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Contents:
    """What lies on disk behind the trials of a file: another content, and they mean something else."""

    data: str
    """Of the data sets, in 16 digits or more."""
    by_strategy: Mapping[str, Mapping[str, str]]
    """Of what else a strategy reads, a checkpoint or radar, in 16 digits, by strategy and name."""


def check_sweep(sweep: SweepConfig, places: Places, tell: Tell = lambda sentence: None) -> Contents:
    """Check every cell's data, weights and network, downloading weights where they must be.

    ``tell`` hears what was done to the data and nobody may overlook.

    Raises:
        DataError: with everything that the data set lacks.
        WeightsError: a checkpoint is missing, is not the official one or does not fit.
        UserError: a network takes no patches of this size, or its tuning selects nothing.
    """
    trials = [
        (cell.strategy, trial)
        for cell in _first_of_each_kind(sweep)
        for rotation in range(cell.rotations)
        for trial in variants(cell, rotation)
    ]
    data_sets = _DataSets(places, tell)
    data = _check_data((trial for _, trial in trials), data_sets)
    read: dict[tuple[Dataset, str, ModelConfig, tuple[int, int]], dict[str, str]] = {}
    by_strategy: dict[str, dict[str, str]] = {}
    for strategy, trial in trials:
        kind = (trial.data.dataset, trial.data.orbit, trial.model, _smallest_batch(trial))
        if kind not in read:
            read[kind] = _check_model(trial, data_sets, places)
        by_strategy.setdefault(strategy, {}).update(read[kind])
    return Contents(data, by_strategy)


def check_trial(trial: TrialConfig, places: Places, tell: Tell = lambda sentence: None) -> str:
    """Check the data and weights of one trial, and return what both amount to; see :func:`check_sweep`."""
    data_sets = _DataSets(places, tell)
    data = _check_data([trial], data_sets)
    return "+".join([data, *sorted(_check_model(trial, data_sets, places).values())])


def check_weights(sweep: SweepConfig, places: Places) -> None:
    """Check every cell's pretrained weights alone, downloading them where they must be; needs no data.

    Raises:
        WeightsError: a checkpoint is missing, is not the official one or does not fit.
    """
    trials = (trial for cell in _first_of_each_kind(sweep) for trial in variants(cell))
    for model in dict.fromkeys(trial.model for trial in trials):
        if model.tuning.weights != "none":
            build_model(model, 2, places.weights_folder)  # weights fit whatever the number of classes


class _DataSets:
    """The data sets of a file: each is opened once, and its series measured once, for all trials."""

    def __init__(self, places: Places, tell: Tell) -> None:
        self._places, self._tell = places, tell
        self._folders: dict[Dataset, Folder] = {}
        self._sizes: dict[Dataset, SizeOf] = {}

    def folder(self, trial: TrialConfig) -> Folder:
        dataset = trial.data.dataset
        if dataset not in self._folders:
            places = self._places
            folder = open_dataset(
                dataset,
                data=places.data,
                home=places.home,
                cache=places.cache,
                cache_bytes=places.cache_bytes,
            )
            self._folders[dataset], self._sizes[dataset] = folder, cache(folder.size)
            for sentence in folder.told:
                self._tell(sentence)
        return self._folders[dataset]

    def size(self, trial: TrialConfig) -> tuple[int, int]:
        """Return (H, W) of the trial's patches, by the first it learns from."""
        first = self.folder(trial).in_folds(trial.data.folds.train)[0]
        return self._sizes[trial.data.dataset](first, sources_of(trial.model.sensors, trial.data.orbit))

    def problems_with(self, trial: TrialConfig) -> list[Problem]:
        return problems_with(trial, self.folder(trial), self._sizes[trial.data.dataset])


def _check_data(trials: Iterable[TrialConfig], data_sets: _DataSets) -> str:
    digests: dict[Path, str] = {}
    problems: dict[Problem, None] = {}
    for trial in {(trial.data, trial.model): trial for trial in trials}.values():
        folder = data_sets.folder(trial)
        if folder.root not in digests:
            digests[folder.root] = folder.digest()
        problems |= dict.fromkeys(data_sets.problems_with(trial))
    if problems:
        raise DataError(
            "the data set does not serve what the file asks:\n" + "\n".join(f"  {each}" for each in problems)
        )
    return "+".join(sorted(digests.values()))


def _check_model(trial: TrialConfig, data_sets: _DataSets, places: Places) -> dict[str, str]:
    """Build a model and use it once, the only sure way to know that it can be; digest what it reads."""
    folder = data_sets.folder(trial)
    with noting_digests() as digests:
        model = build_model(trial.model, len(folder.class_names), places.weights_folder)
    model.parameter_groups()
    try_out(model, trial.model, data_sets.size(trial), *_smallest_batch(trial))
    contents = {f"weights {name}": digest[:16] for name, digest in digests.items()}
    radar = [source for source in sources_of(trial.model.sensors, trial.data.orbit) if source is not S2]
    return contents | {source.folder: folder.digest_of(source) for source in radar}


def _smallest_batch(trial: TrialConfig) -> tuple[int, int]:
    """Return (patches, dates) to try a network with: more than two of either fail no other way."""
    return min(trial.training.batch_size, 2), min(trial.data.temporal_length, 2)


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
            "Choose another, as with --home or --cache"
        ) from error


def _first_of_each_kind(sweep: SweepConfig) -> list[Cell]:
    """Return a cell for each (strategy, dates); cells that differ in labels alone need the same data."""
    kinds: dict[tuple[str, int], Cell] = {}
    for cell in sweep.cells:
        kinds.setdefault((cell.strategy, cell.temporal_length), cell)
    return list(kinds.values())


def variants(cell: Cell, rotation: int = 0) -> Iterator[TrialConfig]:
    """Yield a trial with every option of every choice, as data, model and weights may depend on it."""
    for values in cell.option_values():
        yield cell.trial(values, rotation=rotation)
