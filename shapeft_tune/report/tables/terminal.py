"""A comparison as a table for the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shapeft_tune.report.comparison import Comparison
from shapeft_tune.report.tables.results import results_table

if TYPE_CHECKING:
    from rich.table import Table

SHOWN = ("strategy", "labels", "dates", "trials", "seeds", "val mIoU", "test mIoU", "95 % interval")
"""Columns that together fit into 80 characters."""


def as_terminal(comparison: Comparison) -> Table:
    """Return a table to print with rich, the best test score of every setting in bold."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    title = f"{comparison.sweep}: five folds, confusions summed" if comparison.rotated else comparison.sweep
    drawn = Table(title=title, box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    results = results_table(comparison)
    headings = [column.heading for column in results.columns]
    shown = [headings.index(heading) for heading in SHOWN]
    for index in shown:
        drawn.add_column(headings[index], justify="right" if index else "left", overflow="fold")
    for row in results.rows:
        won = any(entry.tone == "best" for entry in row)
        drawn.add_row(*(row[index].text for index in shown), style="bold" if won else None)
    return drawn
