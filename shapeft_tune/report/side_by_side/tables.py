"""Two sweeps side by side as tables."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from shapeft_tune.report.comparison import CellSummary, Verdict
from shapeft_tune.report.side_by_side.changes import Change
from shapeft_tune.report.side_by_side.pairs import CellPair
from shapeft_tune.report.side_by_side.sides import SideBySide
from shapeft_tune.report.tables.layout import (
    NONE,
    Column,
    Entry,
    Table,
    code,
    count,
    interval_text,
    place,
    place_columns,
    score,
    signed,
    text,
)

TONES = {Verdict.BETTER: "better", Verdict.WORSE: "worse"}
PAIRED_NOTE = (
    "*paired*: both were tested on the same patches of the same data, so that the difference is over common "
    "seeds and the same draws of the patches. Elsewhere it is that of two independent means."
)


def cells_table(found: SideBySide) -> Table | None:
    """Return a line for every cell that both have; None where there is none."""
    if not found.pairs:
        return None
    a, b = found.a.name, found.b.name
    columns = (
        *place_columns(),
        Column(a, "its mean test mIoU, with 95 % interval"),
        Column(b, "its mean test mIoU, with 95 % interval"),
        Column(
            "difference", f"test mIoU of {b} less that of {a}, with the interval that Holm's procedure tests"
        ),
        Column("p", "adjusted by Holm's procedure"),
        Column("seeds", "common ones where it is paired, else those of the side with fewer"),
        Column("paired", "over common seeds and patches", numeric=False),
        Column("verdict", f"of {b}", numeric=False),
    )
    most = max(pair.comparisons for pair in found.pairs)
    corrected = (
        f"Intervals and p values are corrected for {most} comparisons (Holm); an interval leaves out 0 "
        "exactly where the verdict is *better* or *worse*."
    )
    notes = ([corrected] if most > 1 else []) + [PAIRED_NOTE]
    caption = f"{b} against {a}, cell by cell"
    return Table("cells", caption, columns, tuple(_row(pair) for pair in found.pairs), tuple(notes))


def _row(pair: CellPair) -> tuple[Entry, ...]:
    return (
        *place(*pair.place),
        _score(pair.a),
        _score(pair.b),
        replace(signed(pair.mean), detail=interval_text(pair.low, pair.high, sign=True)),
        Entry(NONE) if pair.p_value is None else Entry(f"{pair.p_value:.3f}", pair.p_value),
        count(pair.seeds) if pair.verdict else Entry(NONE),
        text("yes" if pair.paired else "no") if pair.mean is not None else Entry(NONE),
        text(str(pair.verdict), TONES.get(pair.verdict, "quiet")) if pair.verdict else Entry(NONE),
    )


def _score(cell: CellSummary) -> Entry:
    interval = interval_text(cell.test_miou_low, cell.test_miou_high)
    return replace(score(cell.test_miou_mean), detail=interval)


def only_table(found: SideBySide) -> Table | None:
    """Return the cells that one of the two has alone; None where there are none."""
    rows = [
        (*place(cell.strategy, *cell.setting), text(side.name), _score(cell))
        for side, cells in ((found.a, found.only_in_a), (found.b, found.only_in_b))
        for cell in cells
    ]
    if not rows:
        return None
    columns = (*place_columns(), Column("only in", numeric=False), Column("test mIoU", "with 95 % interval"))
    return Table("only", "Cells that only one of them has", columns, tuple(rows))


def declared_table(found: SideBySide) -> Table | None:
    """Return what the two declare otherwise; None where that is nothing."""
    rows = tuple(
        (text(where), *_change(change)) for where, changes in found.changes.items() for change in changes
    )
    if not rows:
        return None
    columns = (Column("where", numeric=False), *_change_columns(found))
    notes = ("A range stands where the search chooses a value. *–*: there is no such field.",)
    return Table("declared", "What they declare otherwise", columns, rows, notes)


def best_table(found: SideBySide) -> Table | None:
    """Return where the best configurations of a cell differ; None where they do not."""
    rows = tuple((*place(*pair.place), *_change(change)) for pair in found.pairs for change in pair.changes)
    if not rows:
        return None
    columns = (*place_columns(), *_change_columns(found))
    return Table("configurations", "Best configurations, where they differ", columns, rows)


def tables(found: SideBySide) -> Iterator[Table]:
    """Yield every table that there is something in."""
    for table in (cells_table(found), only_table(found), declared_table(found), best_table(found)):
        if table:
            yield table


def _change_columns(found: SideBySide) -> tuple[Column, ...]:
    return (
        Column("field", numeric=False),
        Column(found.a.name, numeric=False),
        Column(found.b.name, numeric=False),
    )


def _change(change: Change) -> tuple[Entry, ...]:
    return code(change.path), *map(text, change.texts)
