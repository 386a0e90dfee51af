"""How much is spent, on each cell and on all of a sweep."""

from __future__ import annotations

from pydantic import Field

from shapeft_tune.config.base import Frozen

MOST_TRIALS = 1_000_000
"""Trials of one cell; more than anyone can pay for is a slip of the pen."""


class Total(Frozen):
    """What a whole sweep may take, over all its runs.

    When it is reached, running trials write their checkpoints and the sweep ends; a larger one lets it go on.
    """

    wall_hours: float | None = Field(None, gt=0)
    """Hours in which the sweep was at work; null for no limit."""
    device_hours: float | None = Field(None, gt=0)
    """Hours of GPUs, or of CPU cores where a trial has no GPU, all trials together; null for no limit."""


class Budget(Frozen):
    """How much is spent on each cell: the search ends with whatever is reached first.

    Trials that run then are finished, and the confirmations of what was found follow.
    """

    trials: int = Field(20, ge=1, le=MOST_TRIALS)
    """Search trials per cell, pruned and failed ones included."""
    confirmation_seeds: int = Field(3, ge=0, le=1000)
    """The best configuration again with this many other seeds, scored on the test folds; 0 for none. With
    ``folds: rotate`` each of them is five trials."""
    steps: int | None = Field(None, ge=1)
    """Optimiser steps of a cell's search trials together; null for no limit."""
    wall_hours: float | None = Field(None, gt=0)
    """Hours in which a cell had search trials at work; null for no limit."""
    device_hours: float | None = Field(None, gt=0)
    """Hours of GPUs, or of CPU cores where trials have none, of a cell's search; null for no limit."""
    total: Total = Total()
    """What all cells together may take."""
    max_retries: int = Field(2, ge=0, le=1000)
    """Times that a trial is tried again after a fault of the machine; after one of its own it never is."""
