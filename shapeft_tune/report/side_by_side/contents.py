"""What a page on two sweeps side by side says, section by section."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from shapeft_tune.report.page.page import Head
from shapeft_tune.report.page.parts import Bullets, Section, Tabled
from shapeft_tune.report.side_by_side.findings import side_by_side_findings
from shapeft_tune.report.side_by_side.sides import SideBySide
from shapeft_tune.report.side_by_side.tables import tables

TITLES = {
    "cells": "Cell by cell",
    "only": "Cells of one alone",
    "declared": "What was declared",
    "configurations": "Best configurations",
}
"""Of the sections, by the name of their table."""


def head_of(found: SideBySide) -> Head:
    """Return what stands around the sections."""
    return Head(
        kind="Two sweeps side by side",
        title=f"{found.a.name} and {found.b.name}",
        question=" / ".join(dict.fromkeys(filter(None, (found.a.sweep.question, found.b.sweep.question)))),
        facts=tuple(_facts(found)),
        unfinished=any(side.comparison.is_unfinished for side in (found.a, found.b)),
        written=datetime.now(UTC),
    )


def sections_of(found: SideBySide) -> tuple[Section, ...]:
    """Return the findings, and a section for every table that there is something in."""
    answer = Section("answer", "The answer", (Bullets(side_by_side_findings(found)),))
    return answer, *(Section(each.name, TITLES[each.name], (Tabled(each),)) for each in tables(found))


def _facts(found: SideBySide) -> Iterator[tuple[str, str]]:
    yield "cells in both", str(len(found.pairs))
    yield f"cells only in {found.a.name}", str(len(found.only_in_a))
    yield f"cells only in {found.b.name}", str(len(found.only_in_b))
    yield "fields declared otherwise", str(sum(map(len, found.changes.values())))
