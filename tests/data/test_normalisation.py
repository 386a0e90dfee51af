from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from shapeft_tune.config.data import DataConfig, Folds
from shapeft_tune.data.normalisation import (
    Normalisation,
    fold_statistics,
    normalisation_for,
    official_normalisation,
    own_normalisation,
    write_statistics,
)
from shapeft_tune.data.pastis import PastisFolder
from shapeft_tune.data.sources import S1A, S1D
from shapeft_tune.errors import DataError

MEAN = tuple(float(band) for band in range(10))
STD = tuple(float(band + 1) for band in range(10))


def _official(folder: PastisFolder, folds: dict[int, float]) -> None:
    content = {
        f"Fold_{fold}": {"mean": [value] * 10, "std": [2 * value] * 10} for fold, value in folds.items()
    }
    (folder.root / "NORM_S2_patch.json").write_text(json.dumps(content))


def test_each_band_is_shifted_and_scaled_by_its_own_numbers():
    images = torch.randint(-500, 10_000, (2, 3, 10, 4, 4), dtype=torch.int16)
    applied = Normalisation(MEAN, STD).apply(images)
    assert applied.dtype == torch.float32
    for band in range(10):
        expected = (images[:, :, band].double() - MEAN[band]) / STD[band]
        torch.testing.assert_close(applied[:, :, band].double(), expected, rtol=1e-6, atol=1e-4)


def reference(folder: PastisFolder, fold: int) -> tuple[np.ndarray, np.ndarray]:
    """The official definition in other words: [10] means and deviations of one fold, in float64."""
    members = [np.load(folder.image_path(patch)).astype(float) for patch in folder.in_folds({fold})]
    flat = [np.moveaxis(images, 1, 0).reshape(10, -1) for images in members]
    means = [bands.mean(axis=1) for bands in flat]
    deviations = [bands.std(axis=1, ddof=1) for bands in flat]
    return np.mean(means, axis=0), np.mean(deviations, axis=0)


def test_statistics_of_a_fold_are_the_average_over_patches_of_each_patchs_own(generated):
    statistics = fold_statistics(generated)
    assert sorted(statistics) == [1, 2, 3, 4, 5]
    for fold, of_fold in statistics.items():
        mean, std = reference(generated, fold)
        np.testing.assert_allclose(of_fold.mean, mean, rtol=1e-12)
        np.testing.assert_allclose(of_fold.std, std, rtol=1e-12)


@pytest.fixture
def uneven(handmade) -> PastisFolder:
    """Four patches of fold 1 and one of fold 2: the average over folds is not that over patches."""
    for id in (1, 2, 3, 4):
        handmade.add(id)
    return handmade.add(9, fold=2).opened()


def test_own_statistics_are_what_the_official_file_of_the_same_folder_would_give(uneven):
    own = own_normalisation(uneven, (1, 2))
    write_statistics(uneven)
    official = official_normalisation(uneven, (1, 2))
    np.testing.assert_allclose(own.mean, np.mean([reference(uneven, fold)[0] for fold in (1, 2)], axis=0))
    np.testing.assert_allclose(own.std, np.mean([reference(uneven, fold)[1] for fold in (1, 2)], axis=0))
    np.testing.assert_allclose(official.mean, own.mean, atol=0.005)
    np.testing.assert_allclose(official.std, own.std, atol=0.005)
    assert own.mean[0] == (2500 + 9000) / 2 + 10  # over patches it would be 3810


def test_own_statistics_are_read_off_the_disk_once(uneven, tmp_path_factory, monkeypatch):
    folder = replace(uneven, facts=tmp_path_factory.mktemp("facts"))
    own = own_normalisation(folder, (1, 2))
    assert own == own_normalisation(uneven, (1, 2))
    monkeypatch.setattr(PastisFolder, "images", lambda *_: pytest.fail("a series was read"))
    assert own_normalisation(folder, (2, 1)) == own
    assert [fold_statistics(folder)[fold].mean[0] for fold in (1, 2)] == [2510, 9010]


def test_own_statistics_follow_a_changed_series(uneven, tmp_path_factory):
    folder = replace(uneven, facts=tmp_path_factory.mktemp("facts"))
    own_normalisation(folder, (1, 2))
    path = folder.image_path(folder.patches[-1])
    np.save(path, np.load(path)[:, :, ::2] + np.int16(100))
    assert own_normalisation(folder, (2,)).mean[0] == 9110


