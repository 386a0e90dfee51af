"""A comparison for machines: JSON and CSV."""

from __future__ import annotations

import json
from typing import Any

from shapeft_tune.report.comparison import CellSummary, Comparison
from shapeft_tune.report.comparison.pareto import published

FIELDS = (
    "strategy",
    "label_fraction",
    "temporal_length",
    "search_trials",
    "pruned_trials",
    "failed_trials",
    "left_out_trials",
    "retries",
    "confirmation_trials",
    "val_miou_best",
    "test_miou_mean",
    "test_miou_low",
    "test_miou_high",
    "test_miou_seed20_mean",
    "test_overall_accuracy_mean",
    "best_config",
)
"""Fields of :class:`CellSummary` that are published in files; their names and meaning do not change."""


def as_json(comparison: Comparison) -> str:
    """Return ``{"sweep", "metric": {"name", "version"}, "cells": [...]}``; null where there is no number.

    Where folds rotate, ``"folds": "rotate"`` tells such numbers from those of fixed folds. Where cost is an
    objective, each cell has its ``"front"``, the cheapest trial first.
    """
    name, version = comparison.metric or (None, None)
    content = {
        "sweep": comparison.sweep,
        "metric": {"name": name, "version": version},
        **({"folds": "rotate"} if comparison.rotated else {}),
        "cells": [
            _published(cell) | ({"front": published(cell.front)} if comparison.by_cost else {})
            for cell in comparison.cells
        ],
    }
    return json.dumps(content, indent=2, allow_nan=False) + "\n"


def as_csv(comparison: Comparison) -> str:
    """Return one line per cell, with a column per searched field instead of ``best_config``."""
    import pandas as pd

    rows = [_published(cell) for cell in comparison.cells]
    flat = [
        row | {f"best.{path}": value for path, value in (row.pop("best_config") or {}).items()}
        for row in rows
    ]
    frame = pd.DataFrame(
        flat, dtype=object
    )  # objects: a missing count of pandas would turn integers to floats
    return str(frame.to_csv(index=False))


def _published(cell: CellSummary) -> dict[str, Any]:
    row = {name: getattr(cell, name) for name in FIELDS}
    return row | {"best_config": dict(cell.best_config) if cell.best_config is not None else None}
