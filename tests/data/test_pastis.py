from __future__ import annotations

import json
import tracemalloc
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shapeft_tune.config.bands import S2_BANDS
from shapeft_tune.data.pastis import CLASS_NAMES, NUM_CLASSES, VOID, PastisFolder
from shapeft_tune.data.sources import S1A, S1D, S2
from shapeft_tune.errors import DataError


def test_the_facts_agree_with_each_other():
    assert (len(S2_BANDS), len(CLASS_NAMES), NUM_CLASSES, VOID) == (10, 19, 19, 19)


def test_patches_come_ordered_by_id_with_fold_and_days_since_september(handmade):
    folder = handmade.add(7, fold=2, days=(0, 30, 366)).add(3, fold=5).opened()
    assert [(patch.id, patch.fold, patch.days) for patch in folder.patches] == [
        (3, 5, (5, 20, 60)),
        (7, 2, (0, 30, 366)),
    ]


def test_dates_may_be_a_string_of_json_and_their_keys_are_numbers(handmade):
    dates = {str(frame): 20181001 + frame for frame in range(11)}  # as text, "10" comes before "2"
    folder = handmade.add(
        1, days=tuple(range(11)), **{"dates-S2": json.dumps(dates, sort_keys=True)}
    ).opened()
    assert folder.patches[0].days == tuple((date(2018, 10, 1 + k) - date(2018, 9, 1)).days for k in range(11))


def test_only_the_patches_of_the_asked_folds_are_returned(handmade):
    folder = handmade.add(1, fold=1).add(2, fold=2).add(3, fold=3).opened()
    assert [patch.id for patch in folder.in_folds((3, 1))] == [1, 3]


def test_frames_come_in_the_order_asked_for(handmade):
    folder = handmade.add(2).opened()
    images_TCHW = folder.images(folder.patches[0], (2, 0))
    assert (images_TCHW.shape, images_TCHW.dtype) == ((2, 10, 8, 8), np.int16)
    assert images_TCHW[:, 4, 0, 0].tolist() == [2024, 2004]


def test_reading_two_frames_takes_memory_for_two_frames(handmade):
    folder = handmade.add(1, days=tuple(range(200)), size=(32, 32)).opened()  # 4 MB in all
    tracemalloc.start()
    folder.images(folder.patches[0], (3, 150))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 5 * 2 * 10 * 32 * 32 * 2


def test_what_was_read_outlives_a_change_of_the_file(handmade):
    folder = handmade.add(1).opened()
    images_TCHW = folder.images(folder.patches[0], (0,))
    with open(folder.image_path(folder.patches[0]), "r+b") as file:
        file.seek(200)
        file.write(b"\xff" * 2000)
    assert images_TCHW[0, :, 3, 3].tolist() == list(range(1000, 1010))


def test_the_shape_is_known_without_the_values(handmade):
    folder = handmade.add(1, days=(1, 2), size=(8, 16)).opened()
    assert folder.shape(folder.patches[0]) == (2, 10, 8, 16)


@pytest.mark.parametrize("dates", [{"0": 20180905}, {"0": 20181332}, "soon", None, float("nan")])
def test_radar_is_not_needed_where_it_is_not_asked_for(handmade, dates):
    folder = handmade.add(1, **{"dates-S1A": dates}).opened()
    (patch,) = folder.patches
    assert folder.images(patch, (0,)).shape == (1, 10, 8, 8)
    assert folder.size(patch) == folder.target(patch).shape == (8, 8)


def test_radar_comes_as_hundredths_of_a_decibel_without_the_difference(handmade):
    folder = handmade.add(7).with_radar("S1D", {7: (1, 2, 3)}).opened()
    (patch,) = folder.patches
    images_TCHW = folder.images(patch, (2, 0), S1D)
    assert (images_TCHW.shape, images_TCHW.dtype) == ((2, 2, 8, 8), np.int16)
    assert images_TCHW[:, :, 3, 5].tolist() == [[-800, -812], [-700, -712]]  # -8.125 and -7.125 dB: to even
    assert (patch.days_of(S1D), patch.days_of(S1A)) == ((1, 2, 3), ())


