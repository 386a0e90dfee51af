"""Verdicts over several settings or pairs of cells, counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from shapeft_tune.report.comparison import Difference, Verdict
from shapeft_tune.report.words.phrases import in_settings

COUNTED = {
    Verdict.BETTER: "better",
    Verdict.WORSE: "worse",
    Verdict.NOT_TOLD_APART: "not told apart",
    Verdict.TOO_FEW_SEEDS: "with too few seeds to say",
}


def verdicts_in_words(found: Sequence[Verdict], thing: str) -> str:
    """Return ``better in 5 of 9 settings, worse in 1, not told apart in 3``."""
    counts = Counter(found)
    (first, number), *others = [(word, counts[kind]) for kind, word in COUNTED.items() if counts[kind]]
    rest = [f"{word} in {count}" for word, count in others]
    return ", ".join([f"{first} {in_settings(number, len(found), thing)}", *rest])


def corrected(found: Sequence[Difference]) -> str:
    """Return for how many comparisons verdicts are corrected, to be added in brackets; empty for one."""
    most = max(each.comparisons for each in found)
    return f"; verdicts corrected for {most} comparisons" if most > 1 else ""