def test_a_band_that_never_changes_has_no_deviation_at_all(handmade):
    folder = handmade.add(1, days=(5,)).opened()
    assert fold_statistics(folder)[1].std == (0.0,) * 10


def test_progress_is_told_in_patches_and_reaches_all_of_them(uneven, tmp_path_factory):
    folder = replace(uneven, facts=tmp_path_factory.mktemp("facts"))
    counted: list[tuple[int, int]] = []
    fold_statistics(folder, on_progress=lambda done, total: counted.append((done, total)))
    assert sorted(set(counted)) == [(done, 5) for done in range(1, 6)]
    assert counted == sorted(counted)
    known_already: list[int] = []
    fold_statistics(folder, on_progress=lambda done, _: known_already.append(done))
    assert known_already == [4, 5]


def test_official_statistics_are_averaged_over_the_training_folds_alone(handmade):
    folder = handmade.add(1).opened()
    _official(folder, {1: 100.0, 2: 200.0, 3: 600.0, 4: 9000.0, 5: 9000.0})
    norm = official_normalisation(folder, (1, 2, 3))
    assert norm == Normalisation((300.0,) * 10, (600.0,) * 10)


def test_the_config_chooses(generated):
    official = normalisation_for(DataConfig(dataset="sample"), generated)
    own = normalisation_for(DataConfig(dataset="sample", normalisation="own"), generated)
    np.testing.assert_allclose(official.mean, own.mean, rtol=1e-4)  # the folds are equally large
    assert own == own_normalisation(generated, (1, 2, 3))


def test_statistics_of_both_sensors_follow_each_other_in_the_units_of_the_samples(handmade):
    folder = handmade.add(1).with_radar("S1A", {1: (3, 9, 50)}).opened()
    write_statistics(folder)
    radar = {"Fold_1": {"mean": [-10.5, -17.25, 6.75], "std": [3.5, 4.0, 5.0]}}
    (folder.root / "NORM_S1A_patch.json").write_text(json.dumps(radar))
    config = DataConfig(dataset="pastis", folds=Folds(train=(1,)))
    optical = normalisation_for(config, folder)
    both = normalisation_for(config, folder, sensors=("s2", "s1"))
    assert both.mean == (*optical.mean, -1050.0, -1725.0)
    assert both.std == (*optical.std, 350.0, 400.0)
    assert both.bands[-3:] == ("B12", "VV", "VH")
    assert normalisation_for(config, folder, sensors=("s1",)).mean == (-1050.0, -1725.0)


def test_own_statistics_of_radar_are_those_of_all_its_frames_on_the_orbit(handmade):
    folder = handmade.add(1).with_radar("S1D", {1: (3, 9, 50, 51)}).opened()
    shutil.rmtree(folder.root / "DATA_S2")
    config = DataConfig(dataset="pastis", normalisation="own", orbit="descending", folds=Folds(train=(1,)))
    norm = normalisation_for(config, folder, sensors=("s1",))
    assert norm.mean == pytest.approx((-175, -187.25), abs=0.3)  # -1, -1.5, -2, -2.5 dB, and an eighth less
    assert norm.std == pytest.approx([100 * 0.3125**0.5] * 2, abs=0.3)


def test_radar_without_statistics_names_its_file(handmade):
    folder = handmade.add(1).with_radar("S1A", {1: (3,)}).opened()
    with pytest.raises(DataError, match=r"NORM_S1A_patch.json is missing.*`data.normalisation: own`"):
        official_normalisation(folder, (1,), (S1A,))


def test_written_radar_statistics_have_the_official_files_format(handmade):
    folder = handmade.add(1).with_radar("S1D", {1: (3, 9, 50, 51)}).opened()
    write_statistics(folder, S1D)
    entry = json.loads((folder.root / "NORM_S1D_patch.json").read_text())["Fold_1"]
    assert entry["mean"] == pytest.approx([-1.75, -1.875, 0.125], abs=0.01)  # decibels: VV, VH, VV - VH
    assert entry["std"] == pytest.approx([0.3125**0.5, 0.3125**0.5, 0], abs=0.01)
    read_back, computed = folder.statistics(S1D)[1], fold_statistics(folder, S1D)[1]
    np.testing.assert_allclose(read_back.mean, computed.mean, atol=0.006)
    np.testing.assert_allclose(read_back.std, computed.std, atol=0.006)


