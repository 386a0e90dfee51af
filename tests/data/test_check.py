from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from rasterio.transform import Affine

from shapeft_tune.data.check import check_folder
from shapeft_tune.data.normalisation import write_statistics
from shapeft_tune.data.pastis import Description, PastisFolder
from shapeft_tune.data.sources import S1A
from shapeft_tune.data.splits import Split
from shapeft_tune.data.spot import spot_path
from shapeft_tune.errors import DataError

METRE = Affine(1, 0, 420_000, 0, -1, 6_890_000)


def test_a_whole_folder_is_described(handmade):
    folder = handmade.add(1, fold=1).add(2, fold=1, days=(1, 2)).add(3, fold=4, size=(16, 8)).opened()
    write_statistics(folder)
    report = check_folder(folder.root)
    assert (report.patches, report.folds, report.faults) == (3, {1: 2, 4: 1}, ())
    assert report.sizes == {(8, 8): 2, (16, 8): 1}
    assert (report.dates_min, report.dates_max) == (2, 3)
    expected = sum(np.bincount(folder.target(patch).ravel(), minlength=20) for patch in folder.patches)
    assert report.class_pixels == tuple(expected.tolist())


def test_all_faults_are_found_in_one_pass(handmade, save_target):
    for id in range(1, 9):
        handmade.add(id)
    root = handmade.add(20, fold=7).add(21, days=(5, 3)).written()
    path = {id: root / f"DATA_S2/S2_{id}.npy" for id in range(1, 9)}
    path[1].unlink()
    (root / "ANNOTATIONS/TARGET_2.npy").unlink()
    path[3].write_bytes(path[3].read_bytes()[:-1])
    np.save(path[4], np.load(path[4]).astype(np.float32))
    np.save(path[5], np.load(path[5])[:, :9])
    np.save(path[6], np.load(path[6])[:2])
    save_target(7, np.full((3, 8, 8), 20, np.uint8))
    save_target(8, np.zeros((3, 16, 16), np.uint8))
    faults = check_folder(root).faults
    for fault, part in zip(
        faults,
        [
            "patch 20: expected Fold",
            "patch 21: expected dates-S2 in ascending order",
            "NORM_S2_patch.json is missing",
            "S2_1.npy: expected a file",
            "TARGET_2.npy: expected a file",
            "S2_3.npy: expected a whole .npy file",
            "S2_4.npy: expected int16",
            "S2_5.npy: expected int16 [dates, 10, H, W]; got int16 [3, 9, 8, 8]",
            "S2_6.npy: expected 3 frames, as metadata.geojson has dates; got 2",
            "TARGET_7.npy: expected labels from 0 to 19; got labels from 20 to 20",
            "TARGET_8.npy: expected the images' size (8, 8); got (16, 16)",
        ],
        strict=True,
    ):
        assert part in fault


def test_radar_is_checked_where_the_folder_has_any(handmade):
    for id in (1, 2, 3):
        handmade.add(id)
    folder = handmade.with_radar("S1A", {1: (1, 2), 2: (1, 2)}).opened()
    write_statistics(folder)
    np.save(folder.image_path(folder.patches[1], S1A), np.zeros((2, 3, 8, 16), np.float16))
    size, dates = check_folder(folder.root).faults
    assert "S1A_2.npy: expected the size (8, 8) of S2; got (8, 16)" in size
    assert "expected dates-S1A of patch 3; got none" in dates
    shutil.rmtree(folder.root / "DATA_S1A")
    assert check_folder(folder.root).faults == ()


def test_statistics_of_too_few_folds_are_a_fault(handmade):
    folder = handmade.add(1, fold=1).opened()
    write_statistics(folder)
    handmade.add(2, fold=3).written()
    (fault,) = check_folder(folder.root).faults
    assert "expected fold 3; got none" in fault


def test_a_folder_whose_every_patch_is_faulty_is_still_described(handmade):
    report = check_folder(handmade.add(1, fold=9).written())
    assert (report.patches, report.dates_max, sum(report.class_pixels)) == (0, 0, 0)
    assert len(report.faults) == 2


def test_progress_is_told_patch_by_patch(handmade):
    told: list[tuple[int, int]] = []
    check_folder(
        handmade.add(1).add(2).add(3).written(), on_progress=lambda done, total: told.append((done, total))
    )
    assert told == [(1, 3), (2, 3), (3, 3)]


def test_no_folder_is_an_error_and_not_a_report(tmp_path):
    with pytest.raises(DataError, match="no such folder"):
        check_folder(tmp_path / "nowhere")


def test_the_official_metadata_alone_lacks_two_files_per_patch(shared):
    report = check_folder(shared / "data" / "pastis_metadata")
    assert report.patches == 9
    assert len(report.faults) == 18


@pytest.mark.parametrize("name", ["flanders", "pastis_mini"])
def test_real_tiles_have_no_faults(shared, name):
    assert check_folder(shared / "data" / name).faults == ()


