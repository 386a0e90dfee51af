"""A comparison as Markdown."""

from __future__ import annotations

import json
from typing import Any

from shapeft_tune.report.comparison import Comparison
from shapeft_tune.report.comparison.pareto import in_words
from shapeft_tune.report.findings import findings
from shapeft_tune.report.tables.rows import (
    BUDGET_LEGEND,
    FRONT_LEGEND,
    HEADINGS,
    LEGEND,
    ROTATED_LEGEND,
    row_of,
    score_text,
)


def as_markdown(comparison: Comparison) -> str:
    """Return the findings, the table of scores and the table of best hyperparameters."""
    name, version = comparison.metric or ("miou", "?")
    parts = [
        f"# {comparison.sweep}",
        comparison.question,
        "\n".join(f"- {sentence}" for sentence in findings(comparison)),
        "## Scores",
        _pipes(HEADINGS, [row_of(cell) for cell in comparison.cells], left=1),
        f"{LEGEND} Metric: {name}, version {version}.",
        BUDGET_LEGEND if any(cell.left_out_trials for cell in comparison.cells) else "",
        ROTATED_LEGEND if comparison.rotated else "",
        *(("## Pareto front", FRONT_LEGEND, _fronts(comparison)) if comparison.by_cost else ()),
        "## Best hyperparameters",
        _best_configs(comparison),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _fronts(comparison: Comparison) -> str:
    rows = [
        (
            *row_of(cell)[:3],
            f"{point.device_seconds:.4g}",
            score_text(point.val_miou),
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
        (*row_of(cell)[:3], *(_value(config[path]) if path in config else "–" for path in paths))
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
