from __future__ import annotations

import errno
import multiprocessing
import os
import shutil
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from filelock import FileLock
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from shapeft_tune.config.data import PastisDataset
from shapeft_tune.data import cache as module
from shapeft_tune.data.batches import evaluation_batches
from shapeft_tune.data.cache import Cache, CachedFolder
from shapeft_tune.data.datasets import open_dataset
from shapeft_tune.data.folder import ALL_BANDS, WHOLE, Patch, Window
from shapeft_tune.data.pastis import PastisFolder
from shapeft_tune.data.rasters.folder import RasterFolder
from shapeft_tune.data.sources import S1A, S2, Source
from shapeft_tune.data.splits import Split
from shapeft_tune.errors import DataError
from tests.data.rasters.own_rasters import BANDS, DATES, SIDE, OwnRasters, write_raster

CORNER: Window = (slice(1, 4), slice(2, 7))
IMAGE = 10 * 8 * 8 * 2 + module.HEADER
LABELS = 8 * 8 + module.HEADER


@dataclass(frozen=True)
class Slow(PastisFolder):
    """A folder that notes in a file what is read of it, and takes its time."""

    log: Path = Path()
    seconds: float = 0.0

    def stored(
        self,
        patch: Patch,
        frames: Sequence[int],
        source: Source = S2,
        window: Window = WHOLE,
        bands: slice = ALL_BANDS,
    ) -> NDArray[Any]:
        self._note(*(f"{source.name} {patch.id} {frame}" for frame in frames))
        return super().stored(patch, frames, source, window, bands)

    def target(self, patch: Patch, window: Window = WHOLE) -> NDArray[np.uint8]:
        self._note(f"labels {patch.id}")
        return super().target(patch, window)

    def _note(self, *lines: str) -> None:
        with self.log.open("a") as file:
            file.write("".join(f"{line}\n" for line in lines))
        time.sleep(self.seconds)

    def reads(self) -> list[str]:
        """Return what was read since this was asked for last."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        self.log.unlink(missing_ok=True)
        return lines


@pytest.fixture
def slow(handmade, tmp_path_factory) -> Slow:
    for id in range(4):
        handmade.add(id, days=(5, 20, 60, 90, 120))
    opened = handmade.opened()
    log = tmp_path_factory.mktemp("log") / "reads"
    return Slow(opened.root, opened.patches, log=log)


@pytest.fixture
def place(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def cached(slow: Slow, place: Path) -> CachedFolder:
    return CachedFolder.around(slow, Cache(place, 10**9))


def values(id: int, frames: Sequence[int]) -> NDArray[np.int64]:
    """Return what a hand-made patch holds, without reading it."""
    values_TC = 1000 * id + 10 * np.array(frames)[:, None] + np.arange(10)
    return np.broadcast_to(values_TC[..., None, None], (len(frames), 10, 8, 8))


def copies(place: Path) -> list[Path]:
    return sorted(path for path, _, _ in module._files(place))


def size_of(place: Path) -> int:
    return sum(path.stat().st_size for path in copies(place))


def test_what_was_read_once_is_not_read_again(cached, slow):
    patch = slow.patches[1]
    for _ in range(2):
        np.testing.assert_array_equal(cached.images(patch, (0, 3)), values(patch.id, (0, 3)))
        slow.reads()
        np.testing.assert_array_equal(cached.images(patch, (3,)), values(patch.id, (3,)))
        assert slow.reads() == []


def test_only_the_frames_asked_for_are_read_and_kept(cached, slow, place):
    patch = slow.patches[2]
    cached.images(patch, (1,))
    assert slow.reads() == ["S2 2 1"]
    assert size_of(place) == IMAGE
    cached.images(patch, (0, 1, 4))
    assert slow.reads() == ["S2 2 0", "S2 2 4"]
    assert size_of(place) == 3 * IMAGE


def test_labels_and_windows_come_from_the_same_copies(cached, slow):
    patch = slow.patches[0]
    cached.images(patch, (2, 4), S2, CORNER)
    labels_HW = cached.target(patch, CORNER)
    slow.reads()
    for window in (CORNER, WHOLE):
        got = cached.images(patch, (2, 4), S2, window), cached.target(patch, window)
        assert slow.reads() == []
        np.testing.assert_array_equal(got[0], PastisFolder.stored(slow, patch, (2, 4), S2, window))
        np.testing.assert_array_equal(got[1], PastisFolder.target(slow, patch, window))
        slow.reads()
    np.testing.assert_array_equal(labels_HW, PastisFolder.target(slow, patch, CORNER), strict=True)


def test_single_bands_are_not_kept_but_served_from_whole_images(cached, slow, place):
    patch, band = slow.patches[0], slice(2, 3)
    expected = PastisFolder.stored(slow, patch, (1,), S2, WHOLE, band)
    np.testing.assert_array_equal(cached.stored(patch, (1,), S2, WHOLE, band), expected)
    assert copies(place) == []
    cached.images(patch, (1,))
    slow.reads()
    np.testing.assert_array_equal(cached.stored(patch, (1,), S2, WHOLE, band), expected)
    assert slow.reads() == []


def test_radar_and_repeated_frames(handmade, place):
    folder = handmade.add(1).with_radar("S1A", {1: (5, 30)}).opened()
    cached = CachedFolder.around(folder, Cache(place, 10**9))
    for _ in range(2):  # two dates of Sentinel-2 may have the same nearest radar image
        got = cached.images(folder.patches[0], (0, 0, 1), S1A)
        np.testing.assert_array_equal(got, folder.images(folder.patches[0], (0, 0, 1), S1A), strict=True)
    assert len(copies(place)) == 2


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 3), st.lists(st.integers(0, 4), min_size=1, max_size=6)), max_size=12),
    st.integers(0, 12),
)
def test_any_sequence_of_requests_gives_what_direct_reads_give_within_the_bound(
    slow, tmp_path_factory, requests, images_that_fit
):
    place, limit = tmp_path_factory.mktemp("cache"), images_that_fit * IMAGE
    cached = CachedFolder.around(slow, Cache(place, limit))
    for index, frames in requests:
        patch = slow.patches[index]
        np.testing.assert_array_equal(cached.images(patch, frames), values(patch.id, frames))
        np.testing.assert_array_equal(cached.target(patch), PastisFolder.target(slow, patch))
        assert size_of(place) <= limit


def test_what_was_not_used_for_longest_goes_first(slow, place):
    cached = CachedFolder.around(slow, Cache(place, 4 * IMAGE))
    for index in range(4):
        cached.images(slow.patches[index], (0,))
    for age, path in enumerate(copies(place)):  # as if patch 0 was used first, and long ago
        os.utime(path, (1000 + age, 1000 + age))
    cached.images(slow.patches[0], (0,))  # and now again
    slow.reads()
    cached.images(slow.patches[0], (1,))
    kept = {path.parent.name for path in copies(place)}
    assert "S2_0" in kept
    assert "S2_1" not in kept
    assert size_of(place) <= 4 * IMAGE
    cached.images(slow.patches[0], (0, 1))
    assert slow.reads() == ["S2 0 1"]


def test_room_is_counted_anew_where_the_count_is_lost_or_wrong(slow, place):
    cached = CachedFolder.around(slow, Cache(place, 3 * IMAGE))
    cached.images(slow.patches[0], (0, 1))
    for content in (None, "not a number", str(10**15)):
        taken = place / module.TAKEN
        taken.unlink() if content is None else taken.write_text(content)
        cached.images(slow.patches[1], (0, 1, 2))
        assert size_of(place) <= 3 * IMAGE
        slow.reads()
        cached.images(slow.patches[1], (2,))
        assert slow.reads() == []
        cached.images(slow.patches[0], (0, 1))


@pytest.mark.parametrize("change", ["content", "labels"])
def test_a_changed_file_is_not_served_from_its_copy(cached, slow, change):
    """Of labels too: images of rasters are read on their grid."""
    patch = slow.patches[1]
    cached.images(patch, (1,)), cached.target(patch)
    slow.reads()
    path = slow.image_path(patch) if change == "content" else slow.target_path(patch)
    changed = np.load(path)[..., ::-1]
    np.save(path, changed)
    os.utime(path, ns=(10**18, 10**18))  # the size is the same, the clock may be too
    assert np.array_equal(cached.images(patch, (1,)), values(patch.id, (1,)))
    assert np.array_equal(cached.target(patch), PastisFolder.target(slow, patch))
    assert "S2 1 1" in slow.reads()


def test_data_sets_in_one_cache_do_not_mix(cached, slow, tmp_path):
    """Nor the same files, read with other classes; the same again is found again."""
    elsewhere = Path(shutil.copytree(slow.root, tmp_path / "elsewhere"))
    others = (replace(slow, class_names=(*slow.class_names, "more")), replace(slow, root=elsewhere))
    patch = slow.patches[1]
    cached.images(patch, (1,))
    slow.reads()
    for other in others:
        CachedFolder.around(other, cached.cache).images(patch, (1,))
        assert slow.reads() == ["S2 1 1"]
    CachedFolder.around(slow, cached.cache).images(patch, (1,))
    assert slow.reads() == []


def test_a_trial_on_a_cached_folder_sees_what_it_would_have_seen(generated, place):
    direct = Split(generated, generated.in_folds((1,)), 3)
    through = replace(direct, folder=CachedFolder.around(generated, Cache(place, 10**9)))
    for _ in range(2):
        for one, other in zip(evaluation_batches(direct, 3), evaluation_batches(through, 3), strict=True):
            assert one.images_BTCHW.equal(other.images_BTCHW)
            assert one.target_BHW.equal(other.target_BHW)


def test_the_rest_is_that_of_the_folder_itself(cached, slow):
    (slow.root / "NORM_S2_patch.json").write_text('{"Fold_1": {"mean": [1]}}')
    assert (cached.root, cached.patches, cached.void) == (slow.root, slow.patches, slow.void)
    assert (cached.digest(), cached.digest_of(S2)) == (slow.digest(), slow.digest_of(S2))
    assert [cached.shape(patch) for patch in slow.patches] == [slow.shape(patch) for patch in slow.patches]
    assert cached.image_paths(slow.patches[0]) == slow.image_paths(slow.patches[0])
    with pytest.raises(DataError, match=r"NORM_S2_patch.json: expected"):
        cached.statistics()


@pytest.mark.parametrize("kept", [0, 5, module.HEADER, -1])
def test_a_copy_cut_short_is_read_again(cached, slow, place, kept):
    patch = slow.patches[0]
    cached.images(patch, (0,))
    (copy,) = copies(place)
    copy.write_bytes(copy.read_bytes()[:kept])
    slow.reads()
    for expected in (["S2 0 0"], []):
        assert np.array_equal(cached.images(patch, (0,)), values(0, (0,)))
        assert slow.reads() == expected


@pytest.mark.parametrize(
    "header",
    [
        b"\x93NUMPY",
        b"\xff" * 64,
        b"shapeft_tune 1 |O8 10,8,8",
        b"shapeft_tune 0 <i2 10,8,8",
        b"shapeft_tune 1 <i2 x",
        b"shapeft_tune 1 <i2 99999999999,8,8",
    ],
)
def test_a_copy_that_is_something_else_is_read_again(cached, slow, place, header):
    patch = slow.patches[0]
    cached.images(patch, (0,))
    (copy,) = copies(place)
    copy.write_bytes(header.ljust(module.HEADER) + copy.read_bytes()[module.HEADER :])
    np.testing.assert_array_equal(cached.images(patch, (0,)), values(patch.id, (0,)))


def test_errors_of_the_folder_come_through_unchanged_and_nothing_is_kept(cached, slow, place):
    patch = slow.patches[0]
    path = slow.image_path(patch)
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(DataError, match=r"S2_0.npy: expected a whole .npy file"):
        cached.images(patch, (0,))
    path.unlink()
    with pytest.raises(DataError, match=r"S2_0.npy: expected a file; got none"):
        cached.images(patch, (0,))
    slow.target_path(patch).unlink()
    with pytest.raises(DataError, match=r"TARGET_0.npy: expected a file; got none"):
        cached.target(patch)
    assert copies(place) == []


def test_even_an_error_of_the_system_is_the_folders_own(cached, slow, monkeypatch):
    """Not one of the cache, which would be told in the log and tried again."""

    def failing(*_: Any) -> None:
        raise OSError(errno.EIO, "network gone")

    monkeypatch.setattr(PastisFolder, "stored", failing)
    with pytest.raises(OSError, match="network gone"):
        cached.images(slow.patches[0], (0,))
    assert len(slow.reads()) == 1


def test_a_full_disk_does_not_fail_a_trial(cached, slow, place, monkeypatch, caplog):
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(module.os, "replace", full)
    patch = slow.patches[0]
    np.testing.assert_array_equal(cached.images(patch, (0,)), values(patch.id, (0,)))
    np.testing.assert_array_equal(cached.target(patch), PastisFolder.target(slow, patch))
    assert copies(place) == []  # what was begun is gone
    assert "No space left" in caplog.text


def test_a_cache_that_is_no_folder_does_not_fail_a_trial(slow, tmp_path, caplog):
    (tmp_path / "file").write_text("")
    cached = CachedFolder.around(slow, Cache(tmp_path / "file", 10**9))
    patch = slow.patches[0]
    np.testing.assert_array_equal(cached.images(patch, (0,)), values(patch.id, (0,)))
    np.testing.assert_array_equal(cached.target(patch), PastisFolder.target(slow, patch))
    assert "the data set is read" in caplog.text


def test_a_cache_that_can_only_be_read_serves_what_it_has(cached, slow, monkeypatch):
    patch = slow.patches[0]
    cached.images(patch, (0,))
    for path in copies(cached.cache.root):
        os.utime(path, (1000, 1000))
    slow.reads()

    def read_only(*_: Any, **__: Any) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(os, "utime", read_only)
    monkeypatch.setattr(FileLock, "acquire", read_only)
    np.testing.assert_array_equal(cached.images(patch, (0,)), values(patch.id, (0,)))
    slow.log.unlink(missing_ok=True)
    cached.images(patch, (0,))
    assert slow.reads() == []
    cached.images(patch, (0, 1))
    assert slow.reads() == ["S2 0 0", "S2 0 1"]


def test_a_platform_that_notes_no_use_of_open_files_serves_copies_and_notes_their_use(
    cached, slow, place, monkeypatch
):
    patch, real = slow.patches[0], os.utime
    cached.images(patch, (0,))
    (copy,) = copies(place)
    os.utime(copy, (1000, 1000))
    slow.reads()

    def by_name_alone(path: Any, *rest: Any, **named: Any) -> None:
        if isinstance(path, int):
            raise NotImplementedError("utime: an open file on this platform")
        real(path, *rest, **named)

    monkeypatch.setattr(os, "utime", by_name_alone)
    np.testing.assert_array_equal(cached.images(patch, (0,)), values(patch.id, (0,)))
    assert slow.reads() == []
    assert copy.stat().st_mtime > 1000


def test_a_platform_that_notes_no_use_at_all_serves_copies(cached, slow, place, monkeypatch):
    patch = slow.patches[0]
    cached.images(patch, (0,))
    (copy,) = copies(place)
    os.utime(copy, (1000, 1000))
    slow.reads()

    def lacking(*_: Any, **__: Any) -> None:
        raise NotImplementedError("utime")

    monkeypatch.setattr(os, "utime", lacking)
    np.testing.assert_array_equal(cached.images(patch, (0,)), values(patch.id, (0,)))
    assert slow.reads() == []


@pytest.fixture
def rasters(tmp_path_factory) -> RasterFolder:
    """Return rasters of which the first patch has 61 dates, a file for each; frame f is date f."""
    own = OwnRasters(tmp_path_factory.mktemp("rasters")).with_images()
    first = own.image("a")
    for later in range(1, 61):
        day = DATES[0] + timedelta(days=later)
        shutil.copy(first, first.with_name(f"{day:%Y%m%d}.tif"))
    for unwanted in DATES[1:]:  # of the other patches, to open fewer files
        for name in "bcde":
            own.image(name, unwanted).unlink()
    own.image("a", DATES[2]).unlink()
    return own.opened()


@pytest.fixture
def looked_at(monkeypatch) -> list[str]:
    """Return the names of all files that are looked at from now on."""
    names: list[str] = []
    real = os.stat

    def noting(path: Any, *rest: Any, **named: Any) -> os.stat_result:
        names.append(Path(path).name)
        return real(path, *rest, **named)

    monkeypatch.setattr(os, "stat", noting)
    return names


def test_one_of_61_files_is_looked_at_for_one_of_61_dates(rasters, place, looked_at):
    cached = CachedFolder.around(rasters, Cache(place, 10**9))
    patch = rasters.patches[0]
    assert len(patch.days) == 61
    expected = cached.images(patch, (7,))
    looked_at.clear()
    np.testing.assert_array_equal(cached.images(patch, (7,)), expected)
    assert sorted(looked_at) == ["20190312.tif", "a.tif"]


def test_a_file_is_looked_at_once_however_many_frames_it_holds(cached, slow, looked_at):
    patch = slow.patches[0]
    cached.images(patch, range(5))
    looked_at.clear()
    cached.images(patch, (0, 1, 2, 3, 4, 4))
    assert sorted(looked_at) == ["S2_0.npy", "TARGET_0.npy"]


def test_a_changed_date_is_read_again_and_the_others_are_not(rasters, place, monkeypatch):
    cached = CachedFolder.around(rasters, Cache(place, 10**9))
    patch = rasters.patches[0]
    cached.images(patch, (3, 4, 5))
    (changed,) = rasters.image_paths(patch, S2, (4,))
    write_raster(changed, np.full((len(BANDS), SIDE, SIDE), 7, dtype=np.int16))
    os.utime(changed, ns=(10**18, 10**18))
    expected = rasters.images(patch, (3, 4, 5))
    read: list[int] = []
    real = RasterFolder.stored

    def noting(folder: RasterFolder, of: Patch, frames: Sequence[int], *rest: Any) -> NDArray[np.int16]:
        read.extend(frames)
        return real(folder, of, frames, *rest)

    monkeypatch.setattr(RasterFolder, "stored", noting)
    np.testing.assert_array_equal(cached.images(patch, (3, 4, 5)), expected)
    assert read == [4]


def test_what_may_not_be_overlooked_is_told_of_the_folder_itself(rasters, place):
    noted = replace(rasters, empty=3)
    told = CachedFolder.around(noted, Cache(place, 10**9)).told
    assert told == noted.told != ()


def test_nobody_waits_for_ever_for_one_who_is_stuck(cached, slow, place, monkeypatch):
    monkeypatch.setattr(module, "WAIT", 0.01)
    patch = slow.patches[0]
    cached.images(patch, (0,))
    with FileLock(place / cached.name / "S2_0" / module.LOCK):
        assert len(cached.images(patch, (1,))) == 1
    assert len(copies(place)) == 1


def processes() -> ForkServerContext:
    """Return what starts processes, which share no lock and no open file with this one."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])  # torch is imported once, not by each
    return context


