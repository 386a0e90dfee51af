"""Tables for papers: LaTeX with booktabs, to be taken in with ``\\input``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from shapeft_tune.report.comparison import Comparison, Difference, Verdict
from shapeft_tune.report.tables.layout import NONE, share_text
from shapeft_tune.report.tables.results import is_best
from shapeft_tune.report.words.phrases import signed

SPECIAL = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    '"': r"\textquotedbl{}",
    "|": r"\textbar{}",
    NONE: "--",
    "\N{MINUS SIGN}": "$-$",
}
SIGNS = {Verdict.BETTER: r"$\uparrow$", Verdict.WORSE: r"$\downarrow$", Verdict.NOT_TOLD_APART: r"$\approx$"}
HEAD = "%% Needs \\usepackage{booktabs}, and \\usepackage[T1]{fontenc}; take it in with \\input{%s}.\n"


def latex_tables(comparison: Comparison) -> dict[str, str]:
    """Return tables by the name of their file: ``results``, and ``differences`` where there are any."""
    tables = {"results": _results(comparison)}
    if comparison.differences:
        tables["differences"] = _differences(comparison)
    return {name: HEAD % name + text for name, text in tables.items()}


def escaped(text: str) -> str:
    """Return any text so that LaTeX sets it as it is."""
    return re.sub("|".join(map(re.escape, SPECIAL)), lambda found: SPECIAL[found.group()], text)


def _results(comparison: Comparison) -> str:
    """Return a line for each setting, a column for each strategy: mean and interval, the best in bold."""
    rows = [
        [*_setting(*setting), *(_score(comparison, strategy, setting) for strategy in comparison.strategies)]
        for setting in comparison.settings
    ]
    folds = "all five folds, confusions summed" if comparison.rotated else "the test folds"
    caption = (
        f"{comparison.sweep}: mIoU on {folds}, mean over seeds with its 95 % interval over seeds and test "
        "patches; bold: the best of a setting."
    )
    headings = ["labels", "dates", *comparison.strategies]
    return _table(rows, headings, caption, f"tab:{_label(comparison.sweep)}-results")


def _score(comparison: Comparison, strategy: str, setting: tuple[float, int]) -> str:
    cell = comparison.cell(strategy, *setting)
    if cell.test_miou_mean is None:
        return escaped(NONE)
    mean = f"{cell.test_miou_mean:.3f}"
    mean = rf"\textbf{{{mean}}}" if is_best(cell, comparison) else mean
    if cell.test_miou_low is None or cell.test_miou_high is None:
        return mean
    return rf"{mean} {{\scriptsize [{cell.test_miou_low:.3f}, {cell.test_miou_high:.3f}]}}"


def _differences(comparison: Comparison) -> str:
    """Return a line for each setting, a column for each strategy but the baseline: difference and verdict."""
    strategies = [name for name in comparison.strategies if name != comparison.baseline]
    rows = [
        [*_setting(*setting), *(_difference(comparison.difference(name, *setting)) for name in strategies)]
        for setting in comparison.settings
    ]
    caption = (
        f"{comparison.sweep}: test mIoU less that of {comparison.baseline}, over common seeds and patches, "
        "with intervals corrected by Holm's procedure. "
    )
    legend = (
        rf"{SIGNS[Verdict.BETTER]}: better, {SIGNS[Verdict.WORSE]}: worse, "
        rf"{SIGNS[Verdict.NOT_TOLD_APART]}: not told apart; no sign: too few seeds."
    )
    headings = ["labels", "dates", *strategies]
    return _table(rows, headings, caption, f"tab:{_label(comparison.sweep)}-differences", legend)


def _difference(found: Difference | None) -> str:
    if found is None:
        return escaped(NONE)
    mean = signed(found.mean).replace("\N{MINUS SIGN}", "-")  # which math mode sets as one
    parts = [f"${mean}$"]
    if found.low is not None and found.high is not None:
        parts.append(rf"{{\scriptsize [${found.low:+.3f}$, ${found.high:+.3f}$]}}")
    return " ".join([*parts, *([SIGNS[found.verdict]] if found.verdict in SIGNS else [])])


def _setting(label_fraction: float, temporal_length: int) -> tuple[str, str]:
    return escaped(share_text(label_fraction)).replace(" ", r"\,"), str(temporal_length)


def _table(
    rows: Sequence[Sequence[str]], headings: Sequence[str], caption: str, label: str, legend: str = ""
) -> str:
    lines = [
        r"\begin{table}",
        r"  \centering",
        rf"  \caption{{{escaped(caption)}{legend}}}",
        rf"  \label{{{label}}}",
        rf"  \begin{{tabular}}{{rr{'l' * (len(headings) - 2)}}}",
        r"    \toprule",
        _line(map(escaped, headings)),
        r"    \midrule",
        *(_line(row) for row in rows),
        r"    \bottomrule",
        r"  \end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def _line(cells: Iterable[str]) -> str:
    return "    " + " & ".join(cells) + r" \\"


def _label(name: str) -> str:
    """Return a sweep's name as a label may have it."""
    return re.sub(r"[^A-Za-z0-9.-]", "-", name)
