"""MLflow's own pages on the store of a home, served as ``shapeft_tune ui`` serves them."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

START_PATIENCE = 180.0
"""Seconds: a busy machine takes long over MLflow's imports."""


@contextlib.contextmanager
def served(home: Path, log: Path) -> Iterator[str]:
    """Serve a home's store on a free port of this machine, and yield the address, without a slash at its end.

    Args:
        home: holds ``mlflow.db``.
        log: what the server prints is written here.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "shapeft_tune", "ui", "--home", str(home), "--port", str(port)]
    environment = os.environ | {"MLFLOW_DISABLE_TELEMETRY": "true"}
    with log.open("wb") as output:
        # A session of its own: the server starts processes, which end with it.
        server = subprocess.Popen(
            command, stdout=output, stderr=output, env=environment, start_new_session=True
        )
        try:
            address = f"http://127.0.0.1:{port}"
            _wait_for(address, server, log)
            yield address
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(server.pid, signal.SIGTERM)
            server.wait(30)


def _wait_for(address: str, server: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + START_PATIENCE
    while time.monotonic() < end and server.poll() is None:
        with (
            contextlib.suppress(urllib.error.URLError, OSError),
            urllib.request.urlopen(f"{address}/health", timeout=5),
        ):
            return
        time.sleep(0.2)
    raise RuntimeError(f"MLflow's server did not start:\n{log.read_text(errors='replace')[-2000:]}")
