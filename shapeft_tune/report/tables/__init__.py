"""A comparison as tables: Markdown, CSV, JSON, terminal."""

from shapeft_tune.report.tables.machine import as_csv, as_json
from shapeft_tune.report.tables.markdown import as_markdown
from shapeft_tune.report.tables.terminal import as_terminal

__all__ = ["as_csv", "as_json", "as_markdown", "as_terminal"]
