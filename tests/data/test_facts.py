"""What is counted once: known to all trials, and forgotten as soon as a file changes."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Barrier
from time import sleep

import numpy as np
import pytest

from shapeft_tune.data.facts import class_pixels_of, known
from shapeft_tune.data.pastis import PastisFolder
from shapeft_tune.errors import HomeError


@dataclass
class Counter:
    """Counts how often it is asked to count."""

    calls: list[int] = field(default_factory=list)

    def __call__(self) -> list[float]:
        self.calls.append(1)
        return [len(self.calls), 1 / 3]


@pytest.fixture
def folder(handmade, tmp_path_factory: pytest.TempPathFactory) -> PastisFolder:
    """Two patches of fold 1 and one of fold 2, whose facts are kept."""
    opened = handmade.add(1).add(2).add(3, fold=2).opened()
    return replace(opened, facts=tmp_path_factory.mktemp("home") / "facts")


def targets(folder: PastisFolder, fold: int = 1) -> list[Path]:
    return [folder.target_path(patch) for patch in folder.in_folds({fold})]


def test_a_fact_is_counted_once_and_is_the_same_to_the_last_digit(folder):
    count = Counter()
    first, again = (known(folder, "thirds", 1, targets(folder), count) for _ in range(2))
    assert first == again == [1, 1 / 3]
    assert len(count.calls) == 1


def test_each_fact_of_each_fold_of_each_data_set_is_its_own(folder, tmp_path: Path):
    count = Counter()
    asked = [("thirds", 1, targets(folder)), ("halves", 1, targets(folder)), ("thirds", 2, targets(folder))]
    answers = [known(folder, *each, count)[0] for each in [*asked, ("thirds", 1, targets(folder, 2))]]
    assert answers == [1, 2, 3, 4]


def _rewritten(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"0")


def _touched(path: Path) -> None:
    status = path.stat()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))


@pytest.mark.parametrize("change", [_rewritten, _touched, Path.unlink])
def test_a_changed_file_makes_the_fact_unknown(folder, change: Callable[[Path], None]):
    count = Counter()
    files = targets(folder)
    known(folder, "thirds", 1, files, count)
    change(files[1])
    assert known(folder, "thirds", 1, files, count)[0] == 2


def test_another_file_of_another_fold_changes_nothing(folder):
    count = Counter()
    known(folder, "thirds", 1, targets(folder), count)
    _rewritten(targets(folder, 2)[0])
    assert known(folder, "thirds", 1, targets(folder), count)[0] == 1


def test_eight_that_ask_at_once_count_once(folder):
    count, start = Counter(), Barrier(8)

    def slowly() -> list[float]:
        sleep(0.05)  # long enough for the others to come
        return count()

    def ask(_: int) -> list[float]:
        start.wait()
        return known(folder, "thirds", 1, targets(folder), slowly)

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(ask, range(8))) == [[1, 1 / 3]] * 8


def test_a_count_that_fails_leaves_nothing_behind(folder):
    def fail() -> None:
        raise ValueError("a broken file")

    with pytest.raises(ValueError, match="a broken file"):
        known(folder, "thirds", 1, targets(folder), fail)
    assert known(folder, "thirds", 1, targets(folder), Counter()) == [1, 1 / 3]


def test_a_folder_that_keeps_none_counts_anew(folder):
    count = Counter()
    forgetful = replace(folder, facts=None)
    assert [known(forgetful, "thirds", 1, targets(folder), count)[0] for _ in range(2)] == [1, 2]


def test_a_home_without_room_is_told(folder, tmp_path: Path):
    occupied = tmp_path / "a file"
    occupied.touch()
    with pytest.raises(HomeError, match=f"{re.escape(str(occupied))}: expected room"):
        known(replace(folder, facts=occupied), "thirds", 1, targets(folder), Counter())


def test_class_pixels_are_those_of_each_patch_without_void(generated, tmp_path: Path):
    patches = generated.in_folds({2, 4})[3:]
    for folder in (generated, replace(generated, facts=tmp_path)):
        counted = class_pixels_of(folder, patches)
        assert list(counted) == [patch.id for patch in patches]
        for patch in patches:
            labels = np.load(folder.target_path(patch))[0]
            assert counted[patch.id] == tuple(int((labels == label).sum()) for label in range(19))


def test_known_class_pixels_need_no_label_to_be_read(folder, monkeypatch: pytest.MonkeyPatch):
    first = class_pixels_of(folder, folder.patches)
    monkeypatch.setattr(PastisFolder, "target", lambda *_: pytest.fail("a label was read"))
    assert class_pixels_of(folder, folder.patches) == first
    assert class_pixels_of(folder, folder.patches[:1]) == {1: first[1]}


def test_a_damaged_fact_is_counted_again(handmade, tmp_path_factory):
    root = handmade.add(1).written()
    folder = PastisFolder.open(root, tmp_path_factory.mktemp("facts"))
    before = class_pixels_of(folder, folder.patches)
    (file,) = folder.facts.glob("*.json")
    for damage in ("", "{", "no JSON"):
        file.write_text(damage)
        assert class_pixels_of(folder, folder.patches) == before
    assert json.loads(file.read_text())


def test_a_patch_that_gets_another_name_or_number_is_counted_again(handmade, tmp_path_factory):
    """Numbers of rasters follow the order of names: a new patch in front moves all of them."""
    folder = PastisFolder.open(handmade.add(1).add(2).written(), tmp_path_factory.mktemp("facts"))
    counted = []

    def count():
        counted.append(None)
        return 0

    known(folder, "thing", 1, [], count)
    renumbered = tuple(replace(patch, id=patch.id + 1) for patch in folder.patches)
    known(replace(folder, patches=renumbered), "thing", 1, [], count)
    known(folder, "thing", 1, [], count)
    assert len(counted) == 2


def test_class_pixels_of_other_classes_are_counted_again(handmade, tmp_path_factory):
    folder = PastisFolder.open(handmade.add(1).written(), tmp_path_factory.mktemp("facts"))
    more = replace(folder, class_names=(*folder.class_names, "hops"))
    lengths = [len(class_pixels_of(each, each.patches)[1]) for each in (folder, more)]
    assert lengths == [19, 20]
