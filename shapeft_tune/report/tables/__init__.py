"""A comparison as tables: for people in any format, CSV, JSON, LaTeX, terminal."""

from shapeft_tune.report.tables.latex import latex_tables
from shapeft_tune.report.tables.machine import as_csv, as_json, differences_as_csv
from shapeft_tune.report.tables.terminal import as_terminal

__all__ = ["as_csv", "as_json", "as_terminal", "differences_as_csv", "latex_tables"]
