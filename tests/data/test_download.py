"""PASTIS-HD over real HTTP: the hub's own client against a small hub on this machine."""

from __future__ import annotations

import io
import os
import threading
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
from shapeft_tune.data.download import Plan, download, plan_download
from shapeft_tune.data.journal import OWN_FOLDER
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
    paths = [path for path in to.rglob("*") if path.is_file() and OWN_FOLDER not in path.parts]
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


def test_progress_never_goes_back_and_ends_with_every_file_and_byte(hub, to):
    told: list[tuple[int, int]] = []
    plan = plan_download(to)
    download(plan, lambda files, size: told.append((files, size)))
    assert told == sorted(told)
    assert told[-1] == (len(plan.files), sum(file.size for file in plan.files))


@pytest.mark.timeout(60)
def test_progress_goes_on_while_a_file_is_coming(hub, files, to, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "DOWNLOAD_CHUNK_SIZE", 1 << 14)
    large = "DATA_S2/S2_4.npy"
    files[large] = bytes(1 << 20)
    hub.waits[large] = threading.Event()
    plan = plan_download(to)
    others = sum(file.size for file in plan.files if file.path != large)
    while_coming = []

    def show(count: int, size: int) -> None:
        if size >= others + (1 << 18) and not (to / large).exists():
            while_coming.append(size)
            hub.waits[large].set()

    download(plan, show)
    assert while_coming
    assert while_coming[0] <= others + (1 << 19)


def test_progress_leaves_out_what_an_earlier_download_left_half(hub, to):
    left = to / ".download/incoming/.cache/huggingface/download/a.0.incomplete"
    left.parent.mkdir(parents=True)
    left.write_bytes(bytes(1 << 20))
    told: list[int] = []
    plan = plan_download(to)
    download(plan, lambda files, size: told.append(size))
    assert max(told) == sum(file.size for file in plan.files)


def test_a_download_that_was_stopped_fetches_only_the_rest(hub, files, to, monkeypatch):
    monkeypatch.setattr(downloading, "WORKERS", 1)
    plan = plan_download(to)

    def stop(count: int, size: int) -> None:
        if count == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        download(plan, stop)
    before = held(to)
    assert 4 <= len(before) < len(plan.files)
    assert plan_download(to).unchecked == ()  # also what was under way then is known
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


def _zipped(files: dict[str, bytes], cut: int = 0, compression: int = zipfile.ZIP_STORED) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", compression) as archive:
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


@pytest.fixture
def archive(files: dict[str, bytes]) -> dict[str, bytes]:
    """Pack the annotations, as the repository may at any time; their files, by path."""
    labels = of(files, "ANNOTATIONS/")
    for path in labels:
        del files[path]
    files["ANNOTATIONS.zip"] = _zipped(labels)
    return labels


@pytest.mark.parametrize("same_size", [True, False])
def test_a_file_under_the_name_of_an_archives_member_is_not_overwritten(hub, archive, to, same_size):
    path = "ANNOTATIONS/TARGET_2.npy"
    (to / "ANNOTATIONS").mkdir(parents=True)
    mine = bytes(len(archive[path])) if same_size else b"mine"
    (to / path).write_bytes(mine)
    message = refusal(to, "annotations")
    assert f"{to / path}: expected no file, or that of IGNF/PASTIS-HD" in message
    assert "ANNOTATIONS.zip, which holds it, stays fetched" in message
    assert of(held(to), "ANNOTATIONS/") == {path: mine}
    hub.sent.clear()
    (to / path).unlink()
    fetched(to, "annotations")
    assert of(held(to), "ANNOTATIONS/") == archive
    assert hub.sent == []  # neither the archive nor what was finished beside it


def test_an_archives_member_that_is_there_already_is_no_hindrance(hub, archive, to):
    path = "ANNOTATIONS/TARGET_2.npy"  # as a kill leaves it while files move to their places
    (to / "ANNOTATIONS").mkdir(parents=True)
    (to / path).write_bytes(archive[path])
    fetched(to, "annotations")
    assert of(held(to), "ANNOTATIONS/") == archive


def test_an_archive_that_somebody_put_into_the_folder_is_left_alone(hub, files, archive, to):
    to.mkdir()
    (to / "ANNOTATIONS.zip").write_bytes(files["ANNOTATIONS.zip"])
    fetched(to, "annotations")
    assert of(held(to), "ANNOTATIONS/") == archive
    assert (to / "ANNOTATIONS.zip").is_file()


def test_verify_finds_one_flipped_byte_in_what_came_out_of_an_archive(hub, archive, to):
    fetched(to, "annotations")
    path = to / "ANNOTATIONS/TARGET_1.npy"
    before = path.stat()
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    hub.sent.clear()
    fetched(to, "annotations")
    assert hub.sent == []
    download(plan_download(to, ("annotations",), verify=True))
    assert hub.sent == ["ANNOTATIONS.zip"]
    assert of(held(to), "ANNOTATIONS/") == archive
    hub.sent.clear()
    download(plan_download(to, ("annotations",), verify=True))
    assert hub.sent == []


def test_room_for_what_an_archive_holds_is_asked_before_it_is_unpacked(hub, files, archive, to, monkeypatch):
    archive["ANNOTATIONS/TARGET_4.npy"] = bytes(10**6)
    files["ANNOTATIONS.zip"] = _zipped(archive, compression=zipfile.ZIP_DEFLATED)
    unpacked = sum(map(len, archive.values()))
    assert plan_download(to, ("annotations",)).disk < unpacked  # packed well: the plan could not know
    monkeypatch.setattr(downloading.shutil, "disk_usage", lambda path: Disk(10**9, 0, unpacked - 1))
    message = refusal(to, "annotations")
    assert f"{to}: expected 1.0 MB of free disk to unpack ANNOTATIONS.zip; got 1.0 MB - make room" in message
    assert of(held(to), "ANNOTATIONS") == {}
    hub.sent.clear()
    monkeypatch.setattr(downloading.shutil, "disk_usage", lambda path: Disk(10**9, 0, unpacked))
    fetched(to, "annotations")
    assert of(held(to), "ANNOTATIONS/") == archive
    assert "ANNOTATIONS.zip" not in hub.sent


def test_an_archive_that_holds_a_file_twice_is_refused(hub, files, archive, to):
    files["ANNOTATIONS.zip"] = _zipped(archive | {"TARGET_1.npy": b"another"})
    assert "expected each file once; got ANNOTATIONS/TARGET_1.npy twice" in refusal(to, "annotations")
    assert of(held(to), "ANNOTATIONS") == {}


def test_a_file_in_the_place_of_a_folder_says_so(hub, to):
    to.mkdir()
    (to / "ANNOTATIONS").touch()
    assert "npy: expected a place that can be written to" in refusal(to, "annotations")


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