def test_radar_dates_may_be_a_string_of_json(handmade):
    folder = handmade.add(1, **{"dates-S1A": '{"0": 20180902, "1": 20180907}'}).opened()
    assert folder.patches[0].days_S1A == (1, 6)


def test_radar_without_an_echo_is_the_least_and_what_is_no_number_is_refused(handmade):
    folder = handmade.add(1).with_radar("S1A", {1: (1, 2)}).opened()
    (patch,) = folder.patches
    stored = np.load(folder.image_path(patch, S1A))
    stored[0, 0, 0, 0], stored[0, 1, 0, 0], stored[1, 1, 4, 4] = -np.inf, 400, np.nan
    np.save(folder.image_path(patch, S1A), stored)
    assert folder.images(patch, (0,), S1A)[0, :, 0, 0].tolist() == [-32767, 32767]
    with pytest.raises(DataError, match=r"S1A_1.npy: expected numbers; got values that are not a number"):
        folder.images(patch, (1,), S1A)


def test_a_patch_without_radar_dates_says_where_they_are_expected(handmade):
    folder = handmade.add(3).opened()
    with pytest.raises(DataError, match=r"metadata.geojson: expected dates-S1A of patch 3; .*only PASTIS-R"):
        folder.images(folder.patches[0], (0,), S1A)


def test_radar_of_another_size_than_the_optical_images_is_refused(handmade):
    folder = handmade.add(1).with_radar("S1A", {1: (1, 2)}, size=(16, 8)).opened()
    assert folder.size(folder.patches[0], (S1A,)) == (16, 8)
    with pytest.raises(DataError, match=r"S1A_1.npy: expected the size \(8, 8\) of S2; got \(16, 8\)"):
        folder.size(folder.patches[0], (S2, S1A))


@pytest.mark.parametrize("shape", [(3, 8, 8), (8, 8)])
def test_labels_are_the_first_channel_or_the_only_one(handmade, save_target, shape):
    folder = handmade.add(1).opened()
    labels = np.arange(np.prod(shape)).reshape(shape) % 20
    save_target(1, labels.astype(np.int64))
    target_HW = folder.target(folder.patches[0])
    assert target_HW.dtype == np.uint8
    np.testing.assert_array_equal(target_HW, labels if len(shape) == 2 else labels[0])


@pytest.mark.parametrize("label", [20, 255, -1])
def test_a_label_outside_the_classes_is_refused(handmade, save_target, label):
    folder = handmade.add(1).opened()
    save_target(1, np.full((3, 8, 8), label, dtype=np.int16))
    with pytest.raises(
        DataError, match=rf"TARGET_1.npy: expected labels from 0 to 19; got labels from {label}"
    ):
        folder.target(folder.patches[0])


@pytest.mark.parametrize("kept", [0, 5, 90, 1000])
def test_a_file_cut_short_is_named_with_what_to_do(handmade, kept):
    folder = handmade.add(1).opened()
    path = folder.image_path(folder.patches[0])
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(
        DataError, match=r"S2_1.npy: expected a whole .npy file.*copy or download this file again"
    ):
        folder.images(folder.patches[0], (0,))


def test_a_missing_file_is_named(handmade):
    folder = handmade.add(1).opened()
    folder.target_path(folder.patches[0]).unlink()
    with pytest.raises(DataError, match=r"TARGET_1.npy: expected a file; got none"):
        folder.target(folder.patches[0])


def test_pickled_objects_are_not_loaded(handmade):
    folder = handmade.add(1).opened()
    np.save(folder.target_path(folder.patches[0]), np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match=r"TARGET_1\.npy"):
        folder.target(folder.patches[0])


