"""The note above a sweep in MLflow: question, findings and one small table, in Markdown."""

from __future__ import annotations

from shapeft_tune.report.comparison import CellSummary, Comparison
from shapeft_tune.report.findings import findings
from shapeft_tune.report.report import Report

LONGEST_FINDINGS = 2000
"""Characters of findings before the table: the note is cut at its end, and the table must stay whole."""
UNTESTED = "†"
LEGEND = (
    "Mean IoU on the test folds over seeds, with its 95 % interval. Rows are strategies and numbers of "
    "dates, columns are shares of the labels."
)
BEST_LEGEND = " Bold is the best strategy there."
UNTESTED_LEGEND = f" {UNTESTED}: best trial on the validation folds, not tested yet."


def note_of(report: Report) -> str:
    """Return what a visitor of the sweep's page in MLflow reads first."""
    comparison = report.comparison
    table = result_table(comparison)
    commands = "\n".join(["```", *report.reproduction.commands, "```"])
    parts = [
        f"**{comparison.question}**" if comparison.question else "",
        _findings(comparison),
        table,
        LEGEND + (BEST_LEGEND if "**" in table else "") + (UNTESTED_LEGEND if UNTESTED in table else ""),
        f"To get these numbers again:\n\n{commands}" if report.reproduction.commands else "",
    ]
    return "\n\n".join(part for part in parts if part)


def result_table(comparison: Comparison) -> str:
    """Return one line for each strategy and number of dates, one column for each share of the labels."""
    headings = ["strategy", "dates", *(f"{100 * share:g} %" for share in comparison.label_fractions)]
    rows = [
        [
            strategy,
            str(dates),
            *(_entry(comparison, strategy, share, dates) for share in comparison.label_fractions),
        ]
        for strategy in comparison.strategies
        for dates in comparison.temporal_lengths
    ]
    rule = ["---", *["---:"] * (len(headings) - 1)]
    return "\n".join(f"| {' | '.join(row)} |" for row in (headings, rule, *rows))


def _findings(comparison: Comparison) -> str:
    lines: list[str] = []
    for sentence in findings(comparison):
        if sum(map(len, lines)) + len(sentence) > LONGEST_FINDINGS:
            return "\n".join([*lines, "- ... more is in the report."])
        lines.append(f"- {sentence}")
    return "\n".join(lines)


def _entry(comparison: Comparison, strategy: str, share: float, dates: int) -> str:
    cell = _cell(comparison, strategy, share, dates)
    if cell is None or cell.score is None:
        return "–"
    text = f"{cell.score:.3f}" + ("" if cell.is_tested else UNTESTED)
    if cell.is_tested and cell.score == _best_score(comparison, share, dates):
        text = f"**{text}**"
    if cell.test_miou_low is None or cell.test_miou_high is None:
        return text
    return f"{text} ({cell.test_miou_low:.3f}–{cell.test_miou_high:.3f})"


def _cell(comparison: Comparison, strategy: str, share: float, dates: int) -> CellSummary | None:
    wanted = (strategy, share, dates)
    return next((cell for cell in comparison.cells if (cell.strategy, *cell.setting) == wanted), None)


def _best_score(comparison: Comparison, share: float, dates: int) -> float | None:
    scores = [
        cell.test_miou_mean
        for cell in comparison.cells
        if cell.setting == (share, dates) and cell.test_miou_mean is not None
    ]
    return max(scores) if len(scores) > 1 else None
