"""Sends a spool to a store without any driver: what waits, or a whole record that the store has not."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from shapeft_tune.errors import TrackingError
from shapeft_tune.tracking.connection import without_password
from shapeft_tune.tracking.recorder import open_store
from shapeft_tune.tracking.spooling.fact_lines import Kind, Line, closing_of
from shapeft_tune.tracking.spooling.fact_writes import StoreAway, carry_out
from shapeft_tune.tracking.spooling.position import Position
from shapeft_tune.tracking.spooling.replay import Replay, Story, Told, stories
from shapeft_tune.tracking.spooling.spool import SPOOL_FILE, lines_at, spool_lines

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

OnTrial = Callable[[int, int], None]
"""Told how many trials are done, and of how many."""


@dataclass(frozen=True)
class Synced:
    """What a call of :func:`sync_record` came to."""

    facts: int
    """Lines of the spool that the store had not, or that were looked at again."""
    trials: int
    """That they are about."""
    refused: tuple[str, ...]
    """What the store did not take though it answers, a line each."""


def sync_record(
    tracking_uri: str,
    sweep: str,
    folder: Path,
    artifact_folder: Path | None = None,
    question: str = "",
    *,
    rebuild: bool = False,
    on_trial: OnTrial = lambda done, of: None,
) -> Synced:
    """Tell a store everything of a sweep's spool that it has not heard. No driver may run the sweep.

    A store that never heard of the sweep is told all of it. What a store refused before is told again.

    Args:
        tracking_uri: as for :meth:`Recorder.open`, and so are the next four.
        sweep: its name.
        folder: the sweep's, where the spool is.
        artifact_folder: where a SQLite store keeps files.
        question: what the sweep is to answer.
        rebuild: whether everything is compared with the store, however far it is said to be.
        on_trial: told of each trial that was sent.

    Raises:
        TrackingError: there is no spool, or the store cannot be used.
    """
    spool = folder / SPOOL_FILE
    first, last = _bounds(spool)
    client, writer = open_store(
        tracking_uri, sweep, artifact_folder, question, _metric_of(first), first.time_ms
    )
    position = Position.of(spool, tracking_uri, *writer.place)
    end = spool.stat().st_size
    delivery = _Delivery(client, Replay(writer, spool))
    try:
        delivery.send(_untold(spool, position, rebuild=rebuild), on_trial)
        if last.kind is Kind.CLOSED:
            delivery.carry_out(Told("the sweep", partial(writer.close, **closing_of(last)), ()))
        position.offset, position.refused = end, delivery.refused
    except StoreAway as away:
        position.refused |= delivery.refused
        raise TrackingError(
            f"tracking store {without_password(tracking_uri, tracking_uri)}: expected an answer to the end; "
            f"it stopped after {delivery.trials} trials ({away}) - nothing is lost, call `record sync` again"
        ) from away
    finally:
        position.save()
    return Synced(delivery.facts, delivery.trials, tuple(delivery.problems))


class _Delivery:
    """Carries stories to a store and counts."""

    def __init__(self, client: MlflowClient, replay: Replay) -> None:
        self._client = client
        self._replay = replay
        self.facts = 0
        self.trials = 0
        self.refused: set[int] = set()
        self.problems: list[str] = []

    def send(self, untold: Sequence[tuple[Story, bool]], on_trial: OnTrial) -> None:
        """Tell stories, some of them thoroughly. Raises StoreAway where the store goes away."""
        for done, (story, thorough) in enumerate(untold, start=1):
            writes = 0
            for told in self._replay.of_story(story, thorough=thorough):
                self.carry_out(told)
                writes += 1
            if writes:
                self.facts += len(story.places)
                self.trials += 1
            on_trial(done, len(untold))

    def carry_out(self, told: Told) -> None:
        """Carry out a write, or note that it was refused."""
        error = carry_out(self._client, told.write)
        if error is None:
            return
        for part in told.apart:
            self.carry_out(part)
        if not told.apart:
            self.refused.update(told.places)
            self.problems.append(f"{told.title}: {type(error).__name__}: {error}")


def _untold(spool: Path, position: Position, *, rebuild: bool) -> list[tuple[Story, bool]]:
    """Return what is to be told, and whether thoroughly: all, or what is new and what was refused."""
    if rebuild:
        return [(story, True) for story in stories(spool)]
    again = {each.line.key for each in lines_at(spool, sorted(position.refused))}
    new = [(story, False) for story in stories(spool, position.offset) if story.key not in again]
    return [(story, True) for story in stories(spool) if story.key in again] + new if again else new


def _bounds(spool: Path) -> tuple[Line, Line]:
    """Return the first and the last line that says that a driver began or ended to record."""
    if not spool.exists():
        raise TrackingError(
            f"{spool}: expected the facts of the sweep; got no such file - it was run before there was one; "
            f"run `sweep` again: it writes the end of every trial, though no curves, into any tracking store"
        )
    about_the_sweep = (each.line for each in spool_lines(spool) if each.line.key is None)
    first = next(about_the_sweep, None)
    if first is None:
        raise TrackingError(f"{spool}: expected the facts of a sweep; got none - run `sweep` first")
    return first, deque(chain([first], about_the_sweep), maxlen=1)[0]


def _metric_of(opened: Line) -> tuple[str, int]:
    name, version = opened.content.get("metric", ("miou", 1))
    return str(name), int(version)
