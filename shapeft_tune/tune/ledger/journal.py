"""The ledger's file: Optuna's journal, forced to the disk at most once a second.

Optuna waits for the disk after every line, and a trial has about ten. What a process wrote survives its death
without that. Only a machine that loses its power can lose lines: those since the last wait for the disk. They
stay in the operating system's memory until the next line is written, or until the system itself writes them.
Then the trials concerned are found running, and end again with the results in their folders.
"""

from __future__ import annotations

import json
import os
import time
from typing import Any

from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock

SYNC_EVERY = 1.0
"""Seconds between two waits for the disk, at least."""


class LedgerJournal(JournalFileBackend):
    """A journal file that Optuna's own readers and dashboard understand."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._turn = JournalFileSymlinkLock(path)  # somebody may write notes with a dashboard meanwhile
        self._synced = 0.0
        super().__init__(path, self._turn)

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Write lines at the end of the file."""
        text = "".join(json.dumps(log, separators=(",", ":")) + "\n" for log in logs)
        self._turn.acquire()
        try:
            with open(self._path, "ab") as file:
                file.write(text.encode())
                file.flush()
                if time.monotonic() - self._synced >= SYNC_EVERY:
                    os.fsync(file.fileno())
                    self._synced = time.monotonic()
        finally:
            self._turn.release()
