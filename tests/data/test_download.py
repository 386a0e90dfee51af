"""PASTIS-HD over real HTTP: the hub's own client against a small hub on this machine."""

from __future__ import annotations

import io
import os
import zipfile
from collections import namedtuple
from collections.abc import Iterator
from pathlib import Path

import huggingface_hub.constants
import numpy as np
import pytest
from filelock import FileLock

from shapeft_tune.data import download as downloading
from shapeft_tune.data.check import check_folder
from shapeft_tune.data.download import Plan, RemoteFile, download, plan_download
from shapeft_tune.data.normalisation import write_statistics
from shapeft_tune.errors import DataError
from tests.data.pastis_hub import COMMIT, Hub, files_of, point_at, serving

LATER = "0" * 39 + "2"
Disk = namedtuple("Disk", "total used free")


@pytest.fixture
def files(handmade) -> dict[str, bytes]:
    """A data set of three patches with radar, and what else lies in the repository."""
    folder = handmade.add(1).add(2).add(3).with_radar("S1A", {1: (1, 2), 2: (1, 2), 3: (3, 4)}).opened()
    write_statistics(folder)
    return files_of(folder.root) | {"README.md": b"# PASTIS-HD", "documentation/label_names.json": b"{}"}


@pytest.fixture
def hub(files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with serving(files, monkeypatch) as server:
        yield server


@pytest.fixture
def to(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("downloaded") / "pastis-hd"


def fetched(to: Path, *modalities: str) -> Plan:
    plan = plan_download(to, modalities or downloading.DEFAULT_MODALITIES)
    download(plan)
    return plan


def refusal(to: Path, *modalities: str) -> str:
    with pytest.raises(DataError) as error:
        fetched(to, *modalities)
    return str(error.value)


def held(to: Path) -> dict[str, bytes]:
    """Return the data set's files; not what the download keeps for itself."""
    paths = [path for path in to.rglob("*") if path.is_file() and downloading.OWN_FOLDER not in path.parts]
    return {str(path.relative_to(to)): path.read_bytes() for path in paths}


def of(files: dict[str, bytes], *starts: str) -> dict[str, bytes]:
    return {path: content for path, content in files.items() if path.startswith(starts)}


def test_what_was_downloaded_is_a_data_set_without_faults(hub, files, to):
    plan = fetched(to)
    assert held(to) == of(files, "DATA_S2/", "ANNOTATIONS/", "metadata.geojson", "NORM_")
    assert check_folder(to).faults == ()
    assert plan.commit == COMMIT
    assert {path.name for path in (to / ".download").iterdir()} <= {"journal.jsonl", "lock"}


def test_only_the_modalities_that_were_asked_for_are_fetched_and_others_may_follow(hub, files, to):
    fetched(to, "annotations")
    assert held(to) == of(files, "ANNOTATIONS/", "metadata.geojson", "NORM_")
    hub.sent.clear()
    fetched(to, "annotations", "s1a")
    assert sorted(hub.sent) == sorted(of(files, "DATA_S1A/"))


def test_the_plan_states_the_disk_of_what_is_missing_alone(hub, files, to):
    plan = plan_download(to, ("s2", "annotations"))
    size = sum(map(len, of(files, "DATA_S2/", "ANNOTATIONS/", "metadata.geojson", "NORM_").values()))
    assert (plan.disk, plan.modalities) == (size, ("metadata", "s2", "annotations"))
    assert not to.exists()
    fetched(to, "annotations")
    missing = plan_download(to, ("s2", "annotations"))
    assert missing.disk == sum(map(len, of(files, "DATA_S2/").values()))
    assert fetched(to).missing == missing.missing
    assert plan_download(to).missing == plan_download(to).unchecked == ()


def test_progress_is_told_of_every_file_once(hub, to):
    told: list[RemoteFile] = []
    plan = plan_download(to)
    download(plan, told.append)
    assert sorted(file.path for file in told) == sorted(file.path for file in plan.files)


def test_a_download_that_was_stopped_fetches_only_the_rest(hub, files, to, monkeypatch):
    monkeypatch.setattr(downloading, "WORKERS", 1)
    plan = plan_download(to)
    told: list[RemoteFile] = []

    def stop(file: RemoteFile) -> None:
        told.append(file)
        if len(told) == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        download(plan, stop)
    before = held(to)
    assert 4 <= len(before) < len(plan.files)
    with (to / ".download/journal.jsonl").open("a") as journal:
        journal.write('{"path": "DATA_S2/S2_')  # as a kill in the middle of a line leaves it
    hub.sent.clear()
    fetched(to)
    assert set(hub.sent) == set(of(files, "DATA_S2/", "ANNOTATIONS/", "metadata", "NORM_")) - set(before)
    hub.sent.clear()
    again = fetched(to)
    assert again.missing == again.unchecked == ()
    assert hub.sent == []


def test_files_that_came_by_another_way_are_checked_and_kept(hub, files, to):
    (to / "DATA_S2").mkdir(parents=True)
    (to / "DATA_S2/S2_1.npy").write_bytes(files["DATA_S2/S2_1.npy"])
    plan = fetched(to)
    assert [file.path for file in plan.unchecked] == ["DATA_S2/S2_1.npy"]
    assert "DATA_S2/S2_1.npy" not in hub.sent


@pytest.mark.parametrize("same_size", [True, False])
def test_another_file_of_that_name_is_neither_used_nor_overwritten(hub, files, to, same_size):
    (to / "DATA_S2").mkdir(parents=True)
    mine = bytes(len(files["DATA_S2/S2_1.npy"])) if same_size else b"mine"
    (to / "DATA_S2/S2_1.npy").write_bytes(mine)
    message = refusal(to)
    assert f"{to / 'DATA_S2/S2_1.npy'}: expected no file, or that of IGNF/PASTIS-HD" in message
    assert (to / "DATA_S2/S2_1.npy").read_bytes() == mine


@pytest.mark.parametrize("path", ["DATA_S2/S2_2.npy", "metadata.geojson"])
def test_a_wrong_content_is_fetched_again(hub, files, to, path):
    hub.served, hub.once = {path: bytes(len(files[path]))}, True
    fetched(to)
    assert hub.sent.count(path) == 2
    assert held(to)[path] == files[path]


@pytest.mark.parametrize("path", ["DATA_S2/S2_2.npy", "metadata.geojson"])
def test_a_content_that_stays_wrong_is_an_error_and_never_gets_its_place(hub, files, to, path):
    hub.served = {path: bytes(len(files[path]))}
    message = refusal(to)
    assert f"{path} of IGNF/PASTIS-HD at {COMMIT}: expected content with digest" in message
    assert "run the same command again" in message
    assert not (to / path).exists()
    hub.served = {}
    fetched(to)
    assert held(to)[path] == files[path]


def test_a_file_that_changed_after_its_download_is_fetched_again(hub, files, to):
    fetched(to)
    (to / "DATA_S2/S2_1.npy").write_bytes(b"cut")
    hub.sent.clear()
    fetched(to)
    assert hub.sent == ["DATA_S2/S2_1.npy"]
    assert held(to)["DATA_S2/S2_1.npy"] == files["DATA_S2/S2_1.npy"]


def test_verify_finds_what_changed_without_a_trace(hub, files, to):
    fetched(to)
    path = to / "DATA_S2/S2_1.npy"
    before = path.stat()
    path.write_bytes(bytes(before.st_size))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert plan_download(to).missing == plan_download(to).unchecked == ()
    hub.sent.clear()
    download(plan_download(to, verify=True))
    assert hub.sent == ["DATA_S2/S2_1.npy"]
    assert path.read_bytes() == files["DATA_S2/S2_1.npy"]


def test_a_disk_that_is_too_small_is_told_before_anything_is_fetched(hub, to, monkeypatch):
    needed = plan_download(to).disk
    monkeypatch.setattr(downloading.shutil, "disk_usage", lambda path: Disk(10**9, 0, needed - 1))
    assert f"{to}: expected 0.0 MB of free disk; got 0.0 MB - make room" in refusal(to)
    assert hub.sent == []
    assert not to.exists()
    monkeypatch.setattr(downloading.shutil, "disk_usage", lambda path: Disk(10**9, 0, needed))
    fetched(to)


def test_a_download_goes_on_with_the_commit_that_it_was_begun_with(hub, files, to):
    fetched(to, "annotations")
    hub.commits |= {"main": LATER, LATER: LATER}
    assert plan_download(to).commit == COMMIT
    with pytest.raises(DataError, match=rf"--revision main: expected {COMMIT}.*got {LATER}"):
        plan_download(to, revision="main")
    assert plan_download(to / "other").commit == LATER
    assert plan_download(to / "other", revision=COMMIT).commit == COMMIT


def test_a_revision_that_is_not_there_says_so(hub, to):
    with pytest.raises(DataError, match=r"RevisionNotFoundError.*give another --revision"):
        plan_download(to, revision="v9")


def test_a_modality_that_the_repository_lacks_is_named_with_what_it_has(hub, to):
    message = refusal(to, "spot", "s2")
    assert "expected DATA_SPOT; got ANNOTATIONS, DATA_S1A, DATA_S2, NORM_S2_patch.json" in message
    assert "expected some of s2, s1a, s1d, spot" in refusal(to, "radar")


def _zipped(files: dict[str, bytes], cut: int = 0) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for path, content in files.items():
            archive.writestr(path[cut:], content)
    return packed.getvalue()


@pytest.mark.parametrize("cut", [0, len("DATA_S2/")], ids=["with its folder", "without"])
@pytest.mark.parametrize("name", ["DATA_S2.zip", "DATA_S2/part_1.zip"])
def test_an_archive_is_unpacked_into_its_folder_once(hub, files, to, name, cut):
    series = of(files, "DATA_S2/")
    for path in series:
        del files[path]
    files[name] = _zipped(series, cut)
    assert plan_download(to, ("s2",)).disk >= 2 * len(files[name])
    fetched(to)
    assert of(held(to), "DATA_S2") == series
    hub.sent.clear()
    fetched(to)
    assert hub.sent == []
    (to / "DATA_S2/S2_1.npy").unlink()
    fetched(to)
    assert of(held(to), "DATA_S2") == series


def test_an_archive_that_would_write_outside_is_refused(hub, files, to):
    files["DATA_S2.zip"] = _zipped({"../../outside.npy": b"x"})
    assert "'../../outside.npy', which is refused" in refusal(to)
    assert not list(to.parent.rglob("outside.npy"))


def test_a_repository_that_would_write_outside_is_refused(hub, files, to):
    files["DATA_S2/../../outside.npy"] = b"x"
    assert "'DATA_S2/../../outside.npy', which is refused" in refusal(to)


def test_two_downloads_into_one_folder_do_not_mix(hub, to):
    plan = plan_download(to)
    (to / ".download").mkdir(parents=True)
    with FileLock(to / ".download/lock"), pytest.raises(DataError, match="no other download into this fo"):
        download(plan)


def test_a_folder_that_cannot_be_written_to_says_so(hub, tmp_path):
    (tmp_path / "file").touch()  # also root cannot write into it
    assert "expected a folder that can be written to" in refusal(tmp_path / "file")


@pytest.mark.timeout(60)  # a machine without network must not try for minutes
@pytest.mark.parametrize(
    ("fault", "advice"),
    [
        ("no server", r"can be reached; HF_ENDPOINT"),
        ("offline", r"unset HF_HUB_OFFLINE"),
        ("server error", r"can be reached; HF_ENDPOINT"),
        ("gated", r"set HF_TOKEN"),
        ("not found", r"has it; HF_ENDPOINT"),
    ],
)
def test_a_hub_that_does_not_answer_says_what_to_do(hub, to, monkeypatch, fault, advice):
    match fault:
        case "no server":
            point_at("http://127.0.0.1:9", monkeypatch)
        case "offline":
            monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
        case other:
            hub.refused["listing"] = {"server error": 500, "gated": 403, "not found": 404}[other]
    with pytest.raises(DataError, match=rf"IGNF/PASTIS-HD failed .*{advice}.* run the same command again"):
        plan_download(to)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("fault", ["truncated", "not found", "forbidden"])
def test_a_file_that_cannot_be_fetched_is_named_and_the_others_stay(hub, files, to, fault):
    path = "DATA_S2/S2_3.npy"
    if fault == "truncated":
        hub.served[path] = files[path][:-1]
    else:
        hub.refused[path] = {"not found": 404, "forbidden": 403}[fault]
    message = refusal(to)
    assert f"downloading {path} of IGNF/PASTIS-HD failed" in message
    assert "run the same command again" in message
    assert not (to / path).exists()
    hub.served, hub.refused = {}, {}
    fetched(to)
    assert np.load(to / path).shape == (3, 10, 8, 8)
