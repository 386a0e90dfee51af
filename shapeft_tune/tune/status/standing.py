"""Where a sweep stands, by its ledger and the places of its trials, beside a running sweep or after it.

Nothing here writes. A trial that is open in the ledger is at work only while a driver is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from optuna.storages import BaseStorage, InMemoryStorage

from shapeft_tune.config.places import Places
from shapeft_tune.config.sweep import SweepConfig
from shapeft_tune.tune.ledger.counts import CellCounts
from shapeft_tune.tune.ledger.lease import PATIENCE, Holder, Sign, sign_of
from shapeft_tune.tune.ledger.ledger import Ledger
from shapeft_tune.tune.ledger.ledger_storage import ledger_errors, look_storage
from shapeft_tune.tune.ledger.lock import driver_of
from shapeft_tune.tune.ledger.trials import LedgerTrial, Spent, State
from shapeft_tune.tune.orders import trial_folder
from shapeft_tune.tune.status.pace import trials_per_hour
from shapeft_tune.tune.status.whereabouts import Place, places_in


@dataclass(frozen=True)
class AtWork:
    """A trial that a living driver has handed out."""

    trial: LedgerTrial
    place: Place | None
    """None where only its driver's home knows."""

    @property
    def waits(self) -> bool:
        """Whether it is known to have no slot yet."""
        return self.place is not None and self.place.waits


@dataclass(frozen=True)
class Standing:
    """A sweep at one moment."""

    sweep: SweepConfig
    """Under the name of its generation."""
    folder: Path
    begun: bool
    """Whether the ledger holds anything of the sweep."""
    in_database: bool
    """Whether the ledger is in a database, not in the folder."""
    driver: str | None
    """Who is at work on it, in words; None for nobody."""
    counts: tuple[CellCounts, ...]
    at_work: tuple[AtWork, ...]
    left_open: tuple[LedgerTrial, ...]
    """Were at work when their driver ended; go on with the next one."""
    ended: tuple[LedgerTrial, ...]
    spent: Spent
    wall_seconds: float
    trials_per_hour: float | None
    """None where nobody is at work, or nothing has ended for a day."""
    moment: datetime

    @property
    def done(self) -> bool:
        """Whether every cell has all its trials."""
        return all(count.done for count in self.counts)

    @property
    def trials_todo(self) -> int:
        """Trials that have not ended."""
        return sum(count.trials_todo for count in self.counts)

    @property
    def trials_done(self) -> int:
        """Trials that have ended, however they did."""
        return sum(count.trials_done for count in self.counts)

    @property
    def best(self) -> CellCounts | None:
        """The cell with the best validation mIoU so far."""
        scored = [count for count in self.counts if count.best_miou is not None]
        return max(scored, key=lambda count: count.best_miou or 0.0, default=None)

    @property
    def seconds_left(self) -> float | None:
        """About how long the rest takes at this pace; None where there is no pace."""
        if not self.trials_per_hour or not self.trials_todo:
            return None
        return 3600 * self.trials_todo / self.trials_per_hour

    @property
    def failed(self) -> tuple[LedgerTrial, ...]:
        """The trials that failed for good."""
        return tuple(trial for trial in self.ended if trial.state is State.FAILED)

    def folder_of(self, trial: LedgerTrial) -> Path:
        """Return where everything about a trial is."""
        return trial_folder(self.folder, trial.cell.strategy, trial.fingerprint)


class Onlooker:
    """Looks at a sweep from outside, again and again; only what is new is read."""

    def __init__(self, sweep: SweepConfig, places: Places, url: str | None = None) -> None:
        """Note what to look at.

        Args:
            sweep: the checked file, under the name of its generation.
            places: where things lie.
            url: of a database that holds the ledger, where it is not a file in the sweep's folder.
        """
        self._sweep = sweep
        self._folder = places.sweep_folder(sweep.name)
        self._url = url
        self._ledger: Ledger | None = None
        self._leases = _Leases(sweep.name, self._folder, url) if url else None

    @property
    def ledger(self) -> Ledger:
        """The ledger as it was at the last look.

        Raises:
            LedgerError: the file means something else by a cell than the ledger, or no database answers.
        """
        if self._ledger is None:
            self._ledger = Ledger.look(self._folder, self._sweep, self._url)
        return self._ledger

    def look(self, now: datetime | None = None) -> Standing:
        """Return where the sweep stands.

        Raises:
            LedgerError: as in :attr:`ledger`.
        """
        now = now or datetime.now()
        driver, elsewhere = driver_of(self._folder), False
        places = {(each.cell, each.role, each.fingerprint): each for each in places_in(self._folder)}
        with ledger_errors(self._url):
            self._refresh()
            ledger = self.ledger
            if driver is None and self._leases:
                driver, elsewhere = self._leases.holder(), True
        trials = ledger.trials()
        opened = [trial for trial in trials if trial.state is State.RUNNING]
        at_work = [AtWork(each, None if elsewhere else _place_of(each, places, now)) for each in opened]
        return Standing(
            sweep=self._sweep,
            folder=self._folder,
            begun=ledger.exists,
            in_database=self._url is not None,
            driver=driver,
            counts=ledger.counts(),
            at_work=tuple(at_work) if driver else (),
            left_open=() if driver else tuple(opened),
            ended=tuple(trial for trial in trials if trial.state is not State.RUNNING),
            spent=ledger.spent(),
            wall_seconds=ledger.wall_seconds,
            trials_per_hour=trials_per_hour(trials, now) if driver else None,
            moment=now,
        )

    def _refresh(self) -> None:
        if self._ledger is None or not self._ledger.exists:  # there may be one by now
            self._ledger = None
        else:
            self._ledger.refresh()


class _Leases:
    """Who drives a sweep whose ledger is in a database, by its lease there.

    Whether a holder lives, only a second look can tell: one that was given no sign of life in between is held
    for alive.
    """

    def __init__(self, sweep: str, folder: Path, url: str) -> None:
        self._sweep, self._folder, self._url = sweep, folder, url
        self._storage: BaseStorage | None = None
        self._seen: Sign | None = None
        self._since = datetime.now()

    def holder(self) -> str | None:
        """Return who holds the lease, None for nobody or somebody who is known to be dead."""
        if self._storage is None or isinstance(self._storage, InMemoryStorage):
            self._storage = look_storage(self._url, self._folder)
        sign = sign_of(self._storage, self._sweep)
        if sign is None or sign.ended or self._is_of_this_home(sign):
            return None
        if sign != self._seen:
            self._seen, self._since = sign, datetime.now()
        silent = (datetime.now() - self._since).total_seconds() > PATIENCE
        return None if silent else f"{sign.who}, home {sign.home}"

    def _is_of_this_home(self, sign: Sign) -> bool:
        """Whether its holder had the lock of this folder, which nobody has now."""
        return self._folder.is_dir() and sign.place == Holder.of(self._folder).place


def cell_json(count: CellCounts) -> dict[str, Any]:
    """Return what tells a cell from the others of its sweep."""
    cell = count.cell
    return {
        "strategy": cell.strategy,
        "label_fraction": cell.label_fraction,
        "temporal_length": cell.temporal_length,
    }


def _place_of(trial: LedgerTrial, places: Mapping[tuple[str, str, str], Place], now: datetime) -> Place:
    """Return where a trial is; one that its driver has not written down yet was handed out just now."""
    name = (trial.cell.key, str(trial.role), trial.fingerprint)
    return places.get(name) or Place(*name, since=now.timestamp())
