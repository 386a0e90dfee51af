from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from shapeft_tune.config.data import PastisDataset, SampleDataset
from shapeft_tune.data import datasets
from shapeft_tune.data.datasets import open_dataset
from shapeft_tune.errors import DataError, HomeError

TINY = SampleDataset(patches=5, patch_size=8, dates=2)


def test_a_sample_is_made_once_and_found_again(tmp_path):
    first = open_dataset(TINY, data=None, home=tmp_path)
    written = first.root.stat().st_mtime_ns
    again = open_dataset(TINY, data=None, home=tmp_path)
    assert again == first
    assert first.root.parent == tmp_path / "samples"
    assert again.root.stat().st_mtime_ns == written


def test_other_settings_are_another_folder(tmp_path):
    roots = {
        open_dataset(TINY.model_copy(update=change), data=None, home=tmp_path).root
        for change in ({}, {"seed": 1}, {"patches": 6}, {"dates": 3})
    }
    assert len(roots) == 4


def test_another_version_of_the_generator_is_another_folder(tmp_path, monkeypatch):
    before = open_dataset(TINY, data=None, home=tmp_path).root
    monkeypatch.setattr(datasets, "GENERATOR_VERSION", -1)
    assert open_dataset(TINY, data=None, home=tmp_path).root != before


def test_several_at_once_end_with_one_whole_folder(tmp_path):
    with ThreadPoolExecutor(4) as pool:
        folders = list(pool.map(lambda _: open_dataset(TINY, data=None, home=tmp_path), range(8)))
    assert all(folder == folders[0] for folder in folders)
    assert [path.name for path in (tmp_path / "samples").iterdir()] == [folders[0].root.name]


def test_what_was_begun_and_not_ended_is_not_used(tmp_path, monkeypatch):
    def interrupted(settings: SampleDataset, root: Path) -> None:
        (root / "metadata.geojson").touch()
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(datasets, "generate_sample", interrupted)
        with pytest.raises(KeyboardInterrupt):
            open_dataset(TINY, data=None, home=tmp_path)
    assert list((tmp_path / "samples").iterdir()) == []
    assert len(open_dataset(TINY, data=None, home=tmp_path).patches) == 5


def test_a_home_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "samples").write_text("a file where a folder should be")
    with pytest.raises(HomeError, match=r"samples: expected room for a generated data set"):
        open_dataset(TINY, data=None, home=tmp_path)


def test_pastis_opens_the_folder_given(handmade, tmp_path_factory):
    folder = handmade.add(1).opened()
    opened = open_dataset(PastisDataset(), data=folder.root, home=tmp_path_factory.mktemp("home"))
    assert (opened.root, opened.patches) == (folder.root, folder.patches)


def test_pastis_without_a_folder_asks_for_one(tmp_path):
    with pytest.raises(DataError, match=r"give it with --data DIR"):
        open_dataset(PastisDataset(), data=None, home=tmp_path)
    assert os.listdir(tmp_path) == []
