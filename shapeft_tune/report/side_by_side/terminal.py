"""Two sweeps side by side as a table for the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shapeft_tune.report.comparison import Verdict
from shapeft_tune.report.side_by_side.pairs import CellPair
from shapeft_tune.report.side_by_side.sides import SideBySide
from shapeft_tune.report.tables.layout import NONE, interval_text, share_text
from shapeft_tune.report.words.phrases import signed

if TYPE_CHECKING:
    from rich.table import Table


def as_terminal(found: SideBySide) -> Table:
    """Return the test mIoU of every cell that both have, to print with rich: those told apart in bold."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    title = f"test mIoU of A, {found.a.name}, and B, {found.b.name}"
    table = Table(title=title, box=SIMPLE_HEAD, padding=0, pad_edge=False)
    table.add_column("strategy", overflow="fold")
    for heading in ("labels", "dates", "A", "B", "B \N{MINUS SIGN} A", "interval"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("B is", no_wrap=True)
    for pair in found.pairs:
        apart = pair.verdict in (Verdict.BETTER, Verdict.WORSE)
        table.add_row(*_row(pair), style="bold" if apart else None)
    return table


def _row(pair: CellPair) -> tuple[str, ...]:
    return (
        pair.a.strategy,
        share_text(pair.a.label_fraction),
        str(pair.a.temporal_length),
        _score(pair.a.test_miou_mean),
        _score(pair.b.test_miou_mean),
        NONE if pair.mean is None else signed(pair.mean),
        interval_text(pair.low, pair.high, sign=True) or NONE,
        str(pair.verdict or NONE),
    )


def _score(value: float | None) -> str:
    return NONE if value is None else f"{value:.3f}"