def _read_all(folder: CachedFolder, rounds: int, wrong: Any) -> None:
    """Read everything in an own order and compare with the hand-made values."""
    chance = np.random.default_rng(os.getpid())
    for _ in range(rounds):
        for index in chance.permutation(len(folder.patches)):
            patch = folder.patches[index]
            frames = sorted(chance.choice(5, chance.integers(1, 6), replace=False).tolist())
            images_TCHW = folder.images(patch, frames)
            expected_TC = 1000 * patch.id + 10 * np.array(frames)[:, None] + np.arange(10)
            labels_HW = np.arange(64).reshape(8, 8) % 20
            if not (images_TCHW == expected_TC[..., None, None]).all() or not np.array_equal(
                folder.target(patch), labels_HW
            ):
                wrong.value += 1


def _together(folder: CachedFolder, rounds: int) -> tuple[list[Any], Any]:
    context = processes()
    wrong = context.Value("i", 0)
    workers = [context.Process(target=_read_all, args=(folder, rounds, wrong)) for _ in range(4)]
    for worker in workers:
        worker.start()
    return workers, wrong


def test_four_processes_at_once_read_each_image_of_the_slow_disk_once(cached, slow):
    workers, wrong = _together(replace(cached, inner=replace(slow, seconds=0.02)), rounds=4)
    for worker in workers:
        worker.join()
    assert ([worker.exitcode for worker in workers], wrong.value) == ([0] * 4, 0)
    reads = slow.reads()
    assert len(reads) == len(set(reads))


