"""Lines that no spool should hold: of other versions, edited by hand, or hit by a broken disk."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.tracking.told import OPEN

TRIAL = (OPEN.strategy, OPEN.role, OPEN.fingerprint)


def _line(kind: str, **content: Any) -> bytes:
    return json.dumps({"kind": kind, "time": 5, "trial": TRIAL} | content).encode()


DAMAGED = (
    _line("weather", mood="good"),
    _line("began"),
    _line("began", place={"host": "node"}),
    _line("progress", metrics={"val/miou": 0.5}),
    _line("progress", step=15, metrics={"val/miou": "high"}),
    _line("progress", step=15, metrics=None),
    _line("progress", step=15, metrics={}, trial=None),
    _line("progress", step=15, metrics={}, trial=["utae", "search"]),
    _line("progress", step=15, metrics={}, time="noon"),
    _line("ended"),
    _line("ended", end={"ending": "vanished"}),
    _line("ended", end={"ending": "complete", "test_counts_KK": [[1, 2], [3]]}),
    _line("ended", end={"ending": "complete", "test_counts_KK": [1, 2, 3]}),
    _line("ended", end={"ending": "complete", "test_counts_KK": [[10**30]]}),
    _line("started", facts={"sweep": "demo"}),
    _line("started", facts=vars(OPEN) | {"role": "rehearsal"}),
    _line("closed", ending="abandoned"),
    b"[1, 2]",
    b"\0\0\0\xff",
    b"[" * 100_000,
)
"""Each says something about a trial, and none of it may be believed or stop anything."""


def damaged_in_the_middle(spool: Path) -> None:
    """Put all of these lines between the lines of a spool, and unknown fields into the others."""
    lines = [
        json.dumps(json.loads(line) | {"weather": "fine"}, separators=(",", ":")).encode()
        for line in spool.read_bytes().splitlines()
    ]
    middle = len(lines) // 2
    spool.write_bytes(b"\n".join([*lines[:middle], *DAMAGED, *lines[middle:], b""]))
