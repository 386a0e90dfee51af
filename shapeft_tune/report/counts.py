"""The confusion matrix of every test patch of a trial, from the home or else from the record."""

from __future__ import annotations

from dataclasses import dataclass

from shapeft_tune.scores import Counts


@dataclass(frozen=True, eq=False)
class PatchCounts:
    """How a trial's best weights labelled each test patch. Legend: N patches, K classes."""

    ids: tuple[str, ...]
    class_names: tuple[str, ...]
    counts_NKK: Counts
    """Rows are targets, columns predictions; void is left out."""
