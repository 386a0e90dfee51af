from __future__ import annotations

import shutil

import numpy as np
import pytest

from shapeft_tune.data.check import check_folder
from shapeft_tune.data.normalisation import write_statistics
from shapeft_tune.data.sources import S1A
from shapeft_tune.errors import DataError


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
