"""Sends a spool to a store without any driver: what waits, or a whole record that the store has not."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from shapeft_tune.errors import TrackingError
from shapeft_tune.tracking.connection import without_password
from shapeft_tune.tracking.recorder import open_store
from shapeft_tune.tracking.spooling.fact_lines import OF_TRIALS, UNTOLD_METRIC, Kind, Line
from shapeft_tune.tracking.spooling.fact_writes import StoreAway, carry_out
from shapeft_tune.tracking.spooling.position import Position
from shapeft_tune.tracking.spooling.replay import Replay, Story, Told, stories
from shapeft_tune.tracking.spooling.spool import SPOOL_FILE, OnUnreadable, lines_at, spool_lines

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
    unreadable: tuple[str, ...] = ()
    """Where lines stand that were passed over because nothing can be made of them, and why."""


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
    outline = _outline(spool)
    client, writer = open_store(
        tracking_uri, sweep, artifact_folder, question, outline.metric, outline.began_ms, reopen=False
    )
    position = Position.of(spool, tracking_uri, *writer.place)
    end = spool.stat().st_size
    unreadable: list[str] = []
    delivery = _Delivery(client, Replay(writer, spool))
    try:
        delivery.send(_untold(spool, position, unreadable.append, rebuild=rebuild), on_trial)
        if closed := outline.closed:
            delivery.carry_out(Told("the sweep", partial(writer.close_again, **closed.closing), ()))
        position.offset, position.refused = end, delivery.refused
    except StoreAway as away:
        position.refused |= delivery.refused
        raise TrackingError(
            f"tracking store {without_password(tracking_uri, tracking_uri)}: expected an answer to the end; "
            f"it stopped after {delivery.trials} trials ({away}) - nothing is lost, call `record sync` again"
        ) from away
    finally:
        position.save()
    return Synced(delivery.facts, delivery.trials, tuple(delivery.problems), tuple(unreadable))


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
            if self._send_one(story, thorough=thorough):
                self.facts += len(story.places)
                self.trials += 1
            on_trial(done, len(untold))

    def _send_one(self, story: Story, *, thorough: bool) -> bool:
        """Tell a story; return whether there was anything to tell."""
        writes = 0
        try:
            for told in self._replay.of_story(story, thorough=thorough):
                self.carry_out(told)
                writes += 1
        except StoreAway:
            raise
        except Exception as error:  # whatever a line brings about that looks right and is not
            self._refuse(f"trial {story.key}", story.places, error)
        return writes > 0

    def carry_out(self, told: Told) -> None:
        """Carry out a write, or note that it was refused."""
        error = carry_out(self._client, told.write)
        if error is None:
            return
        for part in told.apart:
            self.carry_out(part)
        if not told.apart:
            self._refuse(told.title, told.places, error)

    def _refuse(self, title: str, places: Iterable[int], error: Exception) -> None:
        self.refused.update(places)
        self.problems.append(f"{title}: {type(error).__name__}: {error}")


def _untold(
    spool: Path, position: Position, on_unreadable: OnUnreadable, *, rebuild: bool
) -> list[tuple[Story, bool]]:
    """Return what is to be told, and whether thoroughly: all, or what is new and what was refused."""
    if rebuild:
        return [(story, True) for story in stories(spool, on_unreadable=on_unreadable)]
    again = {each.line.key for each in lines_at(spool, sorted(position.refused))}
    since = stories(spool, position.offset, on_unreadable=on_unreadable)
    new = [(story, False) for story in since if story.key not in again]
    return [(story, True) for story in stories(spool) if story.key in again] + new if again else new


@dataclass(frozen=True)
class _Outline:
    """What a spool says of the sweep itself."""

    began_ms: int
    metric: tuple[str, int]
    closed: Line | None
    """What its last driver told last; None where it told no end."""


def _outline(spool: Path) -> _Outline:
    if not spool.exists():
        raise TrackingError(
            f"{spool}: expected the facts of the sweep; got no such file - it was run before there was one; "
            f"run `sweep` again: it writes the end of every trial, though no curves, into any tracking store"
        )
    first = next((each.line for each in spool_lines(spool)), None)
    if first is None:
        raise TrackingError(f"{spool}: expected the facts of a sweep; got none - run `sweep` first")
    opened, last = None, first
    for line in (each.line for each in spool_lines(spool) if each.line.kind not in OF_TRIALS):
        opened, last = opened or (line if line.kind is Kind.OPENED else None), line
    metric = opened.metric if opened else UNTOLD_METRIC
    return _Outline(first.time_ms, metric, last if last.kind is Kind.CLOSED else None)
