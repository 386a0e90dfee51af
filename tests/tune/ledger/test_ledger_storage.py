from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import optuna
import pytest
from optuna.storages import BaseStorage, InMemoryStorage
from optuna.study import StudyDirection

from shapeft_tune.errors import LedgerError
from shapeft_tune.tune.ledger.ledger_storage import (
    CONNECT_SECONDS,
    LEDGER_FILE,
    look_storage,
    open_storage,
    shown,
)
from tests.postgres import Server

OPEN = """
import sys
from pathlib import Path
from shapeft_tune.tune.ledger.ledger_storage import open_storage
sys.stdin.readline()
open_storage(sys.argv[1], Path(sys.argv[2]))
"""


def names(storage: BaseStorage) -> list[str]:
    return optuna.get_all_study_names(storage)


def make_study(storage: BaseStorage, name: str) -> int:
    return storage.create_new_study([StudyDirection.MAXIMIZE], name)


def test_the_ledger_is_a_journal_file_by_default(tmp_path: Path) -> None:
    make_study(open_storage(None, tmp_path), "cell")
    assert names(open_storage(None, tmp_path)) == ["cell"]
    assert (tmp_path / LEDGER_FILE).exists()


def test_half_a_line_at_the_journals_end_is_cut_off(tmp_path: Path) -> None:
    make_study(open_storage(None, tmp_path), "cell")
    with (tmp_path / LEDGER_FILE).open("ab") as file:
        file.write(b'{"op_code": 4, "worker')
    make_study(open_storage(None, tmp_path), "other")
    assert sorted(names(open_storage(None, tmp_path))) == ["cell", "other"]


def test_a_damaged_journal_is_refused(tmp_path: Path) -> None:
    (tmp_path / LEDGER_FILE).write_text("this is no journal\n{}\n")
    with pytest.raises(LedgerError, match="Put a copy back"):
        open_storage(None, tmp_path)


@pytest.mark.parametrize("kind", ["journal", "sqlite"])
def test_looking_makes_nothing(tmp_path: Path, kind: str) -> None:
    url = None if kind == "journal" else f"sqlite:///{tmp_path / 'ledger.db'}"
    assert isinstance(look_storage(url, tmp_path), InMemoryStorage)
    assert list(tmp_path.iterdir()) == []


def test_looking_sees_what_was_written_to_a_file_of_sqlite(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    make_study(open_storage(url, tmp_path), "cell")
    assert names(look_storage(url, tmp_path)) == ["cell"]


@pytest.mark.parametrize(
    ("url", "advice"),
    [
        ("", "correct the address"),
        ("ledger.db", "correct the address"),
        ("redis://host/0", "correct the address"),
        ("postgresql+psycopg://me:secret@host:port/db", "correct the address"),
        ("sqlite:///ledger.db", "another working directory"),
        ("sqlite://", "another working directory"),
        ("sqlite:////no-such-folder/ledger.db", "create it first"),
        ("mysql+nothing://me:secret@host/db", "correct the address"),
        ("postgresql+psycopg2://me:secret@127.0.0.1:9/db", r"shapeft-tune\[postgres\]"),
        ("postgresql+psycopg://me:secret@127.0.0.1:9/db", "the server runs"),
        ("postgresql+psycopg://me:secret@no-such-host.invalid/db", "check host and port"),
        ("postgresql+psycopg://127.0.0.1:9/db?user=me&password=secret", "the server runs"),
    ],
)
def test_an_unusable_address_is_refused_with_what_to_do_and_no_password(
    url: str, advice: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("psycopg", reason="psycopg is not installed: pip install 'psycopg[binary]'")
    monkeypatch.setitem(sys.modules, "psycopg2", None)  # as if it were not installed
    for use in (open_storage, look_storage):
        with pytest.raises(LedgerError, match=advice) as refused:
            use(url, tmp_path)
        assert "secret" not in str(refused.value)


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "ledger.db"
    file.write_text("not a database, and long enough to be looked at twice " * 20)
    with pytest.raises(LedgerError, match="move the file away"):
        open_storage(f"sqlite:///{file}", tmp_path)


def test_a_server_that_never_answers_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("psycopg", reason="psycopg is not installed: pip install 'psycopg[binary]'")
    assert CONNECT_SECONDS <= 10
    monkeypatch.setattr("shapeft_tune.tune.ledger.ledger_storage.CONNECT_SECONDS", 2)
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        pytest.raises(LedgerError, match="check host and port"),
    ):
        open_storage(f"postgresql+psycopg://me@127.0.0.1:{silent.getsockname()[1]}/db", tmp_path)


def test_an_address_is_shown_without_its_password() -> None:
    assert "secret" not in shown("postgresql+psycopg://me:secret@host/db?password=secret")
    assert shown("postgresql+psycopg://me:secret@host/db").endswith("@host/db")


def test_postgresql_refuses_with_what_to_do(postgres: Server, tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match="create the database first"):
        open_storage(postgres.url("nothing_here"), tmp_path)
    with pytest.raises(LedgerError, match="check user and password") as refused:
        open_storage(postgres.url(password="wrong-secret"), tmp_path)
    assert "wrong-secret" not in str(refused.value)


def test_looking_into_an_empty_postgresql_makes_no_table(postgres: Server, tmp_path: Path) -> None:
    from sqlalchemy import create_engine, inspect

    url = postgres.new_database()
    assert isinstance(look_storage(url, tmp_path), InMemoryStorage)
    engine = create_engine(url)
    assert inspect(engine).get_table_names() == []
    engine.dispose()
    make_study(open_storage(url, tmp_path), "cell")
    assert names(look_storage(url, tmp_path)) == ["cell"]


def test_drivers_that_open_an_empty_postgresql_at_the_same_moment_all_succeed(
    postgres: Server, tmp_path: Path
) -> None:
    url = postgres.new_database()
    command = [sys.executable, "-c", OPEN, url, str(tmp_path)]
    drivers = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(3)
    ]
    for driver in drivers:
        assert driver.stdin is not None
        driver.stdin.write("go\n")
        driver.stdin.flush()
    complaints = [driver.communicate()[1] for driver in drivers]
    assert [driver.returncode for driver in drivers] == [0, 0, 0], complaints


def test_a_server_that_restarts_between_two_operations_is_not_noticed(
    postgres: Server, tmp_path: Path
) -> None:
    storage = open_storage(postgres.new_database(), tmp_path)
    make_study(storage, "before")
    postgres.stop()
    postgres.start()
    make_study(storage, "after")
    assert sorted(names(storage)) == ["after", "before"]


def test_an_operation_waits_for_a_server_that_is_away_for_a_while(postgres: Server, tmp_path: Path) -> None:
    storage = open_storage(postgres.new_database(), tmp_path)
    make_study(storage, "before")
    postgres.stop()

    def come_back() -> None:
        time.sleep(1.5)
        postgres.start()

    restart = threading.Thread(target=come_back)
    restart.start()
    make_study(storage, "after")
    restart.join()
    assert sorted(names(storage)) == ["after", "before"]