def test_four_processes_that_throw_out_each_others_copies_keep_the_bound(cached, slow, place):
    limit = 5 * IMAGE
    workers, wrong = _together(replace(cached, cache=Cache(place, limit)), rounds=50)
    largest = 0
    while any(worker.is_alive() for worker in workers):
        largest = max(largest, _size_seen(place))
    assert ([worker.exitcode for worker in workers], wrong.value) == ([0] * 4, 0)
    assert 0 < largest <= limit


def _size_seen(place: Path) -> int:
    """Sum what is there while nobody makes room: a file that is renamed meanwhile would count twice."""
    place.mkdir(exist_ok=True)
    with FileLock(place / f"{module.TAKEN}.{module.LOCK}"):
        return sum(
            {
                path.name.lstrip(".")[:18] + path.parent.name: size for path, _, size in module._files(place)
            }.values()
        )


def test_processes_that_are_killed_at_work_leave_nothing_that_is_believed(cached, slow):
    small = replace(cached, cache=replace(cached.cache, limit=12 * IMAGE))
    workers, wrong = _together(small, rounds=10_000)
    while len(slow.reads()) < 10:
        time.sleep(0.1)
    time.sleep(0.2)
    for worker in workers:
        assert worker.pid
        os.kill(worker.pid, signal.SIGKILL)
        worker.join()
    assert wrong.value == 0
    for folder in (small, cached):
        for patch in slow.patches:
            np.testing.assert_array_equal(folder.images(patch, range(5)), values(patch.id, range(5)))
            np.testing.assert_array_equal(folder.target(patch), PastisFolder.target(slow, patch))


