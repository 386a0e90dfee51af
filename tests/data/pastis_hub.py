"""A small hub on this machine that speaks what the Hugging Face hub's client asks for."""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import huggingface_hub.constants
import pytest

COMMIT = "0" * 39 + "1"
PREFIX = "/datasets/IGNF/PASTIS-HD/resolve/"
API = "/api/datasets/IGNF/PASTIS-HD/"
PAGE = 5
"""Files that the hub lists at once."""


class Hub(ThreadingHTTPServer):
    """Serves one data set as the Hugging Face hub does: listed by pages, hashes and commit in the headers."""

    def __init__(self, files: dict[str, bytes]) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.files, self.commits = files, {"main": COMMIT, COMMIT: COMMIT}
        self.served: dict[str, bytes] = {}
        """What is sent in place of the content, as a broken line or disk does."""
        self.once = False
        """Whether it is so the first time alone."""
        self.refused: dict[str, int] = {}
        """Status of what is not sent."""
        self.sent: list[str] = []
        self.waits: dict[str, threading.Event] = {}
        """What has to happen before the second half of a file is sent; given up after some seconds."""

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Answer(BaseHTTPRequestHandler):
    server: Hub
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer(with_content=False)

    def do_GET(self) -> None:
        self._answer(with_content=True)

    def _answer(self, with_content: bool) -> None:
        url = urlsplit(self.path)
        if url.path.startswith(API):
            self._facts(url.path.removeprefix(API), url.query)
        elif url.path.startswith(PREFIX):
            commit, _, path = url.path.removeprefix(PREFIX).partition("/")
            self._file(commit, path, with_content)
        else:
            self._send(404, b"")

    def _facts(self, asked: str, query: str) -> None:
        kind, _, revision = asked.partition("/")
        if status := self.server.refused.get("listing"):
            self._send(status, b"", {"X-Error-Code": "GatedRepo"} if status == 403 else {})
        elif revision not in self.server.commits:
            self._send(404, b"", {"X-Error-Code": "RevisionNotFound"})
        elif kind == "revision":
            content = {"id": "IGNF/PASTIS-HD", "sha": self.server.commits[revision], "siblings": []}
            self._send(200, json.dumps(content).encode())
        else:
            first = int(query.partition("cursor=")[2] or 0)
            paths = sorted(self.server.files)[first:]
            listed = [{"type": "directory", "path": "DATA_S2", "oid": "0" * 40, "size": 0}]
            listed += [_described(path, self.server.files[path]) for path in paths[:PAGE]]
            more = f'<{self.server.endpoint}{API}tree/{revision}?cursor={first + PAGE}>; rel="next"'
            self._send(200, json.dumps(listed).encode(), {"Link": more} if paths[PAGE:] else {})

    def _file(self, commit: str, path: str, with_content: bool) -> None:
        content = self.server.files[path]
        if status := self.server.refused.get(path):
            self._send(status, b"")
            return
        sent = content
        if with_content:
            self.server.sent.append(path)
            take = self.server.served.pop if self.server.once else self.server.served.get
            sent = take(path, content)
        linked = {"X-Linked-ETag": f'"{_sha256(content)}"', "X-Linked-Size": str(len(content))}
        headers = {"X-Repo-Commit": commit, "ETag": f'"{_git(content)}"'}
        wait = self.server.waits.get(path) if with_content else None
        self._send(200, sent, headers | (linked if _is_large(path) else {}), wait)

    def _send(
        self,
        status: int,
        content: bytes,
        headers: dict[str, str] | None = None,
        wait: threading.Event | None = None,
    ) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command == "HEAD":
            return
        half = len(content) // 2 if wait else 0
        self.wfile.write(content[:half])
        if wait:
            wait.wait(5)  # less than the client waits for an answer
        self.wfile.write(content[half:])

    def log_message(self, format: str, *arguments: object) -> None:
        pass


def _described(path: str, content: bytes) -> dict[str, object]:
    lfs = {"oid": _sha256(content), "size": len(content), "pointerSize": 130}
    large = {"lfs": lfs} if _is_large(path) else {}
    return {"type": "file", "path": path, "oid": _git(content), "size": len(content), **large}


def _is_large(path: str) -> bool:
    return path.endswith((".npy", ".tif", ".zip"))


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _git(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0%s" % (len(content), content)).hexdigest()


def files_of(root: Path) -> dict[str, bytes]:
    """Return what a folder holds, by path inside it."""
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


@contextlib.contextmanager
def serving(files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """Serve these files as IGNF/PASTIS-HD to the hub's client in this process."""
    with Hub(files) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        point_at(server.endpoint, monkeypatch)
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        yield server
        server.shutdown()
        thread.join()


def point_at(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the hub's client ask another address."""
    template = endpoint + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", endpoint)
    monkeypatch.setattr(huggingface_hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
