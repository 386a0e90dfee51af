from __future__ import annotations

import json

import numpy as np
import pytest
from numpy.typing import NDArray

from shapeft_tune.config.bands import S2_BANDS
from shapeft_tune.config.data import SampleDataset
from shapeft_tune.data.check import check_folder
from shapeft_tune.data.labels import labelled_patches
from shapeft_tune.data.pastis import VOID, PastisFolder, Patch
from shapeft_tune.data.sample import generate_sample
from shapeft_tune.data.splits import Split

MEADOW, WHEAT, CORN, BARLEY, RAPESEED, BEET = 1, 2, 3, 4, 5, 9
RED, NIR, BLUE = S2_BANDS.index("B4"), S2_BANDS.index("B8"), S2_BANDS.index("B2")
APRIL, MAY, MID_JUNE, LATE_JULY, AUGUST = (205, 230), (242, 262), (282, 293), (322, 334), (335, 355)


def test_the_sample_has_no_faults_and_the_asked_size(generated):
    report = check_folder(generated.root)
    assert report.faults == ()
    assert (report.patches, report.sizes) == (40, {(32, 32): 40})
    assert report.folds == {1: 8, 2: 8, 3: 8, 4: 8, 5: 8}
    assert 40 <= report.dates_min <= report.dates_max <= 43


def test_the_same_settings_give_the_same_files_and_another_seed_others(tmp_path):
    digests = []
    for name, seed in (("one", 3), ("same", 3), ("other", 4)):
        (tmp_path / name).mkdir()
        generate_sample(SampleDataset(patches=5, patch_size=16, dates=4, seed=seed), tmp_path / name)
        files = sorted(path for path in (tmp_path / name).rglob("*") if path.is_file())
        digests.append([path.read_bytes() for path in files])
    assert digests[0] == digests[1]
    assert digests[0] != digests[2]


@pytest.mark.parametrize(
    "settings",
    [
        SampleDataset(patches=5, patch_size=8, dates=1),
        SampleDataset(patches=7, patch_size=64, dates=73),
        SampleDataset(patches=23, patch_size=8, dates=3),
    ],
)
def test_sizes_at_the_edge_of_what_may_be_asked_are_made_whole(tmp_path, settings):
    generate_sample(settings, tmp_path)
    report = check_folder(tmp_path)
    assert (report.faults, report.patches) == ((), settings.patches)
    assert report.dates_min >= settings.dates


def test_the_metadata_has_all_that_the_official_one_has(generated):
    content = json.loads((generated.root / "metadata.geojson").read_text())
    assert content["crs"]["properties"]["name"] == "urn:ogc:def:crs:EPSG::2154"
    for feature in content["features"]:
        assert set(feature["properties"]) >= {
            "Fold",
            "ID_PATCH",
            "N_Parcel",
            "Parcel_Cover",
            "TILE",
            "dates-S2",
        }
        ring = np.array(feature["geometry"]["coordinates"][0][0])
        assert feature["geometry"]["type"] == "MultiPolygon"
        assert (ring[0] == ring[-1]).all()
        assert np.ptp(ring, axis=0).tolist() == [320.0, 320.0]  # 32 pixels of 10 m


def test_no_two_patches_lie_on_each_other(tmp_path):
    generate_sample(SampleDataset(patches=250, patch_size=8, dates=1), tmp_path)
    features = json.loads((tmp_path / "metadata.geojson").read_text())["features"]
    assert len({tuple(feature["geometry"]["coordinates"][0][0][0]) for feature in features}) == 250


def test_labels_follow_the_imbalance_of_pastis(generated):
    share = np.array(check_folder(generated.root).class_pixels) / (40 * 32 * 32)
    assert 0.2 < share[0] < 0.5  # PASTIS: 0.39
    assert share[MEADOW] > share[WHEAT] > max(share[BARLEY], share[RAPESEED], share[BEET])
    assert share[CORN] > max(share[BARLEY], share[RAPESEED], share[BEET])
    assert 0.005 < share[VOID] < 0.1
    assert np.flatnonzero(share[:VOID]).tolist() == [0, 1, 2, 3, 4, 5, 7, 8, 9]


def _ndvi(folder: PastisFolder, label: int, days: tuple[int, int]) -> float:
    """Median over the cloudless pixels of a class in a window of days."""
    values = []
    for patch in folder.patches:
        frames = [frame for frame, day in enumerate(patch.days) if days[0] <= day <= days[1]]
        images_TCHW = folder.images(patch, frames).astype(float)
        seen = (folder.target(patch) == label) & (images_TCHW[:, BLUE] < 1200)
        red, nir = images_TCHW[:, RED][seen], images_TCHW[:, NIR][seen]
        values.append((nir - red) / (nir + red))
    return float(np.median(np.concatenate(values)))