@pytest.mark.parametrize(
    ("array", "got"),
    [
        (np.zeros((3, 10, 8, 8), np.float32), "float32"),
        (np.zeros((3, 13, 8, 8), np.int16), r"\[3, 13, 8, 8\]"),
        (np.zeros((10, 8, 8), np.int16), r"\[10, 8, 8\]"),
        (np.zeros((4, 10, 8, 8), np.int16), "expected 3 frames"),
    ],
)
def test_a_series_of_another_kind_is_refused(handmade, array, got):
    folder = handmade.add(1).opened()
    np.save(folder.image_path(folder.patches[0]), array)
    with pytest.raises(DataError, match=rf"S2_1.npy: .*{got}"):
        folder.shape(folder.patches[0])


@pytest.mark.parametrize(
    ("patch", "fault"),
    [
        ({"id": 1, "fold": 6}, "patch 1: expected Fold to be one of"),
        ({"id": 1, "fold": True}, "patch 1: expected Fold"),
        ({"id": 1, "fold": None}, "patch 1: expected Fold"),
        ({"id": "../../1"}, "feature 0: expected ID_PATCH to be a whole number; got '../../1'"),
        ({"id": "1"}, "expected ID_PATCH"),
        ({"id": -1}, "expected ID_PATCH"),
        ({"id": None}, "expected ID_PATCH"),
        ({"id": 1, "days": (20, 5, 60)}, "patch 1: expected dates-S2 in ascending order"),
        ({"id": 1, "days": (5, 5, 60)}, "patch 1: expected dates-S2 in ascending order"),
        ({"id": 1, "days": ()}, "patch 1: expected dates-S2 .* got no dates"),
        ({"id": 1, "dates-S2": None}, "patch 1: expected dates-S2 .* got no dates"),
        ({"id": 1, "dates-S2": {"0": 20181332}}, "patch 1: expected dates-S2"),
        ({"id": 1, "dates-S2": {"first": 20180901}}, "patch 1: expected dates-S2"),
        ({"id": 1, "dates-S2": "20180901"}, "patch 1: expected dates-S2"),
        ({"id": 1, "dates-S2": [20180901]}, "patch 1: expected dates-S2"),
    ],
)
def test_a_faulty_patch_is_named(handmade, patch, fault):
    with pytest.raises(DataError, match=fault):
        handmade.add(**patch).opened()


def test_all_faults_of_the_metadata_are_told_at_once(handmade):
    with pytest.raises(DataError, match=r"(?s)patch 1: .*patch 2: .*patch 3: expected one entry; got 2"):
        handmade.add(1, fold=0).add(2, days=(9, 1)).add(3).add(3).opened()


def test_many_faults_are_cut(handmade):
    for number in range(30):
        handmade.add(number, fold=9)
    with pytest.raises(DataError, match=r"and 20 more"):
        handmade.opened()


def _folder_around(root: Path) -> None:
    (root / "PASTIS-R").mkdir()
    (root / "PASTIS-R" / "metadata.geojson").write_text("{}")


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        (lambda root: root.rmdir(), "got no such folder - check the path"),
        (lambda root: None, "got an empty folder"),
        (lambda root: (root / "DATA_S2").mkdir(), "got no metadata.geojson in it"),
        (_folder_around, "got a folder around one - use .*PASTIS-R"),
        (lambda root: (root / "metadata.geojson").write_text("<html>"), "expected a GeoJSON FeatureColl"),
        (lambda root: (root / "metadata.geojson").write_text("[1]"), "expected a GeoJSON FeatureCollection"),
        (lambda root: (root / "metadata.geojson").write_text('{"features": [3]}'), "list of features"),
        (lambda root: (root / "metadata.geojson").write_text('{"features": []}'), "at least one patch"),
        (
            lambda root: (root / "metadata.geojson").write_text('{"features": [{}]}'),
            "feature 0: .*properties",
        ),
    ],
)
def test_a_folder_that_is_no_data_set_says_what_it_is(tmp_path, prepare, message):
    root = tmp_path / "data"
    root.mkdir()
    prepare(root)
    with pytest.raises(DataError, match=rf"(?s){message}"):
        PastisFolder.open(root)