def _die_after(folder: CachedFolder, writes: int) -> None:
    """Read one image, and be killed when it is half written."""
    real = np.ascontiguousarray

    def killed(array: NDArray[Any]) -> Any:
        if array.shape == (10, 8, 8):
            os.kill(os.getpid(), signal.SIGKILL)
        return real(array)

    module.np.ascontiguousarray = killed  # type: ignore[assignment]
    folder.images(folder.patches[0], (0,))


def test_room_and_turn_of_a_killed_writer_come_back(cached, slow, place):
    context = processes()
    killed = context.Process(target=_die_after, args=(cached, 0))
    killed.start()
    killed.join()
    assert killed.exitcode == -signal.SIGKILL
    (left,) = copies(place)
    assert left.name.startswith(".")
    small = replace(cached, cache=replace(cached.cache, limit=IMAGE))
    slow.reads()
    for expected in (["S2 0 0"], []):
        np.testing.assert_array_equal(small.images(slow.patches[0], (0,)), values(0, (0,)))
        assert slow.reads() == expected
    assert left not in copies(place)


def test_a_data_set_is_opened_through_the_cache_where_one_is_given(slow, place, tmp_path):
    opened = open_dataset(PastisDataset(), data=slow.root, home=tmp_path, cache=place, cache_bytes=7)
    assert isinstance(opened, CachedFolder)
    assert opened.cache == Cache(place / "shapeft_tune-cache", 7)  # place may hold other things
    assert opened.facts == tmp_path / "facts"
    assert isinstance(open_dataset(PastisDataset(), data=slow.root, home=tmp_path), PastisFolder)


def test_files_of_others_in_the_folder_are_neither_counted_nor_removed(slow, tmp_path):
    """The folder may be someone's scratch disk."""
    place = tmp_path / "scratch"
    theirs = [place / "thesis" / "chapter.tar", place / "shapeft_tune-cache" / "notes.txt"]
    for path in theirs:
        path.parent.mkdir(parents=True)
        path.write_bytes(bytes(10**6))
        os.utime(path, (0, 0))
    opened = open_dataset(PastisDataset(), data=slow.root, home=tmp_path, cache=place, cache_bytes=10**5)
    patch = opened.patches[0]
    opened.stored(patch, [0], S2, WHOLE)
    assert all(path.stat().st_size == 10**6 for path in theirs)
    kept = [path for path in (place / "shapeft_tune-cache").rglob(f"S2_{patch.id}/0-*") if path.is_file()]
    assert len(kept) == 1  # there was room for it: what others keep there does not count
