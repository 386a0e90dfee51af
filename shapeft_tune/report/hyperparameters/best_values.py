"""The best value of a searched field in each setting, and how far from it hardly anything is lost."""

from __future__ import annotations

from dataclasses import dataclass

from shapeft_tune.report.hyperparameters.fields import SearchedField
from shapeft_tune.report.hyperparameters.study import CellSearch, StrategySearch

CLOSE = 0.01
"""mIoU below a cell's best within which a trial counts as about as good."""


@dataclass(frozen=True)
class BestValue:
    """What a field had in a cell's best trial, and in those about as good."""

    label_fraction: float
    temporal_length: int
    value: float | str
    """A number, or an option's name."""
    close: tuple[float | str, ...]
    """Values of all complete trials within 0.01 mIoU of the best, its own among them; ascending, or in the
    order of the options."""
    trials: int
    """Complete trials that had the field, from which the best was chosen."""


def best_values(search: StrategySearch, field: SearchedField) -> tuple[BestValue, ...]:
    """Return a field's best value in every cell that has a best trial with it, in the sweep's order."""
    return tuple(found for cell in search.cells if (found := _best_value(cell, field)))


def _best_value(cell: CellSearch, field: SearchedField) -> BestValue | None:
    value = field.value_in(cell.best.values) if cell.best else None
    if cell.best is None or cell.best.val_miou is None or value is None:
        return None
    having = [
        (trial.val_miou, found)
        for trial in cell.complete
        if trial.val_miou is not None and (found := field.value_in(trial.values)) is not None
    ]
    close = {found for score, found in having if score >= cell.best.val_miou - CLOSE}
    order = sorted(close) if field.is_numeric else [each for each in field.options if each in close]
    return BestValue(*cell.setting, value, tuple(order), len(having))
