"""What the trials of a cell ask for at most: the corners of its ranges, and how many steps they take."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from pydantic import ValidationError

from shapeft_tune.config.cell import Cell
from shapeft_tune.config.training import Epochs
from shapeft_tune.config.trial import TrialConfig


@dataclass(frozen=True)
class Demand:
    """How long the trials of a cell are."""

    largest: TrialConfig
    """The trial at a corner of the ranges that has the most pixels in a batch."""
    steps: int | None
    """Optimiser steps of the longest trial; None where they follow from patches that were not counted."""
    steps_vary: bool
    """Whether other trials of the cell are shorter."""
    every: int
    """Steps between validations of the longest trial."""

    @property
    def in_epochs(self) -> bool:
        """Whether the steps follow from the number of labelled patches."""
        return isinstance(self.largest.training.steps, Epochs)


def demand_of(cell: Cell, labelled: int | None = None) -> Demand:
    """Return what a cell's trials ask for.

    Args:
        cell: the cell.
        labelled: patches that its trials learn from; needed where the budget of a trial is in epochs.
    """
    trials = list(corner_trials(cell))
    steps = [steps_of(trial, labelled) for trial in trials]
    known = [count for count in steps if count is not None]
    all_known = len(known) == len(steps)
    longest = trials[steps.index(max(known))] if all_known else trials[0]
    return Demand(
        largest=max(trials, key=_pixels),
        steps=max(known) if all_known else None,
        steps_vary=all_known and len(set(known)) > 1,
        every=longest.validation.every,
    )


def corner_trials(cell: Cell) -> Iterator[TrialConfig]:
    """Yield the trial that stands for the cell, then one for each end or option of each range."""
    yield cell.trial(cell.first_corners)
    for name in cell.axes.searched:
        for corner in cell.ranges[name].corners:
            if (picks := cell.occurring({name: corner})) is None:
                continue
            try:
                yield cell.trial(cell.axes.values(picks))
            except ValidationError:  # contradicts what the other ranges were given
                continue


def _pixels(trial: TrialConfig) -> tuple[float, int]:
    """Return what tells larger batches: their pixels, then patches; whole patches are more than any crops."""
    crop, patches = trial.data.augmentation.crop, trial.training.batch_size
    return patches * crop**2 if crop else math.inf, patches


def steps_of(trial: TrialConfig, labelled: int | None) -> int | None:
    """Return the optimiser steps of one trial; None for epochs over an unknown number of patches."""
    budget = trial.training.steps
    if isinstance(budget, Epochs):
        return None if labelled is None else math.ceil(budget.epochs * labelled / trial.training.batch_size)
    return budget
