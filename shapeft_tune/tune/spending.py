"""What a sweep takes while it runs, held against its budget."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable

from shapeft_tune.config.budget import Total
from shapeft_tune.config.protocol import Role
from shapeft_tune.tune.ledger.ledger import Ledger
from shapeft_tune.tune.ledger.trials import LedgerTrial, Spent

WRITE_EVERY = 10.0
"""Seconds between two writes of the same wall time, at least: so much is lost when a driver is killed."""


class Spending:
    """Adds up time and steps; what trials took is kept by the ledger, wall time is measured here."""

    def __init__(self, ledger: Ledger, total: Total, clock: Callable[[], float] = time.monotonic) -> None:
        self._ledger = ledger
        self._total = total
        self._clock = clock
        self._began = clock()
        self._before = ledger.wall_seconds
        self._searching: Counter[str] = Counter()
        self._since: dict[str, float] = {}
        """When a cell's clock was last read, while it has search trials at work."""
        self._written: dict[str, float] = {}
        """When wall time was last written, by cell; the sweep's own has no name."""
        self._heard: dict[tuple[Role, int], float] = {}
        """When a trial that has its slot was last heard of."""

    def started(self, trial: LedgerTrial) -> None:
        """A trial was handed out."""
        if trial.role is Role.SEARCH:
            self._searching[trial.cell.key] += 1
            self._since.setdefault(trial.cell.key, self._clock())

    def began(self, trial: LedgerTrial) -> None:
        """A trial got its slot; before that it takes nothing."""
        self._heard[trial.role, trial.storage_id] = self._clock()

    def silence(self, trial: LedgerTrial) -> float:
        """Return the seconds since a trial was last heard of; 0 where it never had its slot."""
        now = self._clock()
        return now - self._heard.get((trial.role, trial.storage_id), now)

    def took(self, trial: LedgerTrial, spent: Spent, *, ended: bool) -> None:
        """A trial has taken this much so far; with ``ended`` it is written down."""
        if ended:
            self._heard.pop((trial.role, trial.storage_id), None)
        else:
            self._heard[trial.role, trial.storage_id] = self._clock()
        cell = self._ledger.cells[trial.cell.key]
        cell.spend(trial, spent, write=ended)
        if trial.role is Role.SEARCH:
            now = self._clock()
            seconds = cell.wall_seconds + now - self._since[trial.cell.key]
            self._since[trial.cell.key] = now
            if ended:
                self._searching[trial.cell.key] -= 1
                if not self._searching[trial.cell.key]:
                    del self._since[trial.cell.key]
            cell.note_wall_seconds(seconds, write=self._is_time_for(trial.cell.key))
        if self._is_time_for(""):
            self.write()

    def write(self) -> None:
        """Write the sweep's own wall time down."""
        self._ledger.note_wall_seconds(self._wall_seconds)

    def close(self) -> None:
        """Write down what was kept in memory."""
        self.write()
        for key in self._written:
            if key:
                cell = self._ledger.cells[key]
                cell.note_wall_seconds(cell.wall_seconds)

    @property
    def reached(self) -> str:
        """What of the whole sweep's budget is used up, in words; empty for nothing."""
        limits: tuple[tuple[str, float | None, Callable[[], float]], ...] = (
            ("wall_hours", self._total.wall_hours, lambda: self._wall_seconds),
            ("device_hours", self._total.device_hours, lambda: self._ledger.spent().charged_device_seconds),
        )
        for name, limit, seconds in limits:
            if limit is not None and (taken := seconds() / 3600) >= limit:
                return f"budget.total.{name}: {taken:.3g} of {limit:g} are used"
        return ""

    def _is_time_for(self, key: str) -> bool:
        now = self._clock()
        if now - self._written.get(key, -WRITE_EVERY) < WRITE_EVERY:
            return False
        self._written[key] = now
        return True

    @property
    def _wall_seconds(self) -> float:
        return self._before + self._clock() - self._began
