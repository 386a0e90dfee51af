"""A real MLflow server on this machine, which can be stopped and started again."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
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
