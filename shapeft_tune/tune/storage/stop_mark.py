"""The wish that a sweep ends, made known to its trials: a file in its folder, and one in its storage."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path

from shapeft_tune.tune.storage.storage import TrialStorage

logger = logging.getLogger(__name__)

ASK_EVERY = 5.0
"""Seconds between two questions to a distant storage; a trial asks every few steps."""


def ask_to_stop(file: Path, storage: TrialStorage) -> None:
    """Tell all trials of a sweep, on all nodes, to write their checkpoint and end.

    Args:
        file: the stop file in the sweep's folder, which is named after the sweep.
        storage: the sweep's.

    Raises:
        StorageFailed: no answer; trials on this node are told all the same.
    """
    file.touch()
    storage.mark(_place(file))


def take_back(file: Path, storage: TrialStorage) -> None:
    """Let trials run again; see :func:`ask_to_stop`."""
    file.unlink(missing_ok=True)
    storage.drop(file.parent.name, [file.name])


def stop_asked(file: Path, storage: TrialStorage) -> Callable[[], bool]:
    """Return the question that a trial asks every few steps; see :func:`ask_to_stop`.

    A storage that does not answer says no.
    """
    if storage.uri is None:
        return file.exists
    asked, answer = float("-inf"), False

    def ask() -> bool:
        nonlocal asked, answer
        if not answer and time.monotonic() - asked > ASK_EVERY:
            asked = time.monotonic()
            try:
                answer = storage.marked(_place(file))
            except OSError:
                logger.warning("cannot ask whether to stop", exc_info=True)
        return answer or file.exists()

    return ask


def _place(file: Path) -> str:
    return f"{file.parent.name}/{file.name}"
