from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from shapeft_tune.config.data import DataConfig, Folds
from shapeft_tune.data.normalisation import (
    Normalisation,
    normalisation_for,
    official_normalisation,
    own_normalisation,
    write_statistics,
)
from shapeft_tune.data.pastis import PastisFolder
from shapeft_tune.data.sources import S1A
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


def test_own_statistics_are_the_average_over_patches_of_each_patchs_own(generated):
    norm = own_normalisation(generated, (2, 3))
    members = [np.load(generated.image_path(patch)).astype(float) for patch in generated.in_folds((2, 3))]
    flat = [np.moveaxis(images, 1, 0).reshape(10, -1) for images in members]
    np.testing.assert_allclose(norm.mean, np.mean([bands.mean(axis=1) for bands in flat], axis=0))
    np.testing.assert_allclose(norm.std, np.mean([bands.std(axis=1) for bands in flat], axis=0))


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
        np.testing.assert_allclose(own.mean, stored[f"Fold_{fold}"]["mean"], rtol=1e-3)
        np.testing.assert_allclose(own.std, stored[f"Fold_{fold}"]["std"], rtol=1e-3)


def test_written_statistics_are_read_back_for_the_folds_that_exist(handmade):
    folder = handmade.add(1, fold=2).add(2, fold=2).add(3, fold=5).opened()
    write_statistics(folder)
    assert sorted(folder.statistics()) == [2, 5]
    assert folder.statistics()[2].mean == tuple(1500.0 + 10 + band for band in range(10))
    assert folder.statistics()[2].std == pytest.approx([(200 / 3) ** 0.5] * 10, abs=0.005)


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
