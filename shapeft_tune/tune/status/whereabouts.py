"""Where each running trial is: a small file beside the ledger, for whoever looks at a sweep from outside."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from shapeft_tune.atomic import write_atomically
from shapeft_tune.tune.ledger.trials import LedgerTrial

FILE = "running.json"
WRITE_EVERY = 1.0
"""Seconds between two writes, at least."""


@dataclass(frozen=True)
class Place:
    """One trial that was handed out."""

    cell: str
    role: str
    fingerprint: str
    since: float
    """When it was handed out; seconds since 1970."""
    host: str = ""
    """Empty while it waits for a slot."""
    process: int = 0
    device: str = ""
    step: int = 0
    steps: int = 0
    """0 before its first validation."""
    seconds: float = 0.0
    """Spent, over all its pieces, up to its last validation."""

    @property
    def waits(self) -> bool:
        """Whether it has no slot yet."""
        return not self.host


class Whereabouts:
    """Keeps the file up to date, without writing for every word."""

    def __init__(self, folder: Path, clock: Callable[[], float] = time.time) -> None:
        self._file = folder / FILE
        self._clock = clock
        self._places: dict[str, Place] = {}
        self._written = 0.0
        self._later: threading.Timer | None = None
        """Writes what came too soon after the last write; nothing may happen for minutes then."""
        self._lock = threading.Lock()
        self._closed = False

    def handed_out(self, ray_id: str, trial: LedgerTrial) -> None:
        """A trial waits for its slot."""
        self._places[ray_id] = Place(trial.cell.key, str(trial.role), trial.fingerprint, since=self._clock())
        self._write()

    def began(self, ray_id: str, host: str, process: int, device: str) -> None:
        """A trial has its slot."""
        self._places[ray_id] = replace(self._places[ray_id], host=host, process=process, device=device)
        self._write()

    def reached(self, ray_id: str, step: int, steps: int, seconds: float) -> None:
        """A trial was validated."""
        self._places[ray_id] = replace(self._places[ray_id], step=step, steps=steps, seconds=seconds)
        self._write()

    def left(self, ray_id: str) -> None:
        """A trial is over."""
        self._places.pop(ray_id, None)
        self._write()

    def close(self) -> None:
        """Nothing runs any more."""
        with self._lock:
            self._closed = True
            if self._later:
                self._later.cancel()
            self._file.unlink(missing_ok=True)

    def _write(self) -> None:
        with self._lock:
            wait = self._written + WRITE_EVERY - self._clock()
            if wait <= 0:
                self._write_now()
            elif self._later is None:
                self._later = threading.Timer(wait, self._write_late)
                self._later.daemon = True
                self._later.start()

    def _write_late(self) -> None:
        with self._lock:
            self._later = None
            if not self._closed:
                self._write_now()

    def _write_now(self) -> None:
        self._written = self._clock()
        content = [asdict(place) for place in list(self._places.values())]
        write_atomically(self._file, json.dumps(content).encode())


def forget_places(folder: Path) -> None:
    """Remove what a driver wrote that has died since."""
    (folder / FILE).unlink(missing_ok=True)


def places_in(folder: Path) -> tuple[Place, ...]:
    """Return where a sweep's trials are, as its driver wrote it last; none where no driver wrote."""
    try:
        return tuple(Place(**each) for each in json.loads((folder / FILE).read_text(encoding="utf-8")))
    except (FileNotFoundError, ValueError, TypeError):  # between two writes, or of another version
        return ()