def test_the_digest_follows_what_the_folder_holds(handmade):
    folder = handmade.add(1).add(2).opened()
    before = folder.digest()
    assert len(before) == 16
    assert before == PastisFolder.open(folder.root).digest()
    np.save(folder.image_path(folder.patches[0]), np.zeros((4, 10, 8, 8), np.int16))
    resized = folder.digest()
    np.save(folder.target_path(folder.patches[1]), np.full((3, 8, 8), 19, np.uint8))
    relabelled = folder.digest()
    folder.target_path(folder.patches[1]).unlink()
    assert len({before, resized, relabelled, folder.digest()}) == 4


def test_the_digest_does_not_depend_on_where_the_folder_lies(handmade, tmp_path_factory):
    folder = handmade.add(1).opened()
    moved = tmp_path_factory.mktemp("elsewhere") / "data"
    folder.root.rename(moved)
    before = PastisFolder(moved, folder.patches).digest()
    moved.rename(folder.root)
    assert folder.digest() == before


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        '{"Fold_1": {}}',
        '{"Fold_1": {"mean": [1], "std": [1]}}',
        '{"fold one": {"mean": [1], "std": [1]}}',
        json.dumps({"Fold_1": {"mean": [float("nan")] * 10, "std": [1] * 10}}),
    ],
)
def test_statistics_of_another_form_are_refused(handmade, content):
    folder = handmade.add(1).opened()
    (folder.root / "NORM_S2_patch.json").write_text(content)
    with pytest.raises(DataError, match=r"NORM_S2_patch.json: expected .* `data.normalisation: own`"):
        folder.statistics()


def test_the_real_tiles_open(shared: Path):
    folder = PastisFolder.open(shared / "data" / "flanders")
    assert {patch.id: patch.fold for patch in folder.patches} == {
        90000: 1, 91000: 1, 90002: 2, 91002: 2, 90003: 3, 91003: 3, 90001: 4, 91001: 5,
    }  # fmt: skip
    assert {folder.shape(patch) for patch in folder.patches} == {(55, 10, 32, 32), (38, 10, 32, 32)}
    whole = np.load(folder.image_path(folder.patches[5]))
    np.testing.assert_array_equal(folder.images(folder.patches[5], (0, 7, 37)), whole[[0, 7, 37]])


def test_the_official_metadata_parses_and_its_missing_images_are_named(shared: Path):
    folder = PastisFolder.open(shared / "data" / "pastis_metadata")
    assert len(folder.patches) == 9
    first = folder.patches[0]
    assert (first.id, first.fold, len(first.days), first.days[0]) == (10000, 1, 43, 23)
    assert sorted(folder.statistics()) == [1, 2, 3, 4, 5]
    assert folder.statistics()[1].mean[0] == pytest.approx(1165.9398193359375)
    with pytest.raises(DataError, match=r"S2_10000.npy: expected a file; got none"):
        folder.images(first, (0,))


def test_a_small_official_copy_opens(shared: Path):
    folder = PastisFolder.open(shared / "data" / "pastis_mini")
    found: set[Any] = {int(label) for patch in folder.patches for label in np.unique(folder.target(patch))}
    assert {0, 1, 2, 3, VOID} <= found


def test_real_radar_is_read_to_a_hundredth_of_a_decibel(shared: Path):
    folder = PastisFolder.open(shared / "data" / "flanders")
    patch = folder.patches[0]
    assert len(patch.days_of(S1A)) == len(np.load(folder.image_path(patch, S1A))) > len(patch.days)
    stored = np.load(folder.image_path(patch, S1A))[[3, 140], :2].astype(np.float64)
    np.testing.assert_allclose(folder.images(patch, (3, 140), S1A) / 100, stored, rtol=0, atol=0.0051)
