from __future__ import annotations

from pathlib import Path

import pytest

from shapeft_tune.tune.storage import stop_mark
from shapeft_tune.tune.storage.stop_mark import ask_to_stop, stop_asked, take_back
from shapeft_tune.tune.storage.storage import TrialStorage
from tests.object_store import ObjectStore


@pytest.fixture(params=["home", "folder", "s3"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> TrialStorage:
    match request.param:
        case "home":
            return TrialStorage.at(None)
        case "folder":
            return TrialStorage.at((tmp_path / "storage").as_uri())
    server: ObjectStore = request.getfixturevalue("object_store")
    return TrialStorage.at(server.new_bucket())


@pytest.fixture(autouse=True)
def always_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stop_mark, "ASK_EVERY", -1.0)


def stop_file(node: Path) -> Path:
    (node / "demo").mkdir(parents=True)
    return node / "demo" / "stop"


def test_a_wish_to_stop_reaches_other_nodes_and_can_be_taken_back(
    storage: TrialStorage, tmp_path: Path
) -> None:
    here = stop_file(tmp_path / "here")
    there = here if storage.uri is None else stop_file(tmp_path / "there")
    take_back(here, storage)
    asked = stop_asked(there, storage)
    assert not asked()
    ask_to_stop(here, storage)
    assert asked()
    take_back(here, storage)
    assert not stop_asked(there, storage)()


def test_a_distant_storage_is_asked_now_and_then(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stop_mark, "ASK_EVERY", 1000.0)
    storage, file = TrialStorage.at((tmp_path / "storage").as_uri()), stop_file(tmp_path)
    questions: list[str] = []
    monkeypatch.setattr(TrialStorage, "marked", lambda self, place: bool(questions.append(place)))
    asked = stop_asked(file, storage)
    assert not any(asked() for _ in range(5))
    assert questions == ["demo/stop"]
    file.touch()
    assert asked(), "the file of this node is looked at every time"


def test_a_storage_that_does_not_answer_stops_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: TrialStorage, place: str) -> bool:
        raise OSError("AWS Error NETWORK_CONNECTION")

    monkeypatch.setattr(TrialStorage, "marked", fail)
    asked = stop_asked(stop_file(tmp_path), TrialStorage.at("s3://bucket/prefix"))
    assert not asked()
