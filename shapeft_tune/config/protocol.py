"""The words of the protocol that every layer shares."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class Role(StrEnum):
    """What a trial is for, which decides what data it may open."""

    SEARCH = "search"
    """Looks for hyperparameters; chosen on the validation folds; never opens the test folds."""
    CONFIRMATION = "confirmation"
    """Repeats the best configuration with another seed; scored on the test folds."""


class Metric(NamedTuple):
    """Names the convention behind every score, so that scores of two conventions are never compared."""

    name: str
    version: int


METRIC = Metric("miou", 1)
"""Mean IoU over the classes that occur in target or prediction, of 19; void ignored; pooled over patches."""
