"""The only writer of MLflow: takes facts at once, writes them from its own thread, never stops a sweep."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shapeft_tune.tracking.connection import connect, file_of, is_file, talking_to
from shapeft_tune.tracking.facts import Key, Place, SweepEnding, TrialEnd, TrialFacts
from shapeft_tune.tracking.spooling.fact_lines import OF_TRIALS, Kind, end_content, numbers
from shapeft_tune.tracking.spooling.fact_writes import StoreAway, answers, carry_out
from shapeft_tune.tracking.spooling.position import Position
from shapeft_tune.tracking.spooling.refill import Refiller
from shapeft_tune.tracking.spooling.replay import Replay, Told, stories
from shapeft_tune.tracking.spooling.spool import Spool, SpoolLine, spool_lines

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

logger = logging.getLogger(__name__)

OUTAGE_PAUSE = 5.0
"""Seconds between looks at a store that does not answer. Facts wait in the spool meanwhile."""
CLOSING_PATIENCE = 30.0
"""Seconds that :meth:`Recorder.close` waits for the last facts to be written."""
POSITION_PAUSE = 2.0
"""Seconds between two notes of how far the spool was written."""
MOST_PROBLEMS = 20
"""That are told one by one; of more, how many they are."""


class Recorder:
    """Takes facts about trials and returns at once; a thread writes them in order, each of them once.

    A fact is in the spool, a file, before it is told to the store, so nothing is lost where a store is away
    or the driver dies, and memory does not grow. What the store does not take is logged and kept in
    :attr:`problems`, and the sweep goes on: telling the recorder again writes only what is missing.
    """

    def __init__(self, client: MlflowClient, writer: Refiller, spool: Spool, position: Position) -> None:
        self._client = client
        self._writer = writer
        self._spool = spool
        self._position = position
        self._replay = Replay(writer, spool.file)
        self._left_over = (position.offset, spool.size)
        """What earlier drivers told and the store has not heard yet."""
        self._ended = _ends_in(spool.file, *self._left_over)
        """Whether trials have ended that were told of, but perhaps not to the store yet."""
        self._problems: list[str] = []
        self._more_problems = 0
        self._waiting = ""
        self._hindrance = "the tracking store did not answer until the end"
        """Why facts wait, where they do."""
        self._told_ahead = 0
        """Lines after the position that were told already, while catching up."""
        self._moved = threading.Condition()
        self._news = threading.Event()
        self._closing = threading.Event()
        self._over = threading.Event()
        # A daemon, so that a driver that dies on an exception is not held up by a store that is away.
        self._thread = threading.Thread(target=self._work, name="mlflow-recorder", daemon=True)
        self._thread.start()

    @classmethod
    def open(
        cls,
        tracking_uri: str,
        sweep: str,
        folder: Path,
        artifact_folder: Path | None = None,
        question: str = "",
        metric: tuple[str, int] = ("miou", 1),
    ) -> Recorder:
        """Reach the store, make or find the sweep's experiment and its own run, and start the thread.

        What an earlier driver could not tell the store is told first.

        Args:
            tracking_uri: ``sqlite:////absolute/path.db``, made if it is not there, or a server's address.
            sweep: its name, and the experiment's.
            folder: the sweep's, where the spool is; no other process may record the sweep from it.
            artifact_folder: where a SQLite store keeps files, by default beside the database; a server
                has a place of its own.
            question: what the sweep is to answer; shown as its description.
            metric: name and version of the convention behind the numbers.

        Raises:
            TrackingError: the store cannot be used, found out within seconds.
        """
        now = _now_ms()
        client, writer = open_store(tracking_uri, sweep, artifact_folder, question, metric, now)
        spool = Spool(folder)
        spool.append(Kind.OPENED, now, question=question, metric=list(metric))
        return cls(client, writer, spool, Position.of(spool.file, tracking_uri, *writer.place))

    @property
    def problems(self) -> tuple[str, ...]:
        """One line for each fact that could not be written, oldest first; then what became of the rest."""
        problems = list(self._problems)
        if self._more_problems:
            problems.append(f"and {self._more_problems} more")
        if self._position.refused and self._closing.is_set():
            problems.append(
                f"the tracking store did not take {_facts(len(self._position.refused))}; once it is mended, "
                f"`record sync` sends again"
            )
        return (*problems, *([self._waiting] if self._waiting else []))

    def has_ended(self, strategy: str, role: str, fingerprint: str) -> bool:
        """Return whether a trial's end is written down, in the store or on its way there."""
        told = self._ended.get((strategy, str(role), fingerprint))
        return self._writer.has_ended(strategy, role, fingerprint) if told is None else told

    def trial_started(self, facts: TrialFacts) -> None:
        """A trial starts, or goes on after a restart."""
        self._tell(Kind.STARTED, facts)

    def trial_began(self, facts: TrialFacts, place: Place) -> None:
        """A trial has its slot."""
        self._tell(Kind.BEGAN, facts, place=vars(place))

    def trial_progress(self, facts: TrialFacts, step: int, metrics: Mapping[str, float]) -> None:
        """A running trial was validated after this many optimiser steps."""
        self._tell(Kind.PROGRESS, facts, step=step, metrics=numbers(metrics))

    def trial_ended(self, facts: TrialFacts, end: TrialEnd) -> None:
        """A trial ended. May be told again, or without the start ever having been told."""
        self._tell(Kind.ENDED, facts, end=end_content(end, self._spool.folder))

    def flush(self, timeout: float = CLOSING_PATIENCE) -> bool:
        """Wait until everything told so far was written or given up; return whether that came within time."""
        told = self._spool.size
        with self._moved:
            return self._moved.wait_for(lambda: self._position.offset >= told, timeout)

    def close(self, ending: SweepEnding = SweepEnding.FINISHED, ended_by: str = "") -> None:
        """Write what is left and end the sweep's own run; what a store that is away does not take waits.

        Args:
            ending: how the sweep ended.
            ended_by: what ended it early although nothing went wrong, such as a used-up budget.
        """
        self._tell(Kind.CLOSED, None, ending=str(ending), ended_by=ended_by)
        self._closing.set()
        self._news.set()
        self._thread.join(CLOSING_PATIENCE)
        self._over.set()
        if self._position.offset < self._spool.size:
            self._waiting = self._what_waits()
            logger.warning("%s", self._waiting)
        if not self._thread.is_alive():
            self._spool.close()

    def _tell(self, kind: Kind, facts: TrialFacts | None, **content: Any) -> None:
        try:
            self._spool.append(kind, _now_ms(), facts, **content)
        except (OSError, TypeError, ValueError) as error:
            self._note(f"{facts.title if facts else 'the sweep'}: {kind} was not kept: {error}")
        self._news.set()

    def _what_waits(self) -> str:
        waiting = spool_lines(self._spool.file, self._position.offset, self._spool.size)
        facts = sum(each.line.kind in OF_TRIALS for each in waiting) - self._told_ahead
        what = f"{_facts(facts) or 'the end of the sweep'} wait{'s' if facts < 2 else ''}"
        return f"{what} in {self._spool.file}, because {self._hindrance}; `record sync` sends what waits"

    # In the thread

    def _work(self) -> None:
        """Tell the store what earlier drivers left, and then what comes, until the end."""
        while True:
            try:
                if self._catch_up():
                    self._go_on()
                break
            except Exception as error:  # the spool cannot be read now, say
                self._hindrance = f"{type(error).__name__}: {error}"
                logger.exception("facts wait in the spool")
                if self._closing.wait(OUTAGE_PAUSE):
                    break
        self._position.save()

    def _catch_up(self) -> bool:
        start, end = self._left_over
        if self._position.offset >= end:
            return True
        before, self._told_ahead = -1, 0
        for story in stories(self._spool.file, start, end, self._note):
            for told in self._sound(self._replay.of_story(story), f"trial {story.key}", story.places):
                if not self._carry_out(told):
                    return False
                self._told_ahead += len(told.places) if told.places[-1] != before else 0
                before = told.places[-1]
        self._told_ahead = 0
        self._reach(end)
        return True

    def _sound(self, writes: Iterable[Told], title: str, places: Iterable[int]) -> Iterator[Told]:
        """Yield the writes; where they cannot be made of what is told, refuse that and go past it."""
        try:
            yield from writes
        except Exception as error:  # whatever a line brings about that looks right and is not
            self._refuse(title, places, error)

    def _go_on(self) -> None:
        saved, is_noted = time.monotonic(), False
        while True:
            self._news.clear()
            start, end = self._position.offset, self._spool.size
            for each in spool_lines(self._spool.file, start, end, self._note):
                if not self._tell_store(each):
                    return
                if is_noted := time.monotonic() - saved > POSITION_PAUSE:
                    self._position.save()
                    saved = time.monotonic()
            self._reach(end)
            if end == self._spool.size and self._closing.is_set():
                return
            if not self._news.wait(None if is_noted else POSITION_PAUSE):
                self._position.save()
                saved, is_noted = time.monotonic(), True

    def _tell_store(self, each: SpoolLine) -> bool:
        """Tell one line; return False where the store is away and nobody waits for it any more."""
        if each.line.kind is Kind.CLOSED and each.end == self._spool.size:
            close = partial(self._writer.close, **each.line.closing)
            if not self._carry_out(Told("the sweep", close, (each.start,))):
                return False
        writes = self._sound(self._replay.of_line(each), f"trial {each.line.key}", (each.start,))
        if not all(self._carry_out(told) for told in writes):
            return False
        self._reach(each.end)
        return True

    def _reach(self, place: int) -> None:
        with self._moved:
            self._position.offset = place
            self._moved.notify_all()

    def _carry_out(self, told: Told) -> bool:
        """Carry out a write or give it up; return False where the store is away for good."""
        while not self._over.is_set():
            try:
                error = carry_out(self._client, told.write)
            except StoreAway as away:
                if self._store_is_back(away):
                    continue
                return False
            if error and told.apart:
                return all(self._carry_out(part) for part in told.apart)
            if error:
                self._refuse(told.title, told.places, error)
            return True
        return False

    def _store_is_back(self, error: StoreAway) -> bool:
        """Return when the store answers again; once the sweep is closing, look once more."""
        logger.warning("the tracking store does not answer, facts wait in the spool: %s", error)
        while not self._closing.wait(OUTAGE_PAUSE):
            if answers(self._client):
                return True
        return answers(self._client)

    def _refuse(self, title: str, places: Iterable[int], error: Exception) -> None:
        self._position.refused.update(places)
        self._note(f"{title}: {type(error).__name__}: {error}")

    def _note(self, problem: str) -> None:
        if len(self._problems) < MOST_PROBLEMS:
            self._problems.append(problem)
        else:
            self._more_problems += 1
        logger.warning("not in the record: %s", problem)


