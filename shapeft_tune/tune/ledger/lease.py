"""One driver for each sweep of a ledger, whatever homes and machines the drivers have.

The lock of ``lock.py`` guards a home; drivers with other homes meet only in the ledger.
There a lease is a study named ``<sweep>:lease:<number>``. Names are unique in every storage of Optuna, so
making the next one is an act that only one driver succeeds in. Its holder counts up in it every few seconds.
Who wants it watches that count on a clock of its own (clocks of two machines are never compared): a count
that stands still belongs to a dead holder. A holder that was only paused finds the next lease and learns
that its own is lost.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from optuna.exceptions import DuplicatedStudyError
from optuna.storages import BaseStorage
from optuna.study import StudyDirection

from shapeft_tune.errors import LedgerError
from shapeft_tune.tune.ledger.ledger_storage import ledger_errors

logger = logging.getLogger(__name__)

HEARTBEAT = 4.0
"""Seconds between two signs of life."""
PATIENCE = 20.0
"""Seconds without a sign of life after which a holder counts as dead."""
LOOK_EVERY = 0.5
"""Seconds between two looks of who waits."""
ATTRIBUTE = "lease"
MARK = ":lease:"
"""Between a sweep's name and a lease's number; a sweep's own name holds no colon."""


@dataclass(frozen=True)
class Holder:
    """A driver, and the folder whose lock it holds."""

    who: str
    """For people: the process and its machine."""
    home: str
    """For people: the folder."""
    place: str
    """For comparing: which folder of which machine. The same place means the same lock."""

    @classmethod
    def of(cls, folder: Path) -> Holder:
        """Describe this process, which holds the lock of a sweep's folder."""
        found = folder.stat()
        return cls(
            who=f"process {os.getpid()} on {socket.gethostname()}",
            home=str(folder),
            # Two machines may share a name and a path; they never share a boot.
            place=f"{_boot()}/{found.st_dev}/{found.st_ino}",
        )


@dataclass(frozen=True)
class Sign:
    """What a lease says; ``count`` grows while its holder lives."""

    count: int
    who: str
    home: str
    place: str
    ended: bool = False


class Lease:
    """The right to drive a sweep, kept alive by a thread until :func:`sole_driver_of` is left."""

    def __init__(
        self,
        storage: BaseStorage,
        name: _Name,
        holder: Holder,
        on_lost: Callable[[str], None],
        heartbeat: float,
    ) -> None:
        self._storage = storage
        self._name = name
        self._study = storage.get_study_id_from_name(str(name))
        self._sign = Sign(0, **asdict(holder))
        self._on_lost = on_lost
        self._heartbeat = heartbeat
        self._asking = threading.Lock()
        self._asked = time.monotonic()
        self._lost = ""
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._keep_alive, name="lease", daemon=True)
        self._thread.start()

    @property
    def lost(self) -> str:
        """Who drives the sweep now instead, in words; empty while the lease is held.

        Ask before anything is handed out. After a pause in which nobody looked, such as a suspended
        process, the ledger is asked at once, so that nothing is decided on what was true before.
        """
        if not self._lost and self._is_stale():
            with self._asking:
                if self._is_stale():  # the thread may have asked while this one waited
                    self._renew()
        return self._lost

    def end(self) -> None:
        """Give the lease back; a ledger that does not answer only makes the next driver wait."""
        self._over.set()
        self._thread.join()
        if self._lost:
            return
        try:
            self._write(replace(self._sign, count=self._sign.count + 1, ended=True))
        except Exception:
            logger.warning("cannot give the lease back; the next driver will wait for it", exc_info=True)

    def _keep_alive(self) -> None:
        while not self._lost and not self._over.wait(self._heartbeat):
            with self._asking:
                self._renew()

    def _is_stale(self) -> bool:
        return time.monotonic() - self._asked > 2 * self._heartbeat

    def _renew(self) -> None:
        """Show a sign of life, and look for a successor."""
        asked = time.monotonic()  # before, because what is heard may be as old as the question
        try:
            if successor := self._successor():
                self._lose(successor)
        except Exception:  # the server may come back; whoever watches cannot ask it either
            logger.warning("cannot renew the lease now", exc_info=True)
        self._asked = asked

    def _successor(self) -> str:
        sign = replace(self._sign, count=self._sign.count + 1)
        try:
            self._write(sign)
        except KeyError:
            return "another driver, which removed this lease"
        self._sign = sign
        try:
            study = self._storage.get_study_id_from_name(str(self._name.next()))
        except KeyError:
            return ""
        found = _read(self._storage, study)
        return f"{found.who}, home {found.home}" if found else "another driver"

    def _lose(self, successor: str) -> None:
        if self._lost:
            return
        self._lost = successor
        logger.error("the lease of the sweep was lost to %s", successor)
        self._on_lost(successor)

    def _write(self, sign: Sign) -> None:
        self._storage.set_study_user_attr(self._study, ATTRIBUTE, asdict(sign))