def test_written_radar_statistics_of_real_tiles_agree_with_those_made_elsewhere(shared: Path, tmp_path: Path):
    elsewhere = shared / "data" / "flanders"
    folder = PastisFolder.open(Path(shutil.copytree(elsewhere, tmp_path / "tiles")))
    (folder.root / "NORM_S1A_patch.json").unlink()
    write_statistics(folder, S1A)
    made, official = (
        json.loads((root / "NORM_S1A_patch.json").read_text()) for root in (folder.root, elsewhere)
    )
    for fold in ("Fold_1", "Fold_2", "Fold_3", "Fold_4", "Fold_5"):
        for name in ("mean", "std"):
            np.testing.assert_allclose(made[fold][name], official[fold][name], rtol=1e-3)


def test_writing_leaves_nothing_else_behind(handmade):
    folder = handmade.add(1).opened()
    before = {path.name for path in folder.root.iterdir()}
    write_statistics(folder)
    write_statistics(folder)
    assert {path.name for path in folder.root.iterdir()} == before | {"NORM_S2_patch.json"}


def test_own_radar_statistics_of_real_tiles_agree_with_those_made_elsewhere(shared: Path):
    folder = PastisFolder.open(shared / "data" / "flanders")
    official, own = (
        build(folder, (1, 2, 3), (S1A,)) for build in (official_normalisation, own_normalisation)
    )
    np.testing.assert_allclose(own.mean, official.mean, rtol=1e-3)
    np.testing.assert_allclose(own.std, official.std, rtol=1e-3)


@pytest.mark.parametrize("name", ["flanders", "pastis_mini"])
def test_own_statistics_of_real_tiles_agree_with_those_made_elsewhere(shared: Path, name: str):
    folder = PastisFolder.open(shared / "data" / name)
    made_elsewhere = {"flanders": "NORM_S2_patch.json", "pastis_mini": "NORM_S2_patch.local.json"}[name]
    stored = json.loads((folder.root / made_elsewhere).read_text())
    for fold in (1, 2, 3, 4, 5):
        own = own_normalisation(folder, (fold,))
        np.testing.assert_allclose(own.mean, stored[f"Fold_{fold}"]["mean"], rtol=1e-6)
        np.testing.assert_allclose(own.std, stored[f"Fold_{fold}"]["std"], rtol=1e-6)


def test_written_statistics_are_read_back_for_the_folds_that_exist(handmade):
    folder = handmade.add(1, fold=2).add(2, fold=2).add(3, fold=5).opened()
    write_statistics(folder)
    assert sorted(folder.statistics()) == [2, 5]
    assert folder.statistics()[2].mean == tuple(1500.0 + 10 + band for band in range(10))
    assert folder.statistics()[2].std == pytest.approx([(200 / 3 * 192 / 191) ** 0.5] * 10, abs=0.006)


def test_a_folder_without_statistics_says_what_to_set(handmade):
    with pytest.raises(DataError, match=r"NORM_S2_patch.json is missing.*`data.normalisation: own`"):
        official_normalisation(handmade.add(1).opened(), (1,))


def test_a_fold_without_statistics_says_what_to_set(handmade):
    folder = handmade.add(1).opened()
    _official(folder, {1: 1.0})
    with pytest.raises(DataError, match=r"got none of fold 3 - set `data.normalisation: own`"):
        official_normalisation(folder, (1, 3))


def test_folds_without_patches_have_no_statistics(handmade):
    with pytest.raises(DataError, match="expected patches to take statistics of"):
        own_normalisation(handmade.add(1).opened(), (4,))


@pytest.mark.parametrize("std", [0.0, -1.0, float("nan")])
def test_a_band_that_cannot_be_scaled_is_named(std):
    with pytest.raises(DataError, match="band B5: expected a finite mean and a standard deviation above 0"):
        Normalisation(MEAN, (*STD[:3], std, *STD[4:]))
