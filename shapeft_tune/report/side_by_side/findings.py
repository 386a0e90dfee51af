"""Two sweeps side by side, in sentences: what stands against it, what came out, what was declared."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from shapeft_tune.report.comparison import CellSummary, Verdict
from shapeft_tune.report.side_by_side.pairs import CellPair
from shapeft_tune.report.side_by_side.sides import SideBySide
from shapeft_tune.report.words.phrases import counted, describe_setting, listed, signed, signed_range, span
from shapeft_tune.report.words.verdicts import verdicts_in_words

FEW = 8
"""So many cells or fields at most are each told of; the rest are in the files."""
MANY_SETTINGS = 2
"""More settings than this are counted instead of named."""


def side_by_side_findings(found: SideBySide) -> tuple[str, ...]:
    """Return what the comparison of two sweeps amounts to, obstacles first."""
    return (*found.obstacles, *_verdicts(found), *_told_apart(found), *_alone(found), *_declared(found))


def _verdicts(found: SideBySide) -> Iterator[str]:
    a, b = found.a.name, found.b.name
    if not found.pairs:
        yield f"{a} and {b} have no cell in common: strategies, label fractions or dates differ."
        return
    compared = [pair for pair in found.pairs if pair.verdict]
    means = [pair.mean for pair in compared if pair.mean is not None]
    if compared:
        kinds = [pair.verdict for pair in compared if pair.verdict]
        most = max(pair.comparisons for pair in compared)
        correction = f"; verdicts corrected for {most} comparisons" if most > 1 else ""
        verdicts = verdicts_in_words(kinds, "cell")
        yield f"{b} against {a}: {verdicts} ({span(means, signed)} of mIoU{correction})."
    if any(pair.paired and pair.seeds < _most_seeds(pair) for pair in compared):
        yield "Differences are over the seeds that both have; the means beside them are over all seeds."
    waiting = [pair for pair in found.pairs if not (pair.a.is_tested and pair.b.is_tested)]
    if waiting:
        yield f"{counted(len(waiting), 'cell')} of {len(found.pairs)} not tested yet in both."


def _most_seeds(pair: CellPair) -> int:
    return max(pair.a.confirmation_trials, pair.b.confirmation_trials)


def _told_apart(found: SideBySide) -> Iterator[str]:
    apart = [pair for pair in found.pairs if pair.verdict in (Verdict.BETTER, Verdict.WORSE)]
    for pair in apart[:FEW]:
        yield f"{_named(pair)}: {found.b.name} is {pair.verdict}, {_by(pair)}."
    if len(apart) > FEW:
        yield f"... and {len(apart) - FEW} more cells are told apart."


def _named(pair: CellPair) -> str:
    return f"{pair.a.strategy}, {describe_setting(*pair.setting)}"


def _by(pair: CellPair) -> str:
    reach = "" if pair.low is None or pair.high is None else f" ({signed_range(pair.low, pair.high)})"
    return f"{signed(pair.mean or 0.0)}{reach}"


def _alone(found: SideBySide) -> Iterator[str]:
    for side, cells in ((found.a, found.only_in_a), (found.b, found.only_in_b)):
        by_strategy: dict[str, list[CellSummary]] = {}
        for cell in cells:
            by_strategy.setdefault(cell.strategy, []).append(cell)
        if by_strategy:
            told = [f"{name} ({_settings(alone)})" for name, alone in by_strategy.items()]
            yield f"Only in {side.name}: {listed(told)}."


def _settings(cells: Sequence[CellSummary]) -> str:
    if len(cells) > MANY_SETTINGS:
        return f"{len(cells)} settings"
    return "; ".join(describe_setting(*cell.setting) for cell in cells)


def _declared(found: SideBySide) -> Iterator[str]:
    lines = [f"{where}: {change}" for where, changes in found.changes.items() for change in changes]
    if not lines:
        yield "The two declare the same."
    yield from (f"Declared otherwise, {line}" for line in lines[:FEW])
    if len(lines) > FEW:
        yield f"... and {len(lines) - FEW} more fields are declared otherwise."