@contextmanager
def sole_driver_of(
    storage: BaseStorage,
    sweep: str,
    holder: Holder,
    *,
    on_lost: Callable[[str], None] = lambda successor: None,
    tell: Callable[[str], None] = lambda sentence: None,
    url: str | None = None,
    heartbeat: float = HEARTBEAT,
    patience: float = PATIENCE,
) -> Iterator[Lease]:
    """Hold a sweep's lease in its ledger.

    Args:
        storage: the ledger's; may be used by other threads meanwhile, as all storages of Optuna may.
        sweep: its name.
        holder: who asks; must hold the lock of its home's folder, see :class:`Holder`.
        on_lost: called once, from another thread, with who drives the sweep instead.
        tell: told why it takes a while.
        url: the storage's, for messages.
        heartbeat: seconds between two signs of life.
        patience: seconds without one after which a holder counts as dead; the same for all drivers.

    Raises:
        LedgerError: another driver lives, or the ledger does not answer.
    """
    with ledger_errors(url):
        name = _taken(storage, sweep, holder, tell, patience)
        lease = Lease(storage, name, holder, on_lost, heartbeat)
    try:
        yield lease
    finally:
        lease.end()


def holder_of(storage: BaseStorage, sweep: str) -> str | None:
    """Return who holds a sweep's lease, alive or dead; None when nobody does or it was given back."""
    found = sign_of(storage, sweep)
    return None if found is None or found.ended else f"{found.who}, home {found.home}"


def sign_of(storage: BaseStorage, sweep: str) -> Sign | None:
    """Return what a sweep's latest lease says; None where there is none, or it says nothing yet."""
    name = _latest(storage, sweep)
    return _look(storage, name) if name else None


@dataclass(frozen=True)
class _Name:
    """The name of a lease's study."""

    sweep: str
    number: int

    def __str__(self) -> str:
        return f"{self.sweep}{MARK}{self.number}"

    def next(self) -> _Name:
        return replace(self, number=self.number + 1)


def _taken(
    storage: BaseStorage, sweep: str, holder: Holder, tell: Callable[[str], None], patience: float
) -> _Name:
    """Take the lease as soon as it is free, and return its name."""
    while True:
        latest = _latest(storage, sweep)
        if latest and not _free(storage, latest, holder, tell, patience):
            continue  # it moved while it was watched: look again
        mine = latest.next() if latest else _Name(sweep, 1)
        try:
            study = storage.create_new_study([StudyDirection.MINIMIZE], str(mine))
        except DuplicatedStudyError:
            continue  # another driver was faster
        try:
            storage.set_study_user_attr(study, ATTRIBUTE, asdict(Sign(0, **asdict(holder))))
            if _latest(storage, sweep) == mine:
                _remove_older(storage, mine)
                return mine
            storage.delete_study(study)  # its name was free only because a later holder had tidied up
        except KeyError:
            continue  # the later holder tidied up again


def _free(
    storage: BaseStorage, name: _Name, holder: Holder, tell: Callable[[str], None], patience: float
) -> bool:
    """Whether a lease is nobody's; it takes patience to find that its holder is dead.

    Returns False when the lease was given back or removed meanwhile.

    Raises:
        LedgerError: its holder lives.
    """
    first = _look(storage, name)
    if first and (first.ended or first.place == holder.place):
        return True  # given back, or held by a process whose lock is ours now: it is dead
    who = f"{first.who}, home {first.home}" if first else "a driver that has just started"
    tell(f"the ledger is leased to {who}; waiting up to {patience:.0f} s for a sign of life")
    give_up = time.monotonic() + patience
    while time.monotonic() < give_up:
        time.sleep(LOOK_EVERY)
        now = _look(storage, name)
        if now is None and first is not None:
            return False
        if now is not None and now.ended:
            return False
        if now is not None and now != first:
            raise LedgerError(
                f"ledger: expected nobody else on sweep {name.sweep!r}; another driver runs it ({now.who}, "
                f"home {now.home}) - watch it with `status`, or end it first"
            )
    return True


def _latest(storage: BaseStorage, sweep: str) -> _Name | None:
    numbers = _numbers(storage, sweep)
    return _Name(sweep, max(numbers)) if numbers else None


def _remove_older(storage: BaseStorage, mine: _Name) -> None:
    """Remove past leases, the oldest first: a paused holder must find its own or the next one missing."""
    for number in sorted(_numbers(storage, mine.sweep)):
        if number < mine.number:
            with suppress(KeyError):  # removed by a driver that was slow to see that it is not the holder
                storage.delete_study(storage.get_study_id_from_name(str(replace(mine, number=number))))


def _numbers(storage: BaseStorage, sweep: str) -> list[int]:
    start = f"{sweep}{MARK}"
    names = (study.study_name for study in storage.get_all_studies())
    return [int(name.removeprefix(start)) for name in names if name.startswith(start)]


def _look(storage: BaseStorage, name: _Name) -> Sign | None:
    """Return what a lease says; None when it is gone, or so new that it says nothing."""
    try:
        return _read(storage, storage.get_study_id_from_name(str(name)))
    except KeyError:
        return None


def _read(storage: BaseStorage, study: int) -> Sign | None:
    said: dict[str, Any] | None = storage.get_study_user_attrs(study).get(ATTRIBUTE)
    return Sign(**said) if said else None


def _boot() -> str:
    """Return what tells this machine, since it was started, from all others."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:  # not on Linux
        return socket.gethostname()
