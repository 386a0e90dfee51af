"""A comparison as a table for the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shapeft_tune.report.comparison import Comparison
from shapeft_tune.report.tables.rows import HEADINGS, row_of

if TYPE_CHECKING:
    from rich.table import Table

LEFT_OUT_OF_TERMINAL = ("pruned", "failed", "retried", "mIoU/20", "accuracy")
"""So that a table fits into 80 characters."""


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
        row = row_of(cell)
        won = cell.test_miou_mean == best[cell.setting]
        table.add_row(*(row[index] for index in shown), style="bold" if won else None)
    return table
