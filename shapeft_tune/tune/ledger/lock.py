"""One driver for each sweep: two would hand out the same trials and write into the same folders.

The lock is the operating system's, so it ends with its holder, also after ``kill -9``. It holds over machines
too where their file system passes locks on (NFS 4 does).
"""

from __future__ import annotations

import fcntl
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from shapeft_tune.errors import LedgerError

LOCK_FILE = "driver.lock"
TRIES = 5


@contextmanager
def sole_driver(folder: Path) -> Iterator[None]:
    """Hold a sweep's lock.

    Raises:
        LedgerError: another driver holds it.
    """
    with (folder / LOCK_FILE).open("a+", encoding="utf-8") as file:
        if not _locked(file):
            raise LedgerError(
                f"{folder}: another driver runs this sweep ({driver_of(folder)}); watch it with `status`, "
                "or end it first"
            )
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}")
        file.flush()
        yield


def _locked(file: TextIO) -> bool:
    """Take the lock; tried more than once, because whoever asks who drives holds it for an instant."""
    for _ in range(TRIES):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            time.sleep(0.05)
        except OSError as error:
            raise LedgerError(f"{file.name}: expected a file system with locks ({error})") from error
    return False


def driver_of(folder: Path) -> str | None:
    """Return who runs a sweep now, None for nobody."""
    try:
        with (folder / LOCK_FILE).open(encoding="utf-8") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return file.read() or "just started"
    except FileNotFoundError:
        pass
    return None
