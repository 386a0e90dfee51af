from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import optuna
import psutil
import pytest
from optuna.storages import BaseStorage, InMemoryStorage
from optuna.study import StudyDirection

from shapeft_tune.errors import LedgerError
from shapeft_tune.tune.ledger import lease
from shapeft_tune.tune.ledger.lease import Holder, Lease, holder_of, sole_driver_of
from shapeft_tune.tune.ledger.ledger_storage import open_storage
from tests.postgres import Server

HERE = Holder("process 1 on here", "/home/here", "boot/1/1")
THERE = Holder("process 2 on there", "/home/there", "boot/2/2")
QUICK = {"heartbeat": 0.2, "patience": 2.0}
DRIVE = """
import sys, time
from pathlib import Path
from shapeft_tune.errors import LedgerError
from shapeft_tune.tune.ledger.lease import Holder, sole_driver_of
from shapeft_tune.tune.ledger.ledger_storage import open_storage
url, folder = sys.argv[1], Path(sys.argv[2])
folder.mkdir()
storage = open_storage(url, folder)
print("ready", flush=True)
sys.stdin.readline()
try:
    with sole_driver_of(storage, "demo", Holder.of(folder), heartbeat=0.2, patience=3.0) as lease:
        print("drives", flush=True)
        while sys.stdin.readline() == "lost?\\n":
            print("lost" if lease.lost else "held", flush=True)
except LedgerError as refusal:
    print("refused", refusal, flush=True)
"""


class Process:
    """A driver in a process of its own, with a home of its own."""

    def __init__(self, url: str, home: Path) -> None:
        command = [sys.executable, "-c", DRIVE, url, str(home)]
        self._popen = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        self.handle = psutil.Process(self._popen.pid)
        assert self.says() == "ready"

    def says(self) -> str:
        assert self._popen.stdout is not None
        return self._popen.stdout.readline().strip()

    def tell(self, line: str) -> None:
        assert self._popen.stdin is not None
        self._popen.stdin.write(line + "\n")
        self._popen.stdin.flush()

    def end(self) -> None:
        self._popen.kill()
        self._popen.wait()