def test_dates_and_clouds_of_each_satellite_are_told(handmade):
    handmade.add(1, days=(5, 20)).add(2, days=(7, 9, 11)).add(3, days=(1, 2, 3, 400))
    folder = handmade.with_radar("S1A", {1: (0,), 2: (3, 4), 3: (9,)}).opened()
    images_TCHW = np.load(folder.image_path(folder.patches[2]))
    images_TCHW[:, 0] = 0
    images_TCHW[:2, 0] = 5000  # blue of two frames: overcast
    images_TCHW[2, 0, :4] = 5000  # half of it: not more than half
    images_TCHW[:, 1:] = 9000  # other bands do not count
    np.save(folder.image_path(folder.patches[2]), images_TCHW)
    np.save(folder.image_path(folder.patches[1]), np.zeros((3, 10, 8, 8), np.int16))
    report = check_folder(folder.root)
    optical, radar = report.series["S2"], report.series["S1A"]
    assert (optical.patches, optical.frames) == (3, 9)
    assert (optical.dates_min, optical.dates_median, optical.dates_max) == (2, 3, 4)
    assert (optical.first, optical.last) == ("2018-09-02", "2019-10-06")
    assert optical.cloud_like == pytest.approx(2 / 9)
    assert (radar.frames, radar.dates_min, radar.dates_max, radar.cloud_like) == (4, 1, 2, None)
    assert set(report.series) == {"S2", "S1A"}


def test_a_data_set_with_classes_and_a_season_of_its_own_is_checked_by_them(handmade, save_target):
    folder = handmade.add(1).opened()
    Description(("water", "rice"), date(2018, 9, 1)).write(folder.root)
    write_statistics(folder)
    save_target(1, np.full((3, 8, 8), 2, np.uint8))
    report = check_folder(folder.root)
    assert (report.class_names, report.class_pixels, report.faults) == (("water", "rice"), (0, 0, 64), ())
    save_target(1, np.full((3, 8, 8), 3, np.uint8))
    assert "expected labels from 0 to 2; got labels from 3 to 3" in check_folder(folder.root).faults[0]


def test_files_of_no_patch_are_a_remark_and_no_fault(handmade):
    folder = handmade.add(1).add(2).with_radar("S1A", {1: (1,), 2: (2,)}).opened()
    write_statistics(folder)
    write_statistics(folder, S1A)
    for stray in ("DATA_S2/S2_7.npy", "DATA_S2/S2_8.npy", "ANNOTATIONS/TARGET_7.npy", "DATA_S2/.hidden"):
        (folder.root / stray).touch()
    report = check_folder(folder.root)
    assert report.faults == ()
    labels, series = report.remarks
    assert "ANNOTATIONS: 1 files of no patch in metadata.geojson, the first TARGET_7.npy" in labels
    assert "DATA_S2: 2 files of no patch in metadata.geojson, the first S2_7.npy" in series


def test_radar_without_statistics_is_a_remark(handmade):
    folder = handmade.add(1).with_radar("S1D", {1: (1,)}).opened()
    write_statistics(folder)
    report = check_folder(folder.root)
    assert report.faults == ()
    (remark,) = report.remarks
    assert "NORM_S1D_patch.json is missing" in remark


def test_radar_dates_out_of_order_are_a_fault_and_two_of_a_day_are_not(handmade):
    folder = handmade.add(1).add(2).with_radar("S1A", {1: (3, 2, 4), 2: (3, 3, 4)}).opened()
    write_statistics(folder)
    assert check_folder(folder.root).faults == (
        "patch 1: expected dates-S1A in ascending order; got another order",
    )


def test_spot_images_are_checked_by_their_headers_where_the_folder_has_any(handmade):
    folder = handmade.add(1).add(2).add(3).opened()
    write_statistics(folder)
    assert check_folder(folder.root).spot is None
    for patch, side in zip(folder.patches, (80, 81), strict=False):
        path = spot_path(folder.root, patch)
        path.parent.mkdir(parents=True, exist_ok=True)
        shape = {"count": 3, "height": side, "width": side, "dtype": "uint8"}
        with rasterio.open(path, "w", driver="GTiff", crs="EPSG:2154", transform=METRE, **shape) as image:
            image.write(np.zeros((3, side, side), np.uint8))
    report = check_folder(folder.root)
    assert report.spot == 1
    multiple, missing = report.faults
    assert "2019_2.tif: expected a multiple of Sentinel-2's size (8, 8); got (81, 81)" in multiple
    assert "2019_3.tif: expected a file; got none" in missing


def test_the_faults_of_an_id_that_occurs_twice_are_told_once(handmade):
    root = handmade.add(3).add(3).written()
    (root / "DATA_S2/S2_3.npy").unlink()
    twice, statistics, missing = check_folder(root).faults
    assert "patch 3: expected one entry; got 2" in twice
    assert "NORM_S2_patch.json is missing" in statistics
    assert "S2_3.npy: expected a file; got none" in missing


