from __future__ import annotations

import errno
import io
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

import pytest

from shapeft_tune.errors import UserError
from shapeft_tune.tune.storage import storage as module
from shapeft_tune.tune.storage import storage_check, stored_files
from shapeft_tune.tune.storage.storage import TrialStorage, trial_key
from shapeft_tune.tune.storage.stored_files import NOTES_FILE, StorageFailed
from tests.object_store import ObjectStore

KEY = trial_key("demo", "utae", "abc")
STORE = """
import sys
from pathlib import Path
from shapeft_tune.tune.storage import storage, stored_files
stored_files.CHUNK = 2**20
uri, folder, key = sys.argv[1:]
while True:
    Path(folder, "last.pt").touch()
    assert storage.TrialStorage.at(uri).keep(Path(folder), key)
    print("stored", flush=True)
"""


@pytest.fixture(params=["folder", "s3"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> TrialStorage:
    if request.param == "folder":
        return TrialStorage.at((tmp_path / "storage").as_uri())
    server: ObjectStore = request.getfixturevalue("object_store")
    return TrialStorage.at(server.new_bucket())


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAUSES", (0.0, 0.0))


@pytest.fixture
def node(tmp_path: Path) -> Callable[[str], Path]:
    """Return the trial's folder on a node."""
    return lambda name: tmp_path / name / "trial"


def write(folder: Path, **files: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name.replace("_", ".")).write_text(content)


def content(folder: Path) -> dict[str, str]:
    files = sorted(folder.iterdir()) if folder.exists() else []
    return {path.name: path.read_text() for path in files if path.name != NOTES_FILE}


def uploads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list that will tell the names of the files that are stored."""
    stored: list[str] = []
    upload = module.upload

    def noted(system: object, source: Path, place: str) -> object:
        stored.append(source.name)
        return upload(system, source, place)

    monkeypatch.setattr(module, "upload", noted)
    return stored


def test_a_trial_is_handed_over_from_node_to_node_and_back(
    storage: TrialStorage, node: Callable[[str], Path]
) -> None:
    first, second = node("first"), node("second")
    storage.fetch(first, KEY)
    assert not first.exists()
    write(first, config_json="{}", best_pt="best 1", last_pt="last 1")
    assert storage.keep(first, KEY)
    storage.fetch(second, KEY)
    assert content(second) == {"config.json": "{}", "best.pt": "best 1", "last.pt": "last 1"}
    write(second, last_pt="last 2, longer")
    assert storage.keep(second, KEY)
    storage.fetch(first, KEY)
    assert content(first) == {"config.json": "{}", "best.pt": "best 1", "last.pt": "last 2, longer"}


def test_only_what_changed_is_stored_and_the_result_last_of_all(
    storage: TrialStorage, node: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, stored = node("first"), uploads(monkeypatch)
    write(folder, config_json="{}", labels_json="[]", last_pt="1", best_pt="1", other_txt="not ours")
    storage.keep(folder, KEY)
    assert stored == ["config.json", "labels.json", "best.pt", "last.pt"]
    stored.clear()
    write(folder, last_pt="two")
    storage.keep(folder, KEY)
    storage.keep(folder, KEY)
    assert stored == ["last.pt"]
    stored.clear()
    write(folder, result_json="{}", confusion_npz="counts", best_pt="best")
    storage.keep_last(folder, KEY)
    assert stored == ["confusion.npz", "best.pt", "result.json"]


def test_what_is_the_same_is_not_fetched_again(storage: TrialStorage, node: Callable[[str], Path]) -> None:
    folder = node("first")
    write(folder, best_pt="best")
    storage.keep(folder, KEY)
    before = (folder / "best.pt").stat()
    storage.fetch(folder, KEY)
    assert (folder / "best.pt").stat().st_ino == before.st_ino
    (folder / "best.pt").unlink()
    storage.fetch(folder, KEY)
    assert content(folder) == {"best.pt": "best"}


def test_a_checkpoint_that_could_not_be_stored_is_not_overwritten_by_an_older_one(
    storage: TrialStorage, node: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = node("first")
    write(folder, last_pt="1")
    storage.keep(folder, KEY)
    write(folder, last_pt="newer")
    with monkeypatch.context() as away:
        away.setattr(module, "upload", fail)
        assert not storage.keep(folder, KEY)
    storage.fetch(folder, KEY)
    assert content(folder) == {"last.pt": "newer"}
    assert storage.keep(folder, KEY)
    storage.fetch(node("second"), KEY)
    assert content(node("second")) == {"last.pt": "newer"}


def fail(*arguments: object) -> None:
    raise OSError("AWS Error NETWORK_CONNECTION")


def test_a_folder_without_notes_gives_way_to_the_storage(
    storage: TrialStorage, node: Callable[[str], Path]
) -> None:
    write(node("first"), last_pt="from the storage")
    storage.keep(node("first"), KEY)
    write(node("second"), last_pt="whatever", labels_json="[]")
    storage.fetch(node("second"), KEY)
    assert content(node("second")) == {"last.pt": "from the storage", "labels.json": "[]"}


def test_a_done_trial_leaves_no_last_checkpoint_in_the_storage(
    storage: TrialStorage, node: Callable[[str], Path]
) -> None:
    folder = node("first")
    write(folder, last_pt="last", best_pt="best")
    storage.keep(folder, KEY)
    write(folder, result_json="{}")
    (folder / "last.pt").unlink()
    storage.keep_last(folder, KEY)
    storage.fetch(node("second"), KEY)
    assert content(node("second")) == {"best.pt": "best", "result.json": "{}"}


def test_some_files_are_fetched_by_name(storage: TrialStorage, node: Callable[[str], Path]) -> None:
    write(node("first"), result_json="{}", best_pt="large")
    storage.keep(node("first"), KEY)
    storage.fetch(node("driver"), KEY, names=["result.json", "labels.json"])
    assert content(node("driver")) == {"result.json": "{}"}


def test_dropped_files_are_gone_and_their_bytes_with_them(
    storage: TrialStorage, node: Callable[[str], Path]
) -> None:
    other = trial_key("demo", "utae", "def")
    write(node("first"), config_json="{}", best_pt="x" * 100, last_pt="y" * 50)
    storage.keep(node("first"), KEY)
    write(node("other"), best_pt="x" * 10)
    storage.keep(node("other"), other)
    assert storage.sizes("demo/trials") == {KEY: 152, other: 10}
    storage.drop(KEY, ["best.pt", "last.pt", "never-there.pt"])
    assert storage.sizes("demo/trials") == {KEY: 2, other: 10}
    assert storage.size("demo") == 12
    assert storage.size("unknown") == 0


def test_a_file_that_was_dropped_is_stored_again_when_its_trial_goes_on_where_it_still_lies(
    storage: TrialStorage, node: Callable[[str], Path]
) -> None:
    first = node("first")
    write(first, config_json="{}", best_pt="best", last_pt="1")
    storage.keep(first, KEY)
    storage.drop(KEY, ["best.pt", "last.pt"])
    storage.fetch(first, KEY)
    write(first, last_pt="two")
    storage.keep_last(first, KEY)
    storage.fetch(node("second"), KEY)
    assert content(node("second")) == {"config.json": "{}", "best.pt": "best", "last.pt": "two"}


def test_a_node_is_cleared_of_what_was_dropped_and_of_nothing_else(
    storage: TrialStorage, tmp_path: Path
) -> None:
    trials = tmp_path / "node" / "demo" / "trials"
    for name in ("dropped", "kept", "newer", "elsewhere"):
        write(trials / "utae" / name, config_json="{}", best_pt="best")
        storage.keep(trials / "utae" / name, f"demo/trials/utae/{name}")
    write(trials / "utae" / "unstored", best_pt="best")
    for name in ("dropped", "newer"):
        storage.drop(f"demo/trials/utae/{name}", ["best.pt"])
    storage.drop("demo/trials/utae/elsewhere", ["best.pt", "config.json"])  # nothing at all: another storage
    write(trials / "utae" / "newer", best_pt="not stored yet")
    storage.clear(trials, "demo/trials", ["last.pt", "best.pt"])
    there = {path.parent.name for path in trials.glob("*/*/best.pt")}
    assert there == {"kept", "newer", "elsewhere", "unstored"}
    assert content(trials / "utae" / "dropped") == {"config.json": "{}"}


def test_a_file_of_many_pieces_arrives_as_it_was(
    storage: TrialStorage, node: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored_files, "CHUNK", 2**20)
    node("first").mkdir(parents=True)
    (node("first") / "last.pt").write_bytes(large := os.urandom(12 * 2**20 + 7))
    storage.keep_last(node("first"), KEY)
    storage.fetch(node("second"), KEY)
    assert (node("second") / "last.pt").read_bytes() == large


def test_an_upload_that_breaks_off_leaves_what_was_there(
    storage: TrialStorage, node: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = node("first")
    write(folder, last_pt="whole")
    storage.keep(folder, KEY)
    monkeypatch.setattr(stored_files, "CHUNK", 2**20)
    (folder / "last.pt").write_bytes(bytes(12 * 2**20))
    with monkeypatch.context() as broken:
        broken.setattr(stored_files, "_forget", lambda system, draft: None)  # nor could a process that died
        broken.setattr(Path, "open", breaking_off(Path.open))
        assert not storage.keep(folder, KEY)
    storage.fetch(node("second"), KEY)
    assert content(node("second")) == {"last.pt": "whole"}
    assert storage.size("demo") == len("whole"), "the half is not kept"


def breaking_off(usual: Callable[..., IO[bytes]]) -> Callable[..., IO[bytes]]:
    """Let a checkpoint be read for six pieces, and no further."""

    class Broken(io.FileIO):
        def read(self, size: int | None = -1) -> bytes:
            if self.tell() >= 6 * 2**20:
                raise OSError(errno.EIO, "the disk broke")
            return super().read(size) or b""

    def opened(path: Path, mode: str = "r", *more: object, **named: object) -> IO[bytes]:
        if (path.name, mode) == ("last.pt", "rb"):
            return Broken(path)  # type: ignore[return-value]
        return usual(path, mode, *more, **named)

    return opened


def test_a_process_that_is_killed_while_it_stores_leaves_a_whole_file(
    storage: TrialStorage, node: Callable[[str], Path]
) -> None:
    folder = node("first")
    folder.mkdir(parents=True)
    (folder / "last.pt").write_bytes(large := os.urandom(24 * 2**20))
    storage.keep_last(folder, KEY)
    assert storage.uri
    for moment in (0.05, 0.11, 0.17):
        process = subprocess.Popen(
            [sys.executable, "-c", STORE, storage.uri, str(folder), KEY], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "stored\n"
        time.sleep(moment)
        process.send_signal(signal.SIGKILL)
        process.wait()
        storage.fetch(node("second"), KEY)
        assert (node("second") / "last.pt").read_bytes() == large
    until = time.monotonic() + 30
    while storage.size("demo") != len(large):  # a server may still be busy with what the last one sent
        assert time.monotonic() < until
        storage.fetch(node("second"), KEY)


def test_the_last_files_are_insisted_on_and_their_failure_is_told(
    storage: TrialStorage, node: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    write(node("first"), result_json="{}")
    upload, attempts = module.upload, []

    def second_time(*arguments: object) -> object:
        attempts.append(1)
        return upload(*arguments) if len(attempts) == 2 else fail()  # type: ignore[arg-type]

    monkeypatch.setattr(module, "upload", second_time)
    storage.keep_last(node("first"), KEY)
    assert len(attempts) == 2
    monkeypatch.setattr(module, "upload", fail)
    write(node("first"), result_json="{ }")
    with pytest.raises(StorageFailed, match=f"cannot store {KEY}"):
        storage.keep_last(node("first"), KEY)


def test_a_shared_home_needs_no_storage(node: Callable[[str], Path]) -> None:
    none = TrialStorage.at(None)
    write(node("first"), last_pt="1")
    none.check()
    none.fetch(node("first"), KEY)
    assert none.keep(node("first"), KEY)
    none.keep_last(node("first"), KEY)
    none.drop(KEY, ["last.pt"])
    assert content(node("first")) == {"last.pt": "1"}
    assert none.sizes("demo") == {}


def test_a_shared_home_is_measured_by_its_address(tmp_path: Path) -> None:
    write(tmp_path / KEY, last_pt="12345")
    assert TrialStorage.at(tmp_path.as_uri()).sizes("demo/trials") == {KEY: 5}


def test_a_storage_goes_to_workers_and_shows_no_secret() -> None:
    storage = TrialStorage.at("s3://user:secret@bucket/prefix?scheme=http")
    assert pickle.loads(pickle.dumps(storage)) == storage
    assert "secret" not in f"{storage} {storage!r}"


def test_a_storage_that_can_be_used_passes_and_nothing_stays(storage: TrialStorage) -> None:
    storage.check()
    storage.check()
    assert storage.size("") == 0


@pytest.mark.parametrize(
    ("uri", "advice"),
    [
        ("", "correct the address"),
        ("bucket/prefix", "correct the address"),
        ("ftp://host/folder", "correct the address"),
        ("s3://bucket/prefix?endpoint=127.0.0.1", "correct the address"),
        ("s3://", "correct the address|name one"),
        ("file:///", "name one"),
        ("file:///no-such-folder/sweeps", "create the folder above it"),
        ("file:///proc/sweeps", "can be written to"),
        ("s3://user:secret@bucket/x?endpoint_override=127.0.0.1:9&scheme=http", "check the network"),
        ("s3://user:secret@bucket/x?endpoint_override=no-such.invalid&scheme=http", "check the network"),
    ],
)
def test_an_unusable_address_is_refused_with_what_to_do_and_no_secret(uri: str, advice: str) -> None:
    with pytest.raises(UserError, match=advice) as refused:
        TrialStorage(uri).check()
    assert "secret" not in str(refused.value)


def test_a_bucket_that_is_not_there_is_refused(object_store: ObjectStore) -> None:
    with pytest.raises(UserError, match="create the bucket first"):
        TrialStorage.at(object_store.url("no-such-bucket")).check()


def test_a_server_without_tls_is_refused_with_the_option_that_helps(object_store: ObjectStore) -> None:
    uri = object_store.new_bucket().replace("&scheme=http", "")
    with pytest.raises(UserError, match="scheme=http"):
        TrialStorage.at(uri).check()


SILENT = """
import socket, sys
from shapeft_tune.errors import UserError
from shapeft_tune.tune.storage import storage_check, stored_files
storage_check.ANSWER_SECONDS = 2.0
with socket.create_server(("127.0.0.1", 0)) as silent:
    port = silent.getsockname()[1]
    try:
        storage_check.check_storage(f"s3://bucket/x?endpoint_override=127.0.0.1:{port}&scheme=http")
    except UserError as refusal:
        print(refusal)
"""


def test_a_server_that_never_answers_is_given_up_and_holds_up_nobody() -> None:
    assert storage_check.ANSWER_SECONDS <= 10
    patience = 40  # seconds; pyarrow's own threads would hold up the end of the process for 60 more
    done = subprocess.run(
        [sys.executable, "-c", SILENT], capture_output=True, text=True, timeout=patience, check=True
    )
    assert "no answer from 127.0.0.1" in done.stdout
    assert "check the network" in done.stdout


def test_a_storage_that_is_slow_over_a_small_file_is_given_up(
    storage: TrialStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = threading.Event()
    monkeypatch.setattr(storage_check, "_written_and_read", lambda *arguments: free.wait(60))
    monkeypatch.setattr(storage_check, "PROBE_SECONDS", 0.2)
    with pytest.raises(UserError, match="got none in 0 s"):
        storage.check()
    free.set()


@pytest.mark.parametrize("word", ["ACCESS_DENIED", "INVALID_ACCESS_KEY_ID", "SIGNATURE_DOES_NOT_MATCH"])
def test_refused_credentials_are_told_apart(word: str) -> None:
    assert "AWS_" in storage_check._advice(OSError(f"AWS Error {word} during PutObject operation"))
