"""The only writer of MLflow: takes facts at once, writes them from its own thread, never stops a sweep."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from shapeft_tune.tracking.connection import bounded_requests, connect, file_of, is_file, talking_to
from shapeft_tune.tracking.facts import SweepEnding, TrialEnd, TrialFacts
from shapeft_tune.tracking.writer import SweepWriter

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

logger = logging.getLogger(__name__)

RETRY_PAUSES = (0.2, 1.0)
"""Seconds before a write is tried again; enough for a locked database or a restarting proxy."""
OUTAGE_PAUSE = 5.0
"""Seconds between looks at a store that does not answer. Facts wait in memory meanwhile."""
CLOSING_PATIENCE = 30.0
"""Seconds that :meth:`Recorder.close` waits for the last facts to be written."""


class Recorder:
    """Takes facts about trials and returns at once; a thread writes them in order, each of them once.

    What cannot be written is logged and kept in :attr:`problems`, and the sweep goes on: the ledger has all
    of it, and telling the recorder again (after a restart, say) writes only what is missing.
    """

    def __init__(self, client: MlflowClient, writer: SweepWriter) -> None:
        self._client = client
        self._writer = writer
        self._todo: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._problems: list[str] = []
        self._closing = threading.Event()
        self._gave_up = False
        # A daemon, so that a driver that dies on an exception is not held up by a store that is away.
        self._thread = threading.Thread(target=self._work, name="mlflow-recorder", daemon=True)
        self._thread.start()

    @classmethod
    def open(
        cls,
        tracking_uri: str,
        sweep: str,
        artifact_folder: Path | None,
        question: str = "",
        metric: tuple[str, int] = ("miou", 1),
    ) -> Recorder:
        """Reach the store, make or find the sweep's experiment and its own run, and start the thread.

        Args:
            tracking_uri: ``sqlite:////absolute/path.db``, made if it is not there, or a server's address.
            sweep: its name, and the experiment's.
            artifact_folder: where a SQLite store keeps files, by default beside the database; a server
                has a place of its own.
            question: what the sweep is to answer; shown as its description.
            metric: name and version of the convention behind the numbers.

        Raises:
            TrackingError: the store cannot be used, found out within seconds.
        """
        client = connect(tracking_uri, create=True)
        with talking_to(tracking_uri):
            folder = _artifact_folder(tracking_uri, sweep, artifact_folder)
            writer = SweepWriter.open(client, sweep, folder.as_uri() if folder else None, question, metric)
        return cls(client, writer)

    @property
    def problems(self) -> tuple[str, ...]:
        """One line for each fact that could not be written, oldest first."""
        return tuple(self._problems)

    def has_ended(self, strategy: str, role: str, fingerprint: str) -> bool:
        """Return whether a trial's end is written down; what is still on its way does not count."""
        return self._writer.has_ended(strategy, role, fingerprint)

    def trial_started(self, facts: TrialFacts) -> None:
        """A trial starts, or goes on after a restart."""
        now = _now_ms()
        self._todo.put(lambda: self._writer.start(facts, now))
        self._todo.put(lambda: self._writer.attach_config(facts, now))

    def trial_progress(self, facts: TrialFacts, step: int, metrics: Mapping[str, float]) -> None:
        """A running trial was validated after this many optimiser steps."""
        now, metrics = _now_ms(), dict(metrics)
        self._todo.put(lambda: self._writer.progress(facts, step, metrics, now))

    def trial_ended(self, facts: TrialFacts, end: TrialEnd) -> None:
        """A trial ended. May be told again, or without the start ever having been told."""
        now = _now_ms()
        # Every file is a write of its own, because a file that cannot be stored must not hide an ending.
        self._todo.put(lambda: self._writer.attach_config(facts, now))
        for name, path in end.artifacts.items():
            self._todo.put(partial(self._writer.attach, facts, end.ending, name, path, now))
        self._todo.put(lambda: self._writer.keep_counts(facts, end, now))
        self._todo.put(lambda: self._writer.end(facts, end, now))

    def flush(self, timeout: float = CLOSING_PATIENCE) -> bool:
        """Wait until everything told so far was written or given up; return whether that came within time."""
        done = threading.Event()
        self._todo.put(done.set)
        return done.wait(timeout)

    def close(self, ending: SweepEnding = SweepEnding.FINISHED) -> None:
        """Write what is left, end the sweep's own run and the thread; gives up on a store that is away."""
        self._todo.put(lambda: self._writer.close(ending))
        self._todo.put(None)
        self._closing.set()
        self._thread.join(CLOSING_PATIENCE)
        if self._thread.is_alive():
            self._note("the tracking store was too slow to take the last facts")

    def _work(self) -> None:
        while (write := self._todo.get()) is not None:
            self._carry_out(write)

    def _carry_out(self, write: Callable[[], None]) -> None:
        while not self._gave_up:
            error = self._attempt(write)
            if error is None:
                return
            if self._answers():
                self._note(f"{type(error).__name__}: {error}")
                return
            self._wait_for_store(error)
        self._note("not recorded: the tracking store did not answer until the end")

    def _attempt(self, write: Callable[[], None]) -> Exception | None:
        for pause in (*RETRY_PAUSES, None):
            try:
                with bounded_requests():
                    write()
                return None
            except Exception as error:  # nothing that MLflow can raise may end the thread
                if pause is None:
                    return error
                time.sleep(pause)
        raise AssertionError("the last attempt returns")

    def _answers(self) -> bool:
        try:
            with bounded_requests():
                self._client.search_experiments(max_results=1)
        except Exception:
            return False
        return True

    def _wait_for_store(self, error: Exception) -> None:
        """Return when the store answers again; once the sweep is closing, give up instead."""
        logger.warning("the tracking store does not answer, facts are kept until it does: %s", error)
        while not self._closing.wait(OUTAGE_PAUSE):
            if self._answers():
                return
        self._gave_up = not self._answers()

    def _note(self, problem: str) -> None:
        self._problems.append(problem)
        logger.warning("not in the record: %s", problem)


def _artifact_folder(tracking_uri: str, sweep: str, chosen: Path | None) -> Path | None:
    if not is_file(tracking_uri):
        return None
    return (chosen or file_of(tracking_uri).parent / "artifacts").absolute() / sweep


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
