"""Two sweeps side by side as files, in the folder of A's report."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shapeft_tune.atomic import write_atomically
from shapeft_tune.report.comparison import CellSummary
from shapeft_tune.report.page.page import page
from shapeft_tune.report.side_by_side.changes import Change
from shapeft_tune.report.side_by_side.contents import head_of, sections_of
from shapeft_tune.report.side_by_side.findings import side_by_side_findings
from shapeft_tune.report.side_by_side.pairs import CellPair
from shapeft_tune.report.side_by_side.sides import SideBySide
from shapeft_tune.report.side_by_side.tables import tables
from shapeft_tune.report.tables.markdown import plain, table_as_markdown


@dataclass(frozen=True)
class SideBySideFiles:
    """Where the parts are."""

    html: Path
    """All of it as one page that needs no other file."""
    markdown: Path
    csv: Path
    json: Path


def folder_name(other: str) -> str:
    """Return the name of the folder in A's report that a comparison with another sweep is in."""
    return f"against-{other}"


def write_side_by_side(found: SideBySide, folder: Path) -> SideBySideFiles:
    """Write tables for people and for machines; files of an earlier comparison are replaced.

    Args:
        found: the two sweeps.
        folder: made if it is not there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = SideBySideFiles(
        *(folder / name for name in ("report.html", "report.md", "cells.csv", "report.json"))
    )
    write_atomically(files.html, page(head_of(found), sections_of(found)).encode())
    write_atomically(files.markdown, as_markdown(found).encode())
    write_atomically(files.csv, as_csv(found).encode())
    write_atomically(files.json, as_json(found).encode())
    return files


def as_markdown(found: SideBySide) -> str:
    """Return the findings and every table."""
    head = head_of(found)
    parts = [f"# {plain(head.title)}, side by side", plain(head.question)]
    parts.append("\n".join(f"- {plain(sentence)}" for sentence in side_by_side_findings(found)))
    for table in tables(found):
        parts += [f"## {plain(table.caption)}", table_as_markdown(table), *table.notes]
    return "\n\n".join(filter(None, parts)) + "\n"


def as_json(found: SideBySide) -> str:
    """Return ``{"a", "b", "obstacles", "declared", "cells", "only_in_a", "only_in_b"}``."""
    content = {
        "a": found.a.name,
        "b": found.b.name,
        "obstacles": list(found.obstacles),
        "declared": {where: [_change(each) for each in changes] for where, changes in found.changes.items()},
        "cells": [
            _numbers(pair) | {"best_config": [_change(each) for each in pair.changes]} for pair in found.pairs
        ],
        "only_in_a": [_place(cell) for cell in found.only_in_a],
        "only_in_b": [_place(cell) for cell in found.only_in_b],
    }
    return json.dumps(content, indent=2, allow_nan=False) + "\n"


def as_csv(found: SideBySide) -> str:
    """Return one line for each cell that either has."""
    lines = list(_lines(found))
    columns = dict.fromkeys(name for line in lines for name in line)
    file = io.StringIO()
    writer = csv.DictWriter(file, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return file.getvalue()


def _lines(found: SideBySide) -> Iterator[dict[str, Any]]:
    yield from (_numbers(pair) for pair in found.pairs)
    for side, cells in (("a", found.only_in_a), ("b", found.only_in_b)):
        yield from (_place(cell) | _scores(cell, side) for cell in cells)


def _numbers(pair: CellPair) -> dict[str, Any]:
    return {
        **_place(pair.a),
        **_scores(pair.a, "a"),
        **_scores(pair.b, "b"),
        "difference": pair.mean,
        "difference_low": pair.low,
        "difference_high": pair.high,
        "p_value": pair.p_value,
        "comparisons": pair.comparisons,
        "paired": pair.paired,
        "seeds": pair.seeds,
        "verdict": str(pair.verdict) if pair.verdict else None,
    }


def _place(cell: CellSummary) -> dict[str, Any]:
    return {
        "strategy": cell.strategy,
        "label_fraction": cell.label_fraction,
        "temporal_length": cell.temporal_length,
    }


def _scores(cell: CellSummary, side: str) -> dict[str, Any]:
    return {
        f"{side}_test_miou_mean": cell.test_miou_mean,
        f"{side}_test_miou_low": cell.test_miou_low,
        f"{side}_test_miou_high": cell.test_miou_high,
    }


def _change(change: Change) -> dict[str, Any]:
    return {"path": change.path, "a": change.before, "b": change.after}
