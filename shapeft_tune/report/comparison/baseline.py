"""Which strategy the others are compared with."""

from __future__ import annotations

from typing import Any

from shapeft_tune.config import Cell, SweepConfig
from shapeft_tune.errors import UserError

USUAL = "utae"
"""The model that a foundation model has to beat to be worth its cost."""


def baseline_of(sweep: SweepConfig, wanted: str | None = None) -> str | None:
    """Return the strategy that others are compared with; None where there is no other.

    By default it is the first U-TAE trained from scratch, else the first U-TAE, else the first of all.

    Raises:
        UserError: the sweep has none of the wanted name.
    """
    if wanted is not None and wanted not in sweep.strategies:
        raise UserError(
            f"baseline: expected one of the sweep's strategies {list(sweep.strategies)}; got {wanted!r} - "
            f"choose one of them"
        )
    if len(sweep.strategies) < 2:
        return None
    if wanted is not None:
        return wanted
    models = {name: _model(cell) for name, cell in _first_cells(sweep).items()}
    usual = [name for name, model in models.items() if model["name"] == USUAL]
    scratch = [name for name in usual if models[name].get("tuning", {}).get("mode", "scratch") == "scratch"]
    return next(iter([*scratch, *usual, *sweep.strategies]))


def _first_cells(sweep: SweepConfig) -> dict[str, Cell]:
    """Return one cell of each strategy, in the file's order."""
    cells = {cell.strategy: cell for cell in sweep.cells}
    return {name: cells[name] for name in sweep.strategies}


def _model(cell: Cell) -> dict[str, Any]:
    model: dict[str, Any] = cell.trial(cell.first_corners, 0).canonical()["model"]
    return model