def open_store(
    tracking_uri: str,
    sweep: str,
    artifact_folder: Path | None,
    question: str,
    metric: tuple[str, int],
    began_ms: int | None = None,
    *,
    reopen: bool = True,
) -> tuple[MlflowClient, Refiller]:
    """Reach a store, and make or find the sweep's experiment and its own run; see :meth:`Recorder.open`.

    ``began_ms`` is when the sweep began, by default now. With ``reopen`` its run is running afterwards.
    """
    client = connect(tracking_uri, create=True)
    with talking_to(tracking_uri):
        folder = _artifact_folder(tracking_uri, sweep, artifact_folder)
        uri = folder.as_uri() if folder else None
        return client, Refiller.open(client, sweep, uri, question, metric, began_ms, reopen=reopen)


def _ends_in(file: Path, start: int, end: int) -> dict[Key, bool]:
    """Return whether each trial that is told of between two places of a spool has ended there."""
    lines = (each.line for each in spool_lines(file, start, end))
    return {line.key: line.kind is Kind.ENDED for line in lines if line.key and line.kind in OF_TRIALS}


def _artifact_folder(tracking_uri: str, sweep: str, chosen: Path | None) -> Path | None:
    if not is_file(tracking_uri):
        return None
    return (chosen or file_of(tracking_uri).parent / "artifacts").absolute() / sweep


def _facts(number: int) -> str:
    return "" if number == 0 else "1 fact" if number == 1 else f"{number} facts"


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
