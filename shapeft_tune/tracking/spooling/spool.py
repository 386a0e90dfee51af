"""The spool: every fact told to the recorder, in one file of the sweep's folder, the moment it is told.

Nothing is ever removed from it. It is what waits for a store that is away, and what a whole record can be
made of again. A line is handed to the operating system at once, so it survives the death of the driver; it
is not forced to the disk, so the last seconds before a power cut may be missing.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Set
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

from shapeft_tune.tracking.facts import Key, TrialFacts
from shapeft_tune.tracking.spooling.fact_lines import (
    FACTS_MARK,
    Kind,
    Line,
    UnreadableLine,
    facts_content,
    key_of,
    line_of,
    text_of,
)

OnUnreadable = Callable[[str], None]
"""Told where a line stands that cannot be read, and why."""
SPOOL_FILE = "record.jsonl"
"""In the sweep's folder."""
FACTS_KEPT = 64
"""Trials whose facts a reader keeps in memory; those of others are looked up in the file."""


@dataclass(frozen=True)
class SpoolLine:
    """A line and where it stands."""

    line: Line
    start: int
    """Bytes before it."""
    end: int
    """Bytes up to the next one."""


class Spool:
    """The writing side: one process appends, any number may read. Opening it mends a torn last line."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.file = folder / SPOOL_FILE
        self._descriptor = os.open(self.file, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o666)
        self._size = os.fstat(self._descriptor).st_size
        self._torn = self._size > 0 and os.pread(self._descriptor, 1, self._size - 1) != b"\n"
        self._lock = Lock()
        self._told: set[Key] = set()
        """Trials whose facts this process has written."""

    @property
    def size(self) -> int:
        """Bytes of whole lines."""
        return self._size

    def append(self, kind: Kind, time_ms: int, facts: TrialFacts | None = None, **content: Any) -> None:
        """Write a line, with the trial's facts where it starts or was not heard of before.

        Raises:
            OSError: the disk is full, say; the file is as it was, unless not even that could be done.
        """
        key = key_of(facts) if facts else None
        if facts and (kind is Kind.STARTED or key not in self._told):
            content["facts"] = facts_content(facts)
        self._write(text_of(kind, time_ms, key, **content))
        if key:
            self._told.add(key)

    def sync(self) -> None:
        """Force what was written to the disk."""
        os.fsync(self._descriptor)

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._descriptor)

    def _write(self, line: bytes) -> None:
        with self._lock:
            whole = b"\n" + line if self._torn else line
            taken = os.write(self._descriptor, whole)
            if taken < len(whole):
                self._take_back()
                raise OSError(f"{self.file}: only {taken} of {len(whole)} bytes were taken")
            self._torn = False
            self._size = os.lseek(self._descriptor, 0, os.SEEK_CUR)

    def _take_back(self) -> None:
        """Cut off what was taken of a line; where that fails, too, the next line begins as one of its own."""
        was_torn, self._torn = self._torn, True
        os.ftruncate(self._descriptor, self._size)
        self._torn = was_torn


def spool_lines(
    file: Path, start: int = 0, end: int | None = None, on_unreadable: OnUnreadable = lambda problem: None
) -> Iterator[SpoolLine]:
    """Yield the lines between two places of a spool; those that cannot be read are told and passed over."""
    with file.open("rb") as spool:
        at = spool.seek(start)
        end = os.fstat(spool.fileno()).st_size if end is None else end
        while at < end and (text := spool.readline()):
            before, at = at, at + len(text)
            try:
                line = line_of(text)
            except UnreadableLine as error:
                if text.strip():
                    on_unreadable(f"byte {before} of {file}: {error}")
            else:
                yield SpoolLine(line, before, at)


def lines_at(file: Path, places: Iterable[int]) -> Iterator[SpoolLine]:
    """Yield the lines that begin at these bytes."""
    with file.open("rb") as spool:
        for place in places:
            at = spool.seek(place)
            text = spool.readline()
            with suppress(UnreadableLine):
                yield SpoolLine(line_of(text), at, at + len(text))


def begins_a_line(file: Path, place: int) -> bool:
    """Return whether a line begins at a byte, or would begin there as the next one."""
    if place == 0:
        return True
    with file.open("rb") as spool:
        spool.seek(place - 1)
        return spool.read(1) == b"\n"


class TrialsInSpool:
    """What a spool says of trials: looked up in the file, so that a long sweep takes little memory."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._places: dict[Key, int] = {}
        """Where each trial's facts stand."""
        self._searched = 0
        self._kept: OrderedDict[Key, TrialFacts] = OrderedDict()

    def keys(self) -> Set[Key]:
        """Return all trials whose facts are in the file."""
        self._search(self._file.stat().st_size)
        return self._places.keys()

    def of(self, at: SpoolLine) -> TrialFacts | None:
        """Return the facts of the trial that a line is about; None where the spool never had them."""
        key = at.line.key
        if key is None:
            return None
        if facts := at.line.facts:
            self._note(at.line, at.start)
        elif key in self._kept:
            facts = self._kept[key]
        else:
            facts = self._looked_up(key, at.start)
        if facts:
            self._kept[key] = facts
            self._kept.move_to_end(key)
            if len(self._kept) > FACTS_KEPT:
                self._kept.popitem(last=False)
        return facts

    def _looked_up(self, key: Key, before: int) -> TrialFacts | None:
        if key not in self._places:
            self._search(before)
        places = [self._places[key]] if key in self._places else []
        return next((each.line.facts for each in lines_at(self._file, places)), None)

    def _note(self, line: Line, at: int) -> None:
        if line.key and line.facts:
            self._places[line.key] = at

    def _search(self, end: int) -> None:
        """Find where facts stand in what was not looked through before."""
        with self._file.open("rb") as spool:
            at = spool.seek(self._searched)
            while at < end and (text := spool.readline()):
                if FACTS_MARK in text:
                    with suppress(UnreadableLine):
                        self._note(line_of(text), at)
                at += len(text)
        self._searched = max(self._searched, end)