@pytest.fixture(params=["memory", "journal", "sqlite", "postgresql"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> BaseStorage:
    match request.param:
        case "memory":
            return InMemoryStorage()
        case "journal":
            return open_storage(None, tmp_path)
        case "sqlite":
            return open_storage(f"sqlite:///{tmp_path / 'ledger.db'}", tmp_path)
    server: Server = request.getfixturevalue("postgres")
    return open_storage(server.new_database(), tmp_path)


def leases(storage: BaseStorage) -> list[str]:
    return [name for name in optuna.get_all_study_names(storage) if ":lease:" in name]


def leave_behind(storage: BaseStorage, holder: Holder) -> None:
    """Make a lease whose holder has died."""
    study = storage.create_new_study([StudyDirection.MINIMIZE], "demo:lease:1")
    said = {"count": 7, "who": holder.who, "home": holder.home, "place": holder.place, "ended": False}
    storage.set_study_user_attr(study, "lease", said)


def test_a_second_driver_is_refused_and_told_who_the_first_is(storage: BaseStorage) -> None:
    with sole_driver_of(storage, "demo", HERE, **QUICK) as held:
        assert holder_of(storage, "demo") == "process 1 on here, home /home/here"
        refused = pytest.raises(LedgerError, match=r"process 1 on here, home /home/here.*`status`")
        with refused, sole_driver_of(storage, "demo", THERE, **QUICK):
            pass
        assert held.lost == ""
    assert holder_of(storage, "demo") is None


def test_a_lease_that_was_given_back_is_taken_at_once(
    storage: BaseStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease.time, "sleep", lambda seconds: pytest.fail("it waited"))
    for holder in (HERE, THERE, HERE):
        with sole_driver_of(storage, "demo", holder, **QUICK):
            pass
    assert leases(storage) == ["demo:lease:3"]


def test_two_sweeps_of_one_ledger_have_a_lease_each() -> None:
    storage = InMemoryStorage()
    with sole_driver_of(storage, "demo", HERE, **QUICK), sole_driver_of(storage, "demo2", THERE, **QUICK):
        assert sorted(leases(storage)) == ["demo2:lease:1", "demo:lease:1"]


def test_a_dead_driver_of_the_same_folder_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    storage = InMemoryStorage()
    leave_behind(storage, HERE)
    monkeypatch.setattr(lease.time, "sleep", lambda seconds: pytest.fail("it waited"))
    with sole_driver_of(storage, "demo", replace(HERE, who="process 3 on here"), **QUICK):
        assert leases(storage) == ["demo:lease:2"]


def test_a_dead_driver_of_another_folder_is_waited_for_and_that_is_said() -> None:
    storage = InMemoryStorage()
    leave_behind(storage, THERE)
    said: list[str] = []
    with sole_driver_of(storage, "demo", HERE, tell=said.append, heartbeat=0.2, patience=0.6):
        assert said == [
            "the ledger is leased to process 2 on there, home /home/there; "
            "waiting up to 1 s for a sign of life"
        ]


def test_a_driver_that_died_before_its_first_sign_of_life_is_followed() -> None:
    storage = InMemoryStorage()
    storage.create_new_study([StudyDirection.MINIMIZE], "demo:lease:1")
    with sole_driver_of(storage, "demo", HERE, heartbeat=0.2, patience=0.6):
        assert leases(storage) == ["demo:lease:2"]


def test_a_slow_driver_does_not_take_a_name_that_a_later_holder_tidied_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    storage = InMemoryStorage()
    storage.create_new_study([StudyDirection.MINIMIZE], "demo:lease:5")
    storage.set_study_user_attr(0, "lease", {"count": 1, "who": "x", "home": "y", "place": "z"})
    answers = iter([None])  # what it saw before the others came
    seen = lease._latest
    monkeypatch.setattr(lease, "_latest", lambda *which: next(answers, seen(*which)))
    with sole_driver_of(storage, "demo", HERE, heartbeat=0.2, patience=0.6):
        assert leases(storage) == ["demo:lease:6"]


@pytest.mark.parametrize("tidied", [False, True])
def test_a_holder_that_finds_the_next_lease_learns_that_its_own_is_lost(tidied: bool) -> None:
    storage = InMemoryStorage()
    learned = threading.Event()
    with sole_driver_of(storage, "demo", HERE, on_lost=lambda by: learned.set(), **QUICK) as held:
        follow(storage, tidied)
        assert learned.wait(20)
        assert "process 2 on there" in held.lost or tidied
        assert held.lost
    assert holder_of(storage, "demo") == "process 2 on there, home /home/there"


def follow(storage: BaseStorage, tidied: bool) -> None:
    study = storage.create_new_study([StudyDirection.MINIMIZE], "demo:lease:2")
    said = {"count": 1, "who": THERE.who, "home": THERE.home, "place": THERE.place}
    storage.set_study_user_attr(study, "lease", said)
    if tidied:
        storage.delete_study(storage.get_study_id_from_name("demo:lease:1"))


def test_whoever_asks_after_a_pause_gets_no_old_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    storage = InMemoryStorage()
    with sole_driver_of(storage, "demo", HERE, heartbeat=30.0, patience=90.0) as held:
        follow(storage, tidied=False)
        assert held.lost == ""  # the thread sleeps, and the last look was an instant ago
        now = time.monotonic()
        monkeypatch.setattr(lease.time, "monotonic", lambda: now + 61)
        assert "process 2 on there" in held.lost
        monkeypatch.undo()


class Failing(InMemoryStorage):
    """A storage that is away for a while."""

    away = False

    def set_study_user_attr(self, study_id: int, key: str, value: object) -> None:
        if self.away:
            raise ConnectionError("no answer")
        super().set_study_user_attr(study_id, key, value)


def test_a_lease_outlives_a_ledger_that_is_away_for_a_while() -> None:
    storage = Failing()
    with sole_driver_of(storage, "demo", HERE, **QUICK) as held:
        storage.away = True
        time.sleep(0.5)
        assert held.lost == ""
        storage.away = False
        assert count_grows(storage)
    assert holder_of(storage, "demo") is None


def count_grows(storage: BaseStorage) -> bool:
    study = storage.get_study_id_from_name("demo:lease:1")
    first = storage.get_study_user_attrs(study)["lease"]["count"]
    until = time.monotonic() + 20
    while storage.get_study_user_attrs(study)["lease"]["count"] == first:
        assert time.monotonic() < until
        time.sleep(0.05)
    return True


def test_the_lease_is_given_back_when_a_driver_ends_by_an_error() -> None:
    storage = InMemoryStorage()

    def fail(held: Lease) -> None:
        raise RuntimeError("a fault")

    with pytest.raises(RuntimeError, match="a fault"), sole_driver_of(storage, "demo", HERE) as held:
        fail(held)
    assert holder_of(storage, "demo") is None


def test_the_same_folder_is_the_same_place_and_another_is_not(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "other")
    assert Holder.of(tmp_path / "link").place == Holder.of(tmp_path / "other").place
    assert Holder.of(tmp_path).place != Holder.of(tmp_path / "other").place


def test_of_processes_that_race_for_a_lease_in_postgresql_exactly_one_wins(
    postgres: Server, tmp_path: Path
) -> None:
    url = postgres.new_database()
    drivers = [Process(url, tmp_path / str(number)) for number in range(3)]
    try:
        for driver in drivers:
            driver.tell("go")
        assert sorted(driver.says().split()[0] for driver in drivers) == ["drives", "refused", "refused"]
    finally:
        for driver in drivers:
            driver.end()


def test_a_driver_that_was_killed_is_followed_and_one_that_was_paused_learns_it(
    postgres: Server, tmp_path: Path
) -> None:
    url = postgres.new_database()
    killed, paused, last = (Process(url, tmp_path / name) for name in ("killed", "paused", "last"))
    try:
        killed.tell("go")
        assert killed.says() == "drives"
        killed.handle.kill()
        paused.tell("go")
        assert paused.says() == "drives"
        paused.handle.send_signal(signal.SIGSTOP)
        last.tell("go")
        assert last.says() == "drives"
        paused.tell("lost?")
        paused.handle.send_signal(signal.SIGCONT)
        assert paused.says() == "lost"
        last.tell("lost?")
        assert last.says() == "held"
    finally:
        for driver in (killed, paused, last):
            driver.end()


def test_a_lease_outlives_a_restart_of_its_server(postgres: Server, tmp_path: Path) -> None:
    storage = open_storage(postgres.new_database(), tmp_path)
    with sole_driver_of(storage, "demo", HERE, **QUICK) as held:
        postgres.stop()
        postgres.start()
        assert count_grows(storage)
        assert held.lost == ""
