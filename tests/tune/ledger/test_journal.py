"""When the ledger's file is forced to the disk."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from shapeft_tune.tune.ledger.journal import SYNC_EVERY, LedgerJournal


def test_the_journal_is_forced_to_the_disk_at_most_once_a_second_and_by_the_next_line_after_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, waits = 1000.0, []
    monkeypatch.setattr(time, "monotonic", lambda: now)
    monkeypatch.setattr(os, "fsync", lambda number: waits.append((now, os.fstat(number).st_size)))
    journal = LedgerJournal(str(tmp_path / "ledger.journal"))
    sizes = []
    for now in (1000.0, 1000.1, 1000.9, 1000.0 + SYNC_EVERY, 1001.5, 1005.0):
        journal.append_logs([{"op_code": 0, "at": now}])
        sizes.append((tmp_path / "ledger.journal").stat().st_size)
    assert waits == [(1000.0, sizes[0]), (1001.0, sizes[3]), (1005.0, sizes[5])]  # with all lines before
    assert len(list(journal.read_logs(0))) == 6