def test_crops_keep_their_calendars(generated):
    assert _ndvi(generated, WHEAT, MAY) > 0.65 > 0.4 > _ndvi(generated, WHEAT, LATE_JULY)
    assert _ndvi(generated, CORN, APRIL) < 0.4 < 0.6 < _ndvi(generated, CORN, AUGUST)
    assert _ndvi(generated, BARLEY, MID_JUNE) < _ndvi(generated, WHEAT, MID_JUNE) - 0.15  # ripe weeks earlier
    assert all(_ndvi(generated, MEADOW, window) > 0.5 for window in (APRIL, MAY, LATE_JULY, AUGUST))


def test_one_date_in_spring_shows_winter_crops_alike_and_summer_crops_alike(generated):
    winter = [_ndvi(generated, label, APRIL) for label in (MEADOW, WHEAT, BARLEY, RAPESEED)]
    summer = [_ndvi(generated, label, APRIL) for label in (CORN, BEET)]
    assert np.ptp(winter) < 0.15
    assert np.ptp(summer) < 0.15
    assert min(winter) - max(summer) > 0.2


@pytest.mark.parametrize(("label", "days"), [(WHEAT, MAY), (MEADOW, MAY), (CORN, AUGUST), (BEET, APRIL)])
def test_reflectances_are_near_those_of_real_fields(generated, shared, label, days):
    real = PastisFolder.open(shared / "data" / "flanders")
    made, seen = _spectrum(generated, label, days), _spectrum(real, label, days)
    assert np.corrcoef(made, seen)[0, 1] > 0.9
    assert np.all(np.abs(np.log(made / seen)) < np.log(2))


def _spectrum(folder: PastisFolder, label: int, days: tuple[int, int]) -> NDArray[np.float64]:
    values = []
    for patch in folder.patches:
        frames = [frame for frame, day in enumerate(patch.days) if days[0] <= day <= days[1]]
        images_TCHW = folder.images(patch, frames)
        seen = (folder.target(patch) == label) & (images_TCHW[:, BLUE] < 1200)
        values.append(np.moveaxis(images_TCHW, 1, -1)[seen])
    return np.asarray(np.median(np.concatenate(values), axis=0))


def _pixels(
    folder: PastisFolder, patches: tuple[Patch, ...], length: int
) -> tuple[NDArray[np.float64], NDArray[np.uint8]]:
    split = Split(folder, patches, length)
    samples = [split.sample(index) for index in range(len(split))]
    features = [sample.images_TCHW.reshape(length * 10, -1).T for sample in samples]
    labels = np.concatenate([sample.target_HW.ravel() for sample in samples])
    known = labels != VOID
    return np.log(np.concatenate(features).clip(1))[known], labels[known]


def _miou_of_a_pixel_classifier(folder: PastisFolder, length: int, fraction: float, seed: int = 0) -> float:
    """Return what linear discriminant analysis of single pixels makes of it, without any network."""
    inputs, labels = _pixels(folder, labelled_patches(folder.in_folds((1, 2, 3)), fraction, seed), length)
    classes = np.unique(labels)
    means = np.stack([inputs[labels == label].mean(axis=0) for label in classes])
    residuals = inputs - means[np.searchsorted(classes, labels)]
    scatter = residuals.T @ residuals / len(inputs)
    weights = np.linalg.solve(scatter + 0.05 * np.diag(np.diag(scatter)), means.T)
    prior = np.log([np.mean(labels == label) for label in classes]) - 0.5 * (means.T * weights).sum(axis=0)
    unseen, truth = _pixels(folder, folder.in_folds((4, 5)), length)
    guess = classes[np.argmax(unseen @ weights + prior, axis=1)]
    both = [
        ((guess == c) & (truth == c)).sum() / ((guess == c) | (truth == c)).sum() for c in np.unique(truth)
    ]
    return float(np.mean(both))


def test_six_dates_separate_what_one_date_confuses(generated):
    one, six = (_miou_of_a_pixel_classifier(generated, length, 1.0) for length in (1, 6))
    assert one < 0.25
    assert six > one + 0.1


def test_all_labels_teach_more_than_a_tenth_of_them(generated):
    tenth = np.mean([_miou_of_a_pixel_classifier(generated, 6, 0.1, seed) for seed in range(3)])
    assert _miou_of_a_pixel_classifier(generated, 6, 1.0) > tenth + 0.08
