"""The report: reads the record, compares cells, draws. Knows neither Ray nor torch."""

from shapeft_tune.report.comparison import CellSummary, Comparison, compare
from shapeft_tune.report.findings import findings
from shapeft_tune.report.runs import Run, read_runs
from shapeft_tune.report.tables import as_terminal
from shapeft_tune.report.write import ReportFiles, write_report

__all__ = [
    "CellSummary",
    "Comparison",
    "ReportFiles",
    "Run",
    "as_terminal",
    "compare",
    "findings",
    "read_runs",
    "write_report",
]
