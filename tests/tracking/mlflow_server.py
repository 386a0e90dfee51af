"""A real MLflow server on this machine, which can be stopped and started again."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from threading import Thread
from urllib.request import urlopen


class MlflowServer:
    """Serves a database; artifacts go through it into a folder or a bucket."""

    def __init__(
        self, database: str, artifacts: Path | str, settings: Mapping[str, str] | None = None
    ) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.address = f"http://127.0.0.1:{self.port}"
        self.database = database
        self._stores = ["--backend-store-uri", database, "--artifacts-destination", str(artifacts)]
        self._settings = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"} | dict(settings or {})
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        address = ("--host", "127.0.0.1", "--port", str(self.port), "--workers", "1")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "mlflow", "server", *address, *self._stores],
            env=os.environ | self._settings,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        while not self._answers():
            assert self._process.poll() is None, "the server ended while starting"
            time.sleep(0.1)

    def stop(self) -> None:
        """Kill it and all that it started, as a power cut would."""
        if self._process:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def _answers(self) -> bool:
        try:
            with urlopen(f"{self.address}/health", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False


class Gate:
    """Another address of a server, which can go away and come back at once: starting a server takes seconds.

    While it is away connections are refused, and those that were open are cut.
    """

    def __init__(self, server: MlflowServer) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._here = probe.getsockname()
        self.address = f"http://127.0.0.1:{self._here[1]}"
        self.database = server.database
        self._there = ("127.0.0.1", server.port)
        self._listener: socket.socket | None = None
        self._open: list[socket.socket] = []

    def start(self) -> None:
        """Let requests through."""
        self._listener = socket.create_server(self._here)
        Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def stop(self) -> None:
        """Be gone."""
        listener, self._listener = self._listener, None
        for each in [listener, *self._open] if listener else []:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        self._open.clear()

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):  # of a listener that was closed
            while True:
                client, _ = listener.accept()
                server = socket.create_connection(self._there)
                self._open += [client, server]
                for source, sink in ((client, server), (server, client)):
                    Thread(target=_pass_on, args=(source, sink), daemon=True).start()


def _pass_on(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):  # cut from one side or the other
        while data := source.recv(1 << 16):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
