"""Where a ledger is kept: a journal file in the sweep's folder, or any database that Optuna knows.

A database is asked once, shortly, before anything starts. Later a server may restart: connections that it
cut are replaced, and a new one is tried for a while. No message shows a password.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage, InMemoryStorage, JournalStorage, RDBStorage

from shapeft_tune.errors import LedgerError
from shapeft_tune.tune.ledger.journal import LedgerJournal

if TYPE_CHECKING:
    from sqlalchemy import URL, Engine

logger = logging.getLogger(__name__)

LEDGER_FILE = "ledger.journal"
SQLITE = "sqlite:///"
CONNECT_SECONDS = 5
"""A server that does not answer for so long when a ledger is opened is taken for absent."""
SILENCE_SECONDS = 20
"""A connection on which nothing comes back for so long is taken for cut."""
RECONNECT_SECONDS = 30
"""So long a server may be away, to restart, before whoever asks it is told."""
POSTGRES_DRIVERS = ("psycopg", "psycopg2")
TRIES = 5
"""Drivers that open an empty database at the same moment all make its tables; one of them is first."""


def open_storage(url: str | None, folder: Path) -> BaseStorage:
    """Open what holds a ledger, for running a sweep; tables or the file are made on first use.

    Args:
        url: of a database, as SQLAlchemy writes it: ``postgresql+psycopg://USER:PASSWORD@HOST/DATABASE`` or
            ``sqlite:////ABSOLUTE/FILE.db``; None for the journal file in the folder.
        folder: the sweep's; must exist.

    Raises:
        LedgerError: a wrong address, no driver for that kind of database, no answer within seconds, no such
            database, or a damaged file.
    """
    if url is None:
        _cut_torn_line(folder / LEDGER_FILE)
        return _journal(folder / LEDGER_FILE)
    address = _checked(url)
    with ledger_errors(url):
        return _outliving_restarts(_database(address))


def look_storage(url: str | None, folder: Path) -> BaseStorage:
    """Open what holds a ledger, for reading; where there is none yet, an empty one in memory.

    Makes no file, no table and no study.

    Args:
        url: as in :func:`open_storage`.
        folder: the sweep's.

    Raises:
        LedgerError: as in :func:`open_storage`.
    """
    if url is None:
        return _journal(folder / LEDGER_FILE) if (folder / LEDGER_FILE).exists() else InMemoryStorage()
    address = _checked(url)
    if url.startswith(SQLITE) and not Path(url.removeprefix(SQLITE)).exists():
        return InMemoryStorage()
    with ledger_errors(url):
        if not _has_tables(address):
            return InMemoryStorage()
        return RDBStorage(_full(address), _engine_options(address), skip_table_creation=True)


@contextmanager
def ledger_errors(url: str | None) -> Iterator[None]:
    """Turn whatever a database says inside into a ``LedgerError`` with advice and without a password."""
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except ImportError as error:
        raise LedgerError(
            f"ledger {shown(url)}: expected a driver for this database; got {error} - " + _driver_advice(url)
        ) from None
    except (SQLAlchemyError, StorageInternalError, RuntimeError) as error:
        reason = _reason(error)
        raise LedgerError(
            f"ledger {shown(url)}: expected an answer; got {without_password(reason, url)[:300]} - "
            + _advice(reason, url)
        ) from None


def shown(url: str | None) -> str:
    """Return an address for messages, without its password and options."""
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    if url is None:
        return LEDGER_FILE
    try:
        address = make_url(url)
        return address.set(query={}).render_as_string(hide_password=True)
    except (ArgumentError, ValueError):
        return url.split("://")[0] + "://..." if "://" in url else "..."


def without_password(text: str, url: str | None) -> str:
    """Return the text without any password that the address holds."""
    from sqlalchemy.engine import make_url

    if url is None:
        return text
    address = make_url(url)
    for secret in (address.password, address.query.get("password")):
        if secret:
            text = text.replace(str(secret), "***")
    return text


def _checked(url: str) -> URL:
    """Return the parsed address.

    Raises:
        LedgerError: it is none, or of a file whose place depends on where the command is called.
    """
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError, NoSuchModuleError

    try:
        address = make_url(url)
        address.get_dialect()
    except (ArgumentError, NoSuchModuleError, ValueError):
        raise LedgerError(
            "ledger: expected postgresql+psycopg://USER:PASSWORD@HOST/DATABASE, sqlite:////ABSOLUTE/FILE.db "
            f"or another database that SQLAlchemy knows; got {shown(url)!r} - correct the address"
        ) from None
    except ImportError:
        raise LedgerError(
            f"ledger {shown(url)}: expected a driver for this database; got none - {_driver_advice(url)}"
        ) from None
    if address.get_backend_name() == "sqlite":
        _check_file(url)
    return address


def _check_file(url: str) -> None:
    file = Path(url.removeprefix(SQLITE))
    if not url.startswith(SQLITE) or not file.is_absolute():
        raise LedgerError(
            f"ledger: expected an absolute file, sqlite:////ABSOLUTE/FILE.db; got {url!r} - a relative one "
            "would be another file in another working directory"
        )
    if not file.parent.is_dir():
        raise LedgerError(f"ledger: expected a folder {file.parent}; got none - create it first")


def _database(address: URL) -> RDBStorage:
    """Open a database and make its tables where they are missing."""
    from sqlalchemy.exc import IntegrityError, OperationalError, ProgrammingError

    for attempt in range(TRIES):
        try:
            return RDBStorage(_full(address), _engine_options(address))
        except (IntegrityError, OperationalError, ProgrammingError) as error:
            if attempt + 1 == TRIES or not _made_by_another(error):
                raise
            time.sleep(0.2 * (attempt + 1))
    raise AssertionError("the last attempt returns or raises")


def _made_by_another(error: Exception) -> bool:
    """Whether a table or its first row came into being between looking for it and making it."""
    return any(words in str(error) for words in ("already exists", "duplicate key", "UNIQUE constraint"))


def _has_tables(address: URL) -> bool:
    from sqlalchemy import create_engine, inspect

    engine = create_engine(address, **_engine_options(address))
    try:
        return inspect(engine).has_table("alembic_version")  # the last one that Optuna makes
    finally:
        engine.dispose()


def _engine_options(address: URL) -> dict[str, Any]:
    options: dict[str, Any] = {"pool_pre_ping": True}  # a pooled connection may be older than the server
    if address.get_driver_name() in POSTGRES_DRIVERS:
        # libpq waits for ever by default, also on a network that swallows packets.
        patience = {
            "connect_timeout": CONNECT_SECONDS,
            "keepalives_idle": SILENCE_SECONDS // 2,
            "keepalives_interval": SILENCE_SECONDS // 4,
            "keepalives_count": 2,
            "tcp_user_timeout": SILENCE_SECONDS * 1000,
        }
        options["connect_args"] = {
            name: value for name, value in patience.items() if name not in address.query
        }
    if address.get_backend_name() == "sqlite":
        options["connect_args"] = {"timeout": SILENCE_SECONDS}  # for another process to finish its writing
    return options


def _outliving_restarts(storage: RDBStorage) -> RDBStorage:
    """Let later connections be tried for a while: a server that restarts refuses them for seconds."""
    from sqlalchemy import event

    engine: Engine = storage.engine

    def connect(dialect: Any, record: Any, arguments: list[Any], options: dict[str, Any]) -> Any:
        give_up = time.monotonic() + RECONNECT_SECONDS
        while True:
            try:
                return dialect.connect(*arguments, **options)
            except dialect.loaded_dbapi.OperationalError:
                if time.monotonic() > give_up:
                    raise
                logger.warning("the ledger's server does not answer; trying again")
                time.sleep(1)

    event.listen(engine, "do_connect", connect)
    return storage


def _full(address: URL) -> str:
    return address.render_as_string(hide_password=False)


def _reason(error: Exception) -> str:
    """Return the first line of what the database said, without SQLAlchemy's and Optuna's words around it."""
    cause = error.__cause__ if isinstance(error, StorageInternalError) and error.__cause__ else error
    cause = getattr(cause, "orig", None) or cause
    return next(iter(str(cause).strip().splitlines()), type(cause).__name__)


def _advice(reason: str, url: str | None) -> str:
    if (url or "").startswith("sqlite"):
        return "move the file away if it is no database, and see that its folder can be written to"
    if "optuna" in reason:
        return "run `optuna storage upgrade --storage URL`, after a copy"
    if "database" in reason and "does not exist" in reason:
        return "create the database first (`createdb NAME`) or correct its name"
    if "authentication" in reason or "password" in reason:
        return "check user and password"
    if "permission denied" in reason:
        return "let this user create tables there, or give it a database of its own"
    return "check host and port, and that the server runs and lets this machine in"


def _driver_advice(url: str | None) -> str:
    if (url or "").startswith("postgresql"):
        return (
            "pip install 'shapeft-tune[postgres]' (or psycopg[binary]), and begin the address with "
            "postgresql+psycopg://"
        )
    return "install the driver that SQLAlchemy's page on this database names"


def _cut_torn_line(path: Path) -> None:
    """Cut off half a line that a full disk or a power cut left at the end; the next would be glued to it."""
    if path.exists():
        content = path.read_bytes()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            os.truncate(path, whole)


def _journal(path: Path) -> BaseStorage:
    try:
        return JournalStorage(LedgerJournal(str(path)))
    except (ValueError, KeyError) as error:
        raise LedgerError(
            f"{path}: damaged ({error}). Put a copy back, or move the sweep's folder away to start afresh"
        ) from error