def test_machines_find_the_same_keys_in_every_report(handmade):
    content = json.loads(json.dumps(check_folder(handmade.add(1, size=(8, 16)).written()).content()))
    assert set(content) == {
        "patches", "sizes", "series", "folds", "class_names", "class_pixels", "classes", "spot", "faults",
        "remarks", "dates_min", "dates_max",
    }  # fmt: skip
    assert set(content["series"]["S2"]) == {
        "patches", "frames", "dates_min", "dates_median", "dates_max", "first", "last", "cloud_like",
    }  # fmt: skip
    assert (content["sizes"], content["folds"]) == ({"8x16": 1}, {"1": 1})
    assert content["classes"][19] == {"label": 19, "name": "void", "pixels": 6, "share": 6 / 128}
    assert [entry["pixels"] for entry in content["classes"]] == content["class_pixels"]


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


FILE_FAULTS: dict[str, tuple[Callable[[Path], object], str, str]] = {
    # what is done to the file: by which the fault is known in a series, and in labels
    "missing": (Path.unlink, "expected a file", "expected a file"),
    "empty": (lambda path: path.write_bytes(b""), "a whole .npy file", "a whole .npy file"),
    "truncated": (_cut, "a whole .npy file", "a whole .npy file"),
    "corrupt": (lambda path: path.write_bytes(b"<html>" * 99), "a whole .npy file", "a whole .npy file"),
    "a folder": (lambda path: (path.unlink(), path.mkdir()), "a whole .npy file", "a whole .npy file"),
    "of another type": (
        lambda path: np.save(path, np.load(path).astype(np.float32)),
        "got float32",
        "got float32",
    ),
    "of another shape": (
        lambda path: np.save(path, np.load(path)[None]),
        "expected int16 [dates, 10, H, W]",
        "expected whole numbers [3, H, W] or [H, W]; got uint8 [1, 3, 8, 8]",
    ),
    "without pixels": (
        lambda path: np.save(path, np.load(path)[..., :0]),
        "expected at least one pixel",
        "expected the images' size (8, 8); got (8, 0)",
    ),
    "of another size": (
        lambda path: np.save(path, np.load(path)[..., :4]),
        "expected the images' size (8, 4); got (8, 8)",
        "expected the images' size (8, 8); got (8, 4)",
    ),
}


@pytest.mark.parametrize("fault", FILE_FAULTS)
@pytest.mark.parametrize("kind", ["series", "labels"])
def test_a_faulty_file_is_named_by_the_check_and_where_it_is_read(handmade, kind, fault):
    folder = handmade.add(1).add(2).opened()
    write_statistics(folder)
    patch = folder.patches[1]
    damage, *messages = FILE_FAULTS[fault]
    path = folder.image_path(patch) if kind == "series" else folder.target_path(patch)
    damage(path)
    (found,) = check_folder(folder.root).faults
    assert messages[kind == "labels"] in found
    named = folder.target_path(patch) if fault == "of another size" else path
    assert found.startswith(f"{named}: ")
    with pytest.raises(DataError, match=f"{re.escape(str(folder.root))}.*_2.npy: expected"):
        Split(PastisFolder.open(folder.root), (patch,), 2).sample(0)


def _dates(feature: dict[str, Any], frames: int) -> None:
    feature["dates-S2"] = dict(list(feature["dates-S2"].items())[:frames])


METADATA_FAULTS: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "a date missing": (lambda known: _dates(known, 2), "S2_2.npy: expected 2 frames, as metadata.geojson"),
    "no dates": (lambda known: known.pop("dates-S2"), "patch 2: expected dates-S2 .*; got no dates"),
    "a date of no day": (
        lambda known: known["dates-S2"].update({"1": 20190231}),
        "patch 2: expected dates-S2",
    ),
    "dates out of order": (lambda known: known["dates-S2"].update({"0": 20200101}), "in ascending order"),
    "an id twice": (lambda known: known.update(ID_PATCH=1), "patch 1: expected one entry; got 2"),
    "a path for an id": (lambda known: known.update(ID_PATCH="../2"), "a whole number; got '../2'"),
    "an absolute path": (lambda known: known.update(ID_PATCH="/etc/2"), "a whole number; got '/etc/2'"),
    "no fold": (lambda known: known.pop("Fold"), "patch 2: expected Fold to be one of"),
}


@pytest.mark.parametrize("fault", METADATA_FAULTS)
def test_faulty_metadata_is_named_by_the_check_and_where_it_is_read(handmade, fault):
    folder = handmade.add(1).add(2).opened()
    write_statistics(folder)
    change, message = METADATA_FAULTS[fault]
    change(handmade.features[1]["properties"])
    root = handmade.written()
    (found,) = check_folder(root).faults
    assert re.search(message, found)
    with pytest.raises(DataError, match=rf"(?s){message}"):
        _read_second_patch(root)


def _read_second_patch(root: Path) -> None:
    folder = PastisFolder.open(root)
    Split(folder, folder.patches, 2).sample(1)
