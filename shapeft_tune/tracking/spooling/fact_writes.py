"""What has to be written into MLflow for a line of the spool, in writes that fail one by one."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from shapeft_tune.tracking.connection import bounded_requests
from shapeft_tune.tracking.facts import TrialFacts
from shapeft_tune.tracking.spooling.fact_lines import Kind, Line
from shapeft_tune.tracking.writer import SweepWriter

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

Write = Callable[[], object]
"""May be called again after it failed: it then writes what is missing."""
RETRY_PAUSES = (0.2, 1.0)
"""Seconds before a write is tried again; enough for a locked database or a restarting proxy."""

LOCKED = "database is locked"
"""What SQLite says of a write while another process writes, after the 20 seconds that MLflow lets it wait."""


def writes_of(writer: SweepWriter, facts: TrialFacts, line: Line, folder: Path) -> Iterator[Write]:
    """Yield the writes for one line about a trial, the one that makes it complete last.

    Args:
        writer: of the sweep's runs.
        facts: of the trial that the line is about.
        line: of the spool.
        folder: the sweep's.
    """
    now = line.time_ms
    if line.kind is Kind.STARTED:
        yield partial(writer.start, facts, now)
        yield partial(writer.attach_config, facts, now)
    elif line.kind is Kind.BEGAN:
        yield partial(writer.began, facts, line.place, now)
    elif line.kind is Kind.PROGRESS:
        yield partial(writer.progress, facts, line.step, line.metrics, now)
    elif line.kind is Kind.ENDED:
        end = line.end(folder)
        # Every file is a write of its own, because a file that cannot be stored must not hide an ending.
        yield partial(writer.attach_config, facts, now)
        for name, path in end.artifacts.items():
            yield partial(writer.attach, facts, end.ending, name, path, now)
        yield partial(writer.keep_counts, facts, end, now)
        yield partial(writer.end, facts, end, now)


class StoreAway(Exception):
    """The store does not answer at all, or someone else keeps writing to its database."""


def carry_out(client: MlflowClient, write: Write) -> Exception | None:
    """Carry out a write, tried more than once; return why the store refused it, None where it is written.

    Raises:
        StoreAway: the store does not answer, so nothing is known of the write; or its database is locked.
    """
    error = _attempt(write, RETRY_PAUSES)
    if error is None:
        return None
    if LOCKED in str(error) or not answers(client):
        raise StoreAway(str(error)) from error
    return _attempt(write)  # once more: it may have come back only now


def answers(client: MlflowClient) -> bool:
    """Return whether a store answers at all."""
    try:
        with bounded_requests():
            client.search_experiments(max_results=1)
    except Exception:
        return False
    return True


def _attempt(write: Write, pauses: Sequence[float] = ()) -> Exception | None:
    for pause in (*pauses, None):
        try:
            with bounded_requests():
                write()
            return None
        except Exception as error:  # nothing that MLflow can raise may end a thread
            if pause is None:
                return error
            time.sleep(pause)
    raise AssertionError("the last attempt returns")
