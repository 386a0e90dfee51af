from __future__ import annotations

import http.server
import os
import socket
import threading
import time
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from shapeft_tune.errors import TrackingError
from shapeft_tune.tracking.connection import PATIENCE, all_runs, bounded_requests, connect


@pytest.mark.parametrize(
    ("address", "advice"),
    [
        ("file:///runs", "start `mlflow server`"),
        ("databricks", "start `mlflow server`"),
        ("postgresql://user@host/db", "start `mlflow server`"),
        ("http://", "start `mlflow server`"),
        ("", "start `mlflow server`"),
        ("http://127.0.0.1:9", "check the address"),
        ("http://no-such-host.invalid:5000", "check the address"),
        ("sqlite:///runs.db", "write sqlite:////"),
        ("sqlite://", "write sqlite:////"),
        ("sqlite:////no-such-folder/runs.db", "create it first"),
        ("sqlite:////proc/runs.db", "make this one writable"),
    ],
)
def test_an_unusable_store_is_refused_with_what_to_do(address: str, advice: str) -> None:
    with pytest.raises(TrackingError, match=advice):
        connect(address, create=True)


def test_reading_does_not_make_a_store(tmp_path: Path) -> None:
    with pytest.raises(TrackingError, match="run the sweep first"):
        connect(f"sqlite:///{tmp_path / 'mlflow.db'}", create=False)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "mlflow.db"
    file.write_text("not a database, and long enough to be looked at twice " * 20)
    with pytest.raises(TrackingError, match="move the file away"):
        connect(f"sqlite:///{file}", create=True)
    assert file.read_text().startswith("not a database")


def test_a_server_that_takes_calls_and_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PATIENCE, "MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        pytest.raises(TrackingError, match="check the address"),
    ):
        connect(f"http://127.0.0.1:{silent.getsockname()[1]}", create=True)


def test_a_server_may_take_longer_for_a_page_of_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PATIENCE, "MLFLOW_HTTP_REQUEST_TIMEOUT", "1")

    class Slow(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            time.sleep(1.5)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'{"runs": []}')

    with http.server.HTTPServer(("127.0.0.1", 0), Slow) as slow:
        thread = threading.Thread(target=slow.serve_forever)
        thread.start()
        try:
            client = MlflowClient(f"http://127.0.0.1:{slow.server_port}")
            assert list(all_runs(client, "1")) == []
        finally:
            slow.shutdown()
            thread.join()


def test_a_server_that_is_no_mlflow_server_is_refused() -> None:
    with http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler) as other:
        thread = threading.Thread(target=other.serve_forever)
        thread.start()
        try:
            with pytest.raises(TrackingError, match="check the address"):
                connect(f"http://127.0.0.1:{other.server_port}", create=True)
        finally:
            other.shutdown()
            thread.join()


def test_a_password_in_the_address_is_not_shown() -> None:
    with pytest.raises(TrackingError) as refused:
        connect("http://me:secret@127.0.0.1:9", create=True)
    assert "secret" not in str(refused.value)


def test_requests_are_bounded_until_the_last_thread_is_through(monkeypatch: pytest.MonkeyPatch) -> None:
    name = next(iter(PATIENCE))
    monkeypatch.delenv(name, raising=False)
    inside, leave = threading.Event(), threading.Event()

    def other() -> None:
        with bounded_requests():
            inside.set()
            leave.wait()

    thread = threading.Thread(target=other)
    with bounded_requests():
        thread.start()
        inside.wait()
    assert os.environ[name] == PATIENCE[name]
    leave.set()
    thread.join()
    assert name not in os.environ
