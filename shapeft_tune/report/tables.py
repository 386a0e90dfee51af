"""A comparison as Markdown, CSV, JSON and a table for the terminal."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from shapeft_tune.report.comparison import CellSummary, Comparison
from shapeft_tune.report.findings import findings
from shapeft_tune.report.pareto import in_words, published

if TYPE_CHECKING:
    from rich.table import Table

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

HEADINGS = (
    "strategy",
    "labels",
    "dates",
    "trials",
    "pruned",
    "failed",
    "retried",
    "seeds",
    "val mIoU",
    "test mIoU",
    "95 % interval",
    "mIoU/20",
    "accuracy",
)
LEFT_OUT_OF_TERMINAL = ("pruned", "failed", "retried", "mIoU/20", "accuracy")
"""So that a table fits into 80 characters."""
ENDED_BY_BUDGET = "†"
LEGEND = (
    "Scores are fractions of 1. *val mIoU*: the best search trial on the validation folds. *test mIoU*: mean "
    "of its confirmations with other seeds on the test folds, with Student's 95 % interval over those seeds. "
    "*mIoU/20*: mean over 20 classes with void counted as 0, as the original study had it."
)
BUDGET_LEGEND = f"{ENDED_BY_BUDGET}: the cell's budget ended its search before all trials."
ROTATED_LEGEND = (
    "Five folds, confusions summed: each seed was trained five times, every fold tested once, and its test "
    "scores are those of the sum of the five confusion matrices; a seed that lacks one of them is missing. "
    "The hyperparameters were chosen on the search's own training and validation folds, which are among the "
    "tested ones here; with fixed folds they are not."
)
FRONT_LEGEND = (
    "Search trials than which no other of the cell is both as good and as cheap, the cheapest first. *device "
    "seconds*: training and scoring, times GPUs, or times CPU cores where a trial has no GPU."
)


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


def as_markdown(comparison: Comparison) -> str:
    """Return the findings, the table of scores and the table of best hyperparameters."""
    name, version = comparison.metric or ("miou", "?")
    parts = [
        f"# {comparison.sweep}",
        comparison.question,
        "\n".join(f"- {sentence}" for sentence in findings(comparison)),
        "## Scores",
        _pipes(HEADINGS, [_row(cell) for cell in comparison.cells], left=1),
        f"{LEGEND} Metric: {name}, version {version}.",
        BUDGET_LEGEND if any(cell.left_out_trials for cell in comparison.cells) else "",
        ROTATED_LEGEND if comparison.rotated else "",
        *(("## Pareto front", FRONT_LEGEND, _fronts(comparison)) if comparison.by_cost else ()),
        "## Best hyperparameters",
        _best_configs(comparison),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def as_terminal(comparison: Comparison) -> Table:
    """Return a table to print with rich, the best test score of every setting in bold."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    title = f"{comparison.sweep}: five folds, confusions summed" if comparison.rotated else comparison.sweep
    table = Table(title=title, box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    shown = [index for index, heading in enumerate(HEADINGS) if heading not in LEFT_OUT_OF_TERMINAL]
    for index in shown:
        table.add_column(HEADINGS[index], justify="right" if index else "left", overflow="fold")
    best = {
        setting: max(cell.test_miou_mean or 0.0 for cell in comparison.cells if cell.setting == setting)
        for setting in comparison.settings
    }
    for cell in comparison.cells:
        row = _row(cell)
        won = cell.test_miou_mean == best[cell.setting]
        table.add_row(*(row[index] for index in shown), style="bold" if won else None)
    return table


def _published(cell: CellSummary) -> dict[str, Any]:
    row = {name: getattr(cell, name) for name in FIELDS}
    return row | {"best_config": dict(cell.best_config) if cell.best_config is not None else None}


def _row(cell: CellSummary) -> tuple[str, ...]:
    wanted = cell.search_trials + cell.missing_search_trials + cell.left_out_trials
    mark = ENDED_BY_BUDGET if cell.left_out_trials else ""
    return (
        cell.strategy,
        f"{100 * cell.label_fraction:g} %",
        str(cell.temporal_length),
        f"{cell.search_trials}/{wanted}{mark}",
        str(cell.pruned_trials),
        str(cell.failed_trials),
        str(cell.retries),
        f"{cell.confirmation_trials}/{cell.confirmation_trials + cell.missing_confirmations}",
        _score(cell.val_miou_best),
        _score(cell.test_miou_mean),
        "–" if cell.test_miou_low is None else f"{_score(cell.test_miou_low)}–{_score(cell.test_miou_high)}",
        _score(cell.test_miou_seed20_mean),
        _score(cell.test_overall_accuracy_mean),
    )


def _score(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _fronts(comparison: Comparison) -> str:
    rows = [
        (
            *_row(cell)[:3],
            f"{point.device_seconds:.4g}",
            _score(point.val_miou),
            f"`{in_words(point.config)}`" if point.config else "–",
        )
        for cell in comparison.cells
        for point in cell.front
    ]
    headings = (*HEADINGS[:3], "device seconds", "val mIoU", "configuration")
    return _pipes(headings, rows, left=1) if rows else "None yet."


def _best_configs(comparison: Comparison) -> str:
    """Return a table with a column per field that any strategy searched."""
    configs = [dict(cell.best_config or {}) for cell in comparison.cells]
    paths = list(dict.fromkeys(path for config in configs for path in config))
    if not paths:
        return (
            "None yet."
            if any(cell.best_config is None for cell in comparison.cells)
            else "Nothing was searched."
        )
    rows = [
        (*_row(cell)[:3], *(_value(config[path]) if path in config else "–" for path in paths))
        for cell, config in zip(comparison.cells, configs, strict=True)
    ]
    return _pipes((*HEADINGS[:3], *(f"`{path}`" for path in paths)), rows, left=1)


def _value(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return value if isinstance(value, str) else json.dumps(value)


def _pipes(headings: tuple[str, ...], rows: list[tuple[str, ...]], left: int) -> str:
    """Lay out a Markdown table; the first ``left`` columns are text, the others numbers."""
    rule = tuple("---" if index < left else "---:" for index in range(len(headings)))
    escaped = [tuple(text.replace("|", "\\|") for text in row) for row in rows]
    return "\n".join("| " + " | ".join(row) + " |" for row in (headings, rule, *escaped))
