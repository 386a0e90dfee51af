"""A real PostgreSQL server for tests, in a folder and on a port of its own."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest

USER, PASSWORD = "shapeft", "not:a/secret"


@dataclass(frozen=True)
class Server:
    """A server that checks passwords."""

    programs: Path
    folder: Path
    port: int

    def url(self, database: str = "postgres", password: str = "not%3Aa%2Fsecret") -> str:
        return f"postgresql+psycopg://{USER}:{password}@127.0.0.1:{self.port}/{database}"

    def new_database(self) -> str:
        """Make an empty database and return its address."""
        import psycopg

        name = f"test_{uuid4().hex[:8]}"
        with psycopg.connect(self.url().replace("+psycopg", ""), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return self.url(name)

    def start(self) -> None:
        options = (
            f"-p {self.port} -c listen_addresses=127.0.0.1 "
            f"-c unix_socket_directories={self.folder} -c fsync=off"
        )
        self._control("start", "-o", options, "-l", str(self.folder / "log"))

    def stop(self) -> None:
        self._control("stop", "-m", "immediate")

    def _control(self, *arguments: str) -> None:
        command = [str(self.programs / "pg_ctl"), "-D", str(self.folder / "data"), "-w", *arguments]
        subprocess.run([*_as_postgres(), *command], check=True, stdout=subprocess.DEVNULL, cwd="/")


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    """Return a running server; skip where PostgreSQL or its Python driver is not installed."""
    pytest.importorskip("psycopg", reason="psycopg is not installed: pip install 'psycopg[binary]'")
    programs = _programs()
    if programs is None:
        pytest.skip("PostgreSQL is not installed: initdb and pg_ctl were not found")
    folder = Path(tempfile.mkdtemp(prefix="shapeft-postgres-"))
    server = Server(programs, folder, _free_port())
    try:
        _make_cluster(server)
        server.start()
        yield server
    finally:
        with suppress(subprocess.CalledProcessError):
            server.stop()
        shutil.rmtree(folder)


def _programs() -> Path | None:
    places = [Path(found).resolve().parent for found in [shutil.which("initdb")] if found]
    places += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((place for place in places if (place / "pg_ctl").exists()), None)


def _make_cluster(server: Server) -> None:
    password_file = server.folder / "password"
    password_file.write_text(PASSWORD)
    if os.getuid() == 0:
        for path in (server.folder, password_file):
            shutil.chown(path, "postgres", "postgres")
    options = ["--username", USER, "--pwfile", str(password_file), "--auth=scram-sha-256", "--no-sync"]
    command = [str(server.programs / "initdb"), "-D", str(server.folder / "data"), *options]
    subprocess.run([*_as_postgres(), *command], check=True, stdout=subprocess.DEVNULL, cwd="/")


def _as_postgres() -> Sequence[str]:
    """Return what begins a command that root may not run itself."""
    if os.getuid() != 0:
        return ()
    user = pwd.getpwnam("postgres")
    return ("setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups")


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])
