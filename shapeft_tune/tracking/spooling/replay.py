"""Makes writes of a spool's lines: one by one as they come, or trial by trial, which takes few requests."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import NoReturn

from shapeft_tune.errors import TrackingError
from shapeft_tune.tracking.facts import Ending, Key, TrialFacts
from shapeft_tune.tracking.spooling.fact_lines import OF_TRIALS, Kind
from shapeft_tune.tracking.spooling.fact_writes import Write, writes_of
from shapeft_tune.tracking.spooling.refill import Point, Refiller
from shapeft_tune.tracking.spooling.spool import OnUnreadable, SpoolLine, TrialsInSpool, lines_at, spool_lines


@dataclass(frozen=True)
class Told:
    """A write, and the lines of the spool that it tells."""

    title: str
    """Of the trial, for people."""
    write: Write
    places: tuple[int, ...]
    """Where they begin."""
    apart: tuple[Told, ...] = ()
    """The same in smaller pieces, for a store that does not take it as a whole."""


@dataclass(frozen=True)
class Story:
    """What a spool says of one trial."""

    key: Key
    places: array[int]
    """Where its lines begin."""


def stories(
    file: Path, start: int = 0, end: int | None = None, on_unreadable: OnUnreadable = lambda problem: None
) -> list[Story]:
    """Return what stands between two places of a spool by trial, in the order of their first lines."""
    found: dict[Key, Story] = {}
    for each in spool_lines(file, start, end, on_unreadable):
        if each.line.key and each.line.kind in OF_TRIALS:
            found.setdefault(each.line.key, Story(each.line.key, array("q"))).places.append(each.start)
    return list(found.values())


class Replay:
    """Makes writes of the lines of one spool."""

    def __init__(self, writer: Refiller, spool: Path) -> None:
        self._writer = writer
        self._spool = spool
        self._trials = TrialsInSpool(spool)

    def of_line(self, at: SpoolLine) -> Iterator[Told]:
        """Yield the writes of one line, each to be carried out before the next one is asked for."""
        if not at.line.key or at.line.kind not in OF_TRIALS:
            return
        facts = self._trials.of(at)
        yield from [_unknown(at)] if facts is None else self._one_by_one(facts, [at])

    def of_story(self, story: Story, *, thorough: bool = False) -> Iterator[Told]:
        """Yield what has to be written of a trial; nothing where the store has all of it.

        Args:
            story: the trial's.
            thorough: whether a run that looks complete is searched for gaps, which takes a request for every
                curve.
        """
        lines = _without_repeated_ends(lines_at(self._spool, story.places))
        facts = next((facts for each in reversed(lines) if (facts := self._trials.of(each))), None)
        if facts is None:
            yield from map(_unknown, lines)
        elif self._is_complete(lines[-1]):
            yield from self._again(facts, lines) if thorough else ()
        elif not self._is_older(lines[-1]):
            yield from self._in_turn(facts, lines)
        elif self._came_to_the_same(lines[-1]):
            yield from self._again(facts, lines)
        elif points := _points_among(lines):
            yield from self._points(facts, points)

    def _is_complete(self, last: SpoolLine) -> bool:
        if last.line.kind is not Kind.ENDED or last.line.key is None:
            return False
        return self._writer.is_complete(last.line.key, last.line.ending, last.line.time_ms)

    def _is_older(self, last: SpoolLine) -> bool:
        """Return whether the trial's run ended after all that is told here: another home went on with it."""
        return last.line.key is not None and self._writer.ended_after(last.line.key, last.line.time_ms)

    def _came_to_the_same(self, last: SpoolLine) -> bool:
        """Return whether the run ended as told here, so that files and numbers told here belong to it.

        A trial may fail twice, and not for the same reason.
        """
        if last.line.kind is not Kind.ENDED or last.line.key is None or last.line.ending is Ending.FAILED:
            return False
        return self._writer.has_ended_as(last.line.key, last.line.ending)

    def _in_turn(self, facts: TrialFacts, lines: Sequence[SpoolLine]) -> Iterator[Told]:
        """Tell all in the order in which it happened, points that follow each other as one write."""
        for are_points, group in groupby(lines, lambda each: each.line.kind is Kind.PROGRESS):
            some = tuple(group)
            yield from self._points(facts, some) if are_points else self._one_by_one(facts, some)

    def _again(self, facts: TrialFacts, lines: Sequence[SpoolLine]) -> Iterator[Told]:
        """Tell a run that has ended everything that may be missing of it, without opening it."""
        *before, last = lines
        points = _points_among(before)
        yield Told(
            facts.title,
            partial(self._writer.look_again, facts, before[0].line.time_ms if before else last.line.time_ms),
            (last.start,),
        )
        if points:
            yield from self._points(facts, points)
        yield from self._one_by_one(facts, [each for each in before if each.line.kind is Kind.BEGAN][-1:])
        yield from self._one_by_one(facts, [last])

    def _points(self, facts: TrialFacts, lines: tuple[SpoolLine, ...]) -> Iterator[Told]:
        apart = tuple(self._one_fill(facts, (each,)) for each in lines) if len(lines) > 1 else ()
        whole = self._one_fill(facts, lines)
        yield Told(whole.title, whole.write, whole.places, apart)

    def _one_fill(self, facts: TrialFacts, lines: Sequence[SpoolLine]) -> Told:
        points = [Point(each.line.step, each.line.metrics, each.line.time_ms) for each in lines]
        return Told(
            facts.title, partial(self._writer.fill, facts, points), tuple(each.start for each in lines)
        )

    def _one_by_one(self, facts: TrialFacts, lines: Iterable[SpoolLine]) -> Iterator[Told]:
        for each in lines:
            for write in writes_of(self._writer, facts, each.line, self._spool.parent):
                yield Told(facts.title, write, (each.start,))


def _points_among(lines: Iterable[SpoolLine]) -> tuple[SpoolLine, ...]:
    return tuple(each for each in lines if each.line.kind is Kind.PROGRESS)


def _without_repeated_ends(lines: Iterable[SpoolLine]) -> list[SpoolLine]:
    """Leave out ends that say what the end before them said: telling them changes nothing."""
    kept: list[SpoolLine] = []
    for each in lines:
        before = kept[-1].line if kept else None
        is_end = each.line.kind is Kind.ENDED and before is not None and before.kind is Kind.ENDED
        if not (is_end and before is not None and each.line.ending == before.ending):
            kept.append(each)
    return kept


def _unknown(at: SpoolLine) -> Told:
    def refuse() -> NoReturn:
        raise TrackingError(f"byte {at.start} of the spool: nothing is known of trial {at.line.key}")

    return Told(f"trial {at.line.key}", refuse, (at.start,))
