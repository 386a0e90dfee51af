"""A short measurement of what a trial takes, for those of which the ledger has no past.

The real trial with the largest batch of its ranges is trained for a few steps on the real data, in this
process, in a folder that is removed afterwards. What it does not see: the trials that would run beside it on
the same machine, and that a GPU keeps small data sets, so that later steps read nothing.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from shapeft_tune.config.cell import Cell
from shapeft_tune.config.places import Places
from shapeft_tune.config.protocol import Role
from shapeft_tune.config.trial import TrialConfig
from shapeft_tune.data.splits import Split
from shapeft_tune.errors import TrialError
from shapeft_tune.train.loop import BEST, LAST, Position, train
from shapeft_tune.train.memory import leaving_nothing, peak_bytes, reset_peaks
from shapeft_tune.train.setup import Setup, set_up
from shapeft_tune.tune.planning.demand import demand_of
from shapeft_tune.tune.planning.measured import Measured, keep, kind_of, meaning_of_kind

Tell = Callable[[str], None]

WARM_UP_STEPS = 3
"""Not counted: libraries choose their algorithms, the first files are read."""
LEAST_STEPS = 5
LEAST_SECONDS = 5.0
"""Of counted steps, unless so many are reached first:"""
MOST_STEPS = 200
VALIDATED_BATCHES = 2
"""Patches of so many batches are validated, and the time taken in proportion."""


def calibrate(
    cells: Sequence[Cell],
    places: Places,
    folder: Path,
    tell: Tell = lambda sentence: None,
    least_seconds: float = LEAST_SECONDS,
) -> Iterator[Measured]:
    """Measure one cell after the other, keep each measurement and yield it.

    Whoever stops asking keeps what was measured until then. A cell that cannot be measured here is told of
    and left out.

    Args:
        cells: one for each strategy and number of dates.
        places: where data and weights lie.
        folder: the sweep's, that measurements are kept in.
        tell: told what is measured, and what cannot be.
        least_seconds: that counted steps take together, if they are not too many.

    Raises:
        DataError: the data set does not serve.
        WeightsError: the weights do not.
    """
    for number, cell in enumerate(cells, start=1):
        name = f"{cell.strategy} with {cell.temporal_length} dates"
        if cell.resources.gpu not in (0, "auto") and not torch.cuda.is_available():
            tell(f"{name}: its trials get a GPU, and this machine has none; not measured")
            continue
        tell(f"measuring {name} ({number} of {len(cells)})")
        try:
            measured = measure(cell, places, least_seconds)
        except TrialError as error:
            tell(f"{name}: cannot be measured: {error}")
            continue
        keep(measured, folder)
        yield measured


def measure(cell: Cell, places: Places, least_seconds: float = LEAST_SECONDS) -> Measured:
    """Train a few steps of the largest trial of a cell, validate it on a few patches, and time both.

    Several processes that would share the trial's batches are not begun: one does all of its work.

    Raises:
        DataError: the data set does not serve.
        WeightsError: the weights do not.
        TrialError: it cannot be trained, or does not fit into memory.
    """
    config = demand_of(cell, labelled=1).largest
    torch.set_num_threads(max(int(cell.resources.cpu), 1))
    share = float(cell.resources.gpu_of_each) if cell.resources.gpu != "auto" else 1.0
    with leaving_nothing(share), TemporaryDirectory(prefix="shapeft_tune.") as folder:
        return _measured(cell, config, places, Path(folder), least_seconds)


def _measured(
    cell: Cell, config: TrialConfig, places: Places, folder: Path, least_seconds: float
) -> Measured:
    device = None if cell.resources.gpu else "cpu"
    set_up(config, places, Role.SEARCH, device)  # imports and counts what no later trial has to
    reset_peaks()
    began = time.perf_counter()
    setup = set_up(config, places, Role.SEARCH, device)
    begin_seconds = time.perf_counter() - began
    counted, validation = _trained(_shortened(setup), folder, least_seconds)
    seconds_per_patch = validation / len(_few(setup.splits.validation, setup))
    used = setup.compute.device
    strategy, temporal_length = kind_of(cell)
    return Measured(
        strategy=strategy,
        temporal_length=temporal_length,
        steps_per_second=counted.step / counted.train_seconds,
        source="calibration",
        batch_size=config.training.batch_size,
        validation_seconds=seconds_per_patch * len(setup.splits.validation),
        begin_seconds=begin_seconds,
        test_seconds=seconds_per_patch * _test_patches(setup),
        best_bytes=(folder / BEST).stat().st_size,
        last_bytes=(folder / LAST).stat().st_size,
        peak_memory_bytes=peak_bytes(used),
        device=torch.cuda.get_device_name(used) if used.type == "cuda" else "cpu",
        meaning=meaning_of_kind(config),
    )


def _trained(setup: Setup, folder: Path, least_seconds: float) -> tuple[Position, float]:
    """Return the counted steps with their seconds, and the seconds of a validation."""
    first = last = _train_to(setup, WARM_UP_STEPS, folder)
    rounds, more = 0, LEAST_STEPS
    while more > 0:
        last, rounds = _train_to(setup, last.step + more, folder), rounds + 1
        steps, seconds = last.step - first.step, last.train_seconds - first.train_seconds
        missing = math.ceil(steps * (least_seconds / seconds - 1))
        more = min(max(missing, LEAST_STEPS), MOST_STEPS - steps) if missing > 0 else 0
    validations = last.seconds - first.seconds - seconds
    return Position(step=steps, train_seconds=seconds), validations / rounds


def _train_to(setup: Setup, step: int, folder: Path) -> Position:
    """Go on from the folder's checkpoint to a step, and validate there."""
    return train(replace(setup, steps=step), folder, lambda progress: None, lambda: False)


def _shortened(setup: Setup) -> Setup:
    """Return the trial with a few patches to validate on, and no validation before the last step."""
    validation = setup.config.validation.model_copy(update={"every": 10 * MOST_STEPS})
    config = setup.config.model_copy(update={"validation": validation})
    splits = replace(setup.splits, validation=_few(setup.splits.validation, setup))
    return replace(setup, config=config, splits=splits)


def _few(split: Split, setup: Setup) -> Split:
    return replace(split, patches=split.patches[: VALIDATED_BATCHES * setup.config.training.batch_size])


def _test_patches(setup: Setup) -> int:
    """Return how many patches the test folds have; none of them is read."""
    return len(setup.splits.train.folder.in_folds(setup.config.data.folds.test))
