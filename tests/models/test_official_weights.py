"""Official files over real HTTP: the hub's own client against a small hub on this machine."""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import huggingface_hub.constants
import pytest

from shapeft_tune.errors import WeightsError
from shapeft_tune.models import weights
from shapeft_tune.models.weights import OfficialCheckpoint, find_official, resolve_weights

CONTENT = b"weights that took a month to train " * 1000
OTHER = CONTENT.replace(b"month", b"night")
DIGEST, OTHER_DIGEST = sha256(CONTENT).hexdigest(), sha256(OTHER).hexdigest()
REVISION = "0123456789abcdef0123456789abcdef01234567"
OFFICIAL = OfficialCheckpoint("models/Model.pt", "someone/Model", REVISION, DIGEST)
UNHASHED = OfficialCheckpoint("models/Model.pt", "someone/Model", REVISION)


class Hub(ThreadingHTTPServer):
    """Serves one file as the Hugging Face hub does: its hash and commit are in the headers."""

    stated, served, status = DIGEST, CONTENT, 200
    seconds_before_content = 0.0
    """The content is held back for so long."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.asked: list[str] = []

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Answer(BaseHTTPRequestHandler):
    server: Hub

    def do_HEAD(self) -> None:
        if self._asked_for_the_file():
            self._head(len(CONTENT))

    def do_GET(self) -> None:
        if not self._asked_for_the_file():
            return
        time.sleep(self.server.seconds_before_content)
        self._head(len(self.server.served))
        self.wfile.write(self.server.served)

    def _asked_for_the_file(self) -> bool:
        """Note the request, or answer that there is nothing: the client asks for facts about itself, too."""
        if self.path != f"/{OFFICIAL.repository}/resolve/{REVISION}/{OFFICIAL.file}":
            self.send_error(404)
            return False
        self.server.asked.append(self.command)
        return True

    def _head(self, length: int) -> None:
        self.send_response(self.server.status)
        self.send_header("ETag", f'"{self.server.stated}"')
        self.send_header("X-Repo-Commit", REVISION)
        self.send_header("Content-Length", str(length))
        self.end_headers()

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with Hub() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        template = server.endpoint + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", server.endpoint)
        monkeypatch.setattr(huggingface_hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        yield server
        server.shutdown()
        thread.join()


def resolved(folder: Path, official: OfficialCheckpoint = OFFICIAL) -> Path:
    path = resolve_weights("official", official, folder)
    assert path is not None
    return path


def refusal(folder: Path, official: OfficialCheckpoint = OFFICIAL) -> str:
    with pytest.raises(WeightsError) as error:
        resolve_weights("official", official, folder)
    return str(error.value)


def test_an_official_file_is_downloaded_into_the_weights_folder(hub: Hub, tmp_path: Path) -> None:
    path = resolved(tmp_path)
    assert path.read_bytes() == CONTENT
    assert path.is_relative_to(tmp_path)


def test_a_downloaded_file_is_used_again_without_a_request(hub: Hub, tmp_path: Path) -> None:
    path = resolved(tmp_path)
    hub.asked.clear()
    assert resolved(tmp_path) == path
    assert hub.asked == []


def test_a_download_with_another_hash_is_refused_and_not_kept(hub: Hub, tmp_path: Path) -> None:
    hub.served = OTHER
    message = refusal(tmp_path)
    assert DIGEST in message
    assert OTHER_DIGEST in message
    assert find_official(OFFICIAL, tmp_path) is None
    hub.served = CONTENT
    assert resolved(tmp_path).read_bytes() == CONTENT


def test_a_file_of_which_the_hub_states_another_hash_is_not_even_fetched(hub: Hub, tmp_path: Path) -> None:
    hub.stated, hub.served = OTHER_DIGEST, OTHER
    message = refusal(tmp_path)
    assert DIGEST in message
    assert OTHER_DIGEST in message
    assert "GET" not in hub.asked


def test_without_a_known_hash_the_one_that_the_hub_stated_is_required_from_then_on(
    hub: Hub, tmp_path: Path
) -> None:
    hub.served = OTHER
    assert DIGEST in refusal(tmp_path, UNHASHED)
    hub.served = CONTENT
    path = resolved(tmp_path, UNHASHED)
    path.resolve().write_bytes(OTHER)
    assert DIGEST in refusal(tmp_path, UNHASHED)


@pytest.mark.timeout(20)  # a machine without network must not try for minutes
@pytest.mark.parametrize("fault", ["truncated", "server error", "not found", "no server", "offline"])
def test_a_failed_download_says_which_file_from_where_and_where_to_put_it(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    match fault:
        case "truncated":
            hub.served = CONTENT[:-1]
        case "server error":
            hub.status = 500
        case "not found":
            hub.status = 404
        case "no server":
            template = "http://127.0.0.1:9/{repo_id}/resolve/{revision}/{filename}"
            monkeypatch.setattr(huggingface_hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        case "offline":
            monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    message = refusal(tmp_path)
    assert OFFICIAL.file in message
    assert f"someone/Model/resolve/{REVISION}/models/Model.pt" in message
    assert str(tmp_path / "models" / "Model.pt") in message
    assert find_official(OFFICIAL, tmp_path) is None


def test_two_processes_that_want_the_same_file_download_it_once(hub: Hub, tmp_path: Path) -> None:
    hub.seconds_before_content = 1.0  # time for the second to come while the first is downloading
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("fork")) as processes:
        path, other_path = processes.map(resolved, [tmp_path, tmp_path])
    assert path == other_path
    assert path.read_bytes() == CONTENT
    assert hub.asked.count("GET") == 1


def put_by_hand(folder: Path, content: bytes) -> Path:
    path = folder / OFFICIAL.file
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    return path


def test_a_file_put_there_by_hand_is_used_without_a_request(hub: Hub, tmp_path: Path) -> None:
    path = put_by_hand(tmp_path, CONTENT)
    assert resolved(tmp_path) == path
    assert hub.asked == []


def test_a_file_put_there_by_hand_with_another_hash_is_refused_and_kept(tmp_path: Path) -> None:
    path = put_by_hand(tmp_path, OTHER)
    message = refusal(tmp_path)
    assert DIGEST in message
    assert OTHER_DIGEST in message
    assert path.read_bytes() == OTHER


def test_a_verified_file_is_read_again_only_when_it_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(path: Path) -> str:
        raise AssertionError(f"{path} was read")

    path = put_by_hand(tmp_path, CONTENT)
    resolved(tmp_path)
    before = path.stat()
    with monkeypatch.context() as patched:
        patched.setattr(weights, "file_digest", read)
        resolved(tmp_path)
    path.write_bytes(OTHER)  # of the same size
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert OTHER_DIGEST in refusal(tmp_path)
