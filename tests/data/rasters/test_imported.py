"""What is imported is what was read from the rasters; and nothing half-done is left behind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shapeft_tune.config import TrialConfig
from shapeft_tune.config.merge import with_values
from shapeft_tune.config.protocol import Role
from shapeft_tune.data import open_splits
from shapeft_tune.data.normalisation import own_normalisation
from shapeft_tune.data.pastis import PastisFolder
from shapeft_tune.data.rasters import imported
from shapeft_tune.data.rasters.folder import RasterFolder
from shapeft_tune.data.rasters.imported import import_rasters, require_nothing_at
from shapeft_tune.errors import DataError
from tests.data.rasters.own_rasters import BANDS, DATES, SIDE, OwnRasters
from tests.train.tiny import TINY


@pytest.fixture
def own(tmp_path: Path) -> OwnRasters:
    """Rasters with everything that reading changes: void, nodata, an empty date, another scale."""
    root = tmp_path / "rasters"
    root.mkdir()
    own = OwnRasters(root).with_images()
    own.write_image("b", DATES[1], np.full((len(BANDS), SIDE, SIDE), -9999, np.int16), nodata=-9999)
    own.write_image("c", DATES[0], nodata=2100)
    return own.set(scale=0.5, offset=-1000.0)


def both(own: OwnRasters, to: Path) -> tuple[RasterFolder, PastisFolder]:
    rasters = own.opened()
    return rasters, import_rasters(rasters, to)


def test_both_folders_give_the_same_samples(own, tmp_path):
    rasters, folder = both(own, tmp_path / "out")
    assert (folder.patches, folder.class_names) == (rasters.patches, rasters.class_names)
    config = TrialConfig.model_validate(with_values(TINY, {"data.dataset": "rasters"}))
    for part in ("train", "validation", "test"):
        first, second = (
            getattr(open_splits(config, each, Role.CONFIRMATION), part) for each in (rasters, folder)
        )
        assert len(first) == len(second) > 0
        for index in range(len(first)):
            one, other = first.sample(index), second.sample(index)
            for name in ("images_TCHW", "days_T", "valid_T", "target_HW"):
                np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
                assert getattr(one, name).dtype == getattr(other, name).dtype
    assert own_normalisation(rasters, (1, 2, 3)) == own_normalisation(folder, (1, 2, 3))


def test_the_imported_folder_brings_official_statistics(own, tmp_path):
    rasters, folder = both(own, tmp_path / "out")
    by_hand = [rasters.images(patch, range(len(patch.days))) for patch in rasters.in_folds({2})]
    assert folder.statistics()[2].mean == pytest.approx(by_hand[0].mean(axis=(0, 2, 3)), abs=0.01)


def metadata(folder: PastisFolder) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder.root / "metadata.geojson").read_text())
    return content


def test_the_metadata_keeps_names_and_outlines_in_the_rasters_crs(own, tmp_path):
    content = metadata(both(own, tmp_path / "out")[1])
    assert content["crs"]["properties"]["name"].endswith(":32631")
    second = content["features"][1]
    assert second["properties"]["NAME"] == "b"
    assert second["properties"]["dates-S2"] == {"0": 20190305, "1": 20190623}
    ring = second["geometry"]["coordinates"][0][0]
    assert ring[0] == ring[-1] == [505_000, 5_600_000]
    assert ring[2] == [505_160, 5_599_840]


def test_outlines_of_patches_in_several_crs_are_longitude_and_latitude(own, tmp_path):
    own.write_label("a", crs="EPSG:32632")
    for day in DATES:
        own.write_image("a", day, crs="EPSG:32632")
    content = metadata(both(own, tmp_path / "out")[1])
    assert content["crs"]["properties"]["name"].endswith(":4326")
    corners = [feature["geometry"]["coordinates"][0][0][0] for feature in content["features"][:2]]
    np.testing.assert_allclose(corners, [[9.0, 50.5519], [3.0706, 50.5519]], atol=1e-3)


def test_a_folder_that_holds_something_is_left_alone(own, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").touch()
    with pytest.raises(DataError, match="it holds something already"):
        both(own, tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine.txt"]


def test_an_empty_folder_is_filled(own, tmp_path):
    (tmp_path / "out").mkdir()
    assert len(both(own, tmp_path / "out")[1].patches) == 5


def test_images_that_are_cut_short_are_all_named_and_nothing_is_written(own, tmp_path):
    for name in "ad":
        own.write_image(name, compress="deflate", tiled=True, blockxsize=16, blockysize=16, interleave="band")
    rasters = own.opened()
    for name in "ad":
        own.image(name).write_bytes(own.image(name).read_bytes()[:2000])
    with pytest.raises(DataError) as caught:
        import_rasters(rasters, tmp_path / "out")
    assert "images/a/20190305.tif" in str(caught.value)
    assert "images/d/20190305.tif" in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["rasters"]


def test_an_import_that_is_killed_leaves_nothing_under_the_final_name(own, tmp_path, monkeypatch):
    monkeypatch.setattr(imported.shutil, "rmtree", lambda *args, **kwargs: None)  # no time to clean up
    seen: list[int] = []

    def kill(done: int, total: int) -> None:
        seen.append(done)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        import_rasters(own.opened(), tmp_path / "out", kill)
    assert sorted(path.name.split("-")[0] for path in tmp_path.iterdir()) == ["out.unfinished", "rasters"]
    assert seen == [1]


def test_a_place_that_cannot_be_written_to_is_named(own, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"out: expected a folder that can be written to"):
        import_rasters(own.opened(), tmp_path / "file" / "out")


def test_the_folder_one_is_in_is_filled_and_stays_the_same_folder(own, tmp_path, monkeypatch):
    (tmp_path / "out").mkdir()
    monkeypatch.chdir(tmp_path / "out")
    assert both(own, Path())[1].root == tmp_path / "out"
    assert Path("metadata.geojson").is_file()


def test_a_link_to_an_empty_folder_is_followed(own, tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "real")
    both(own, tmp_path / "out")
    assert (tmp_path / "real" / "metadata.geojson").is_file()
    assert (tmp_path / "out").is_symlink()


@pytest.mark.parametrize("where", ["file/out", "y" * 250, "circle"])
def test_a_target_that_cannot_be_is_refused_before_anything_is_read(tmp_path, where):
    (tmp_path / "file").touch()
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    with pytest.raises(DataError, match="expected a folder that can be written to; got"):
        require_nothing_at(tmp_path / where)


@pytest.mark.parametrize("where", ["new/out", "out"])
def test_a_target_that_may_not_be_written_to_is_refused_before_anything_is_read(tmp_path, where, monkeypatch):
    (tmp_path / "out").mkdir()
    monkeypatch.setattr(imported.os, "access", lambda path, _: path != tmp_path)
    with pytest.raises(DataError, match="no permission to write"):
        require_nothing_at(tmp_path / where)


def test_a_mount_point_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(Path, "is_mount", lambda path: path == tmp_path)
    with pytest.raises(DataError, match="no mount point - name one inside it"):
        require_nothing_at(tmp_path)


@pytest.mark.parametrize("is_there", [False, True])
def test_of_two_imports_at_once_the_second_is_told_that_the_folder_is_not_empty(own, tmp_path, is_there):
    to = tmp_path / "out"
    if is_there:
        to.mkdir()
    rasters = own.opened()
    seen: list[int] = []

    def other_import(done: int, total: int) -> None:
        if not seen:
            seen.append(done)
            import_rasters(rasters, to)

    with pytest.raises(DataError, match="it holds something already"):
        import_rasters(rasters, to, other_import)
    assert len(PastisFolder.open(to).patches) == 5
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "rasters"]


def test_the_metadata_names_the_file_that_describes_the_classes(own, tmp_path):
    folder = both(own, tmp_path / "out")[1]
    assert (folder.root / metadata(folder)["described_in"]).is_file()
