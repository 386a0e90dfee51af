"""A real S3 server for tests, on a port of its own. It takes everything, wrong secrets included."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from uuid import uuid4

import pytest

CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "user",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}


@dataclass(frozen=True)
class ObjectStore:
    """A server with buckets."""

    port: int

    @property
    def options(self) -> str:
        return f"endpoint_override=127.0.0.1:{self.port}&scheme=http"

    def url(self, bucket: str, prefix: str = "sweeps") -> str:
        return f"s3://{bucket}/{prefix}?{self.options}"

    def new_bucket(self) -> str:
        """Make an empty bucket and return the address of a prefix in it."""
        from pyarrow.fs import FileSystem

        name = f"bucket-{uuid4().hex[:8]}"
        system, _ = FileSystem.from_uri(f"s3://{name}?{self.options}&allow_bucket_creation=true")
        system.create_dir(name)
        return self.url(name)


@pytest.fixture(scope="session")
def _object_store() -> Iterator[ObjectStore]:
    pytest.importorskip("moto.server", reason="moto is not installed: pip install 'moto[server]'")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = int(taken.getsockname()[1])
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    environment = os.environ | CREDENTIALS
    server = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait_for(server, port)
        yield ObjectStore(port)
    finally:
        server.kill()
        server.wait()


@pytest.fixture
def object_store(_object_store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> ObjectStore:
    """Return a running server, with credentials for it in the environment; skip where moto is missing."""
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    return _object_store


def _wait_for(server: subprocess.Popen[bytes], port: int) -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until and server.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.1)
    raise AssertionError("the S3 server did not start")
