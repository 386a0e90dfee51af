from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from shapeft_tune.config.data import Augmentation
from shapeft_tune.config.protocol import Role
from shapeft_tune.config.trial import TrialConfig
from shapeft_tune.data.batches import evaluation_batches, training_batches
from shapeft_tune.data.pastis import PastisFolder
from shapeft_tune.data.sources import S1A, S1D
from shapeft_tune.data.splits import ClosedTestFold, Split, Splits, open_splits, problems_with
from shapeft_tune.data.temporal import even_frames
from shapeft_tune.errors import DataError, TrialError
from shapeft_tune.models import build_model
from tests.models.small_models import SMALL_MODELS

MODEL = {"name": "utae", "encoder_widths": [16, 16, 16], "decoder_widths": [16, 16, 16]}
"""Halves twice: sides must be multiples of 4, and at least 8."""


CROMA = {"size": "small", "tuning": {"mode": "frozen", "weights": "none"}}


def trial(
    seed: int = 0, validation: dict[str, Any] | None = None, model: dict[str, Any] = MODEL, **data: Any
) -> TrialConfig:
    content = {"data": {"dataset": "sample", **data}, "model": model, "seed": seed}
    return TrialConfig.model_validate(content | {"validation": validation or {}})


def ids(split: Split) -> list[int]:
    return [patch.id for patch in split.patches]


def test_the_parts_are_the_folds_and_share_no_patch(generated):
    splits = open_splits(trial(), generated, Role.CONFIRMATION)
    parts = [splits.train, splits.validation, splits.test]
    assert [{patch.fold for patch in part.patches} for part in parts] == [{1, 2, 3}, {4}, {5}]
    assert [len(part) for part in parts] == [24, 8, 8]


def test_a_search_trial_cannot_open_the_test_fold(generated):
    splits = open_splits(trial(), generated, Role.SEARCH)
    with pytest.raises(ClosedTestFold, match="a search trial"):
        _ = splits.test
    assert issubclass(ClosedTestFold, TrialError)


def test_a_tenth_of_the_labels_lies_in_a_half_and_both_in_all(generated):
    tenth, half, all_ = (
        set(ids(open_splits(trial(label_fraction=share), generated, Role.SEARCH).train))
        for share in (0.1, 0.5, 1)
    )
    assert (len(tenth), len(half), len(all_)) == (2, 12, 24)
    assert tenth < half < all_


def test_a_seed_chooses_labels_but_neither_validation_nor_test(generated):
    one, other = (
        open_splits(trial(seed, {"patches": 3}, label_fraction=0.5), generated, Role.CONFIRMATION)
        for seed in (0, 1)
    )
    assert ids(one.train) != ids(other.train)
    assert ids(one.validation) == ids(other.validation)
    assert len(one.validation) == 3
    assert ids(one.test) == ids(other.test)


def test_a_sample_holds_the_chosen_frames_with_their_days_and_all_labels(generated):
    split = open_splits(trial(temporal_length=6), generated, Role.SEARCH).train
    sample, patch = split.sample(5), split.patches[5]
    frames = list(even_frames(patch.days, 6))
    np.testing.assert_array_equal(sample.images_TCHW, np.load(generated.image_path(patch))[frames])
    np.testing.assert_array_equal(sample.target_HW, np.load(generated.target_path(patch))[0])
    assert sample.days_T.tolist() == [patch.days[frame] for frame in frames]
    assert sample.valid_T.tolist() == [True] * 6
    assert (sample.patch_id, sample.days_T.dtype, sample.target_HW.dtype) == (patch.id, np.int64, np.uint8)


def test_labels_of_another_size_than_the_images_are_refused(handmade, save_target):
    folder = handmade.add(1).opened()
    save_target(1, np.zeros((3, 8, 16), np.uint8))
    with pytest.raises(DataError, match=r"TARGET_1.npy: expected the images' size \(8, 8\); got \(8, 16\)"):
        Split(folder, folder.patches, 1).sample(0)


def five_folds(handmade: Any, **patch: Any) -> Any:
    for fold in range(1, 6):
        handmade.add(fold, fold=fold, **patch)
    return handmade


def test_a_folder_that_serves_has_no_problems(generated):
    assert problems_with(trial(temporal_length=40), generated) == []


def test_too_few_dates_are_told_before_training(handmade):
    folder = five_folds(handmade).add(9, fold=4, days=(3, 4)).opened()
    (problem,) = problems_with(trial(temporal_length=3), folder)
    assert str(problem) == (
        "data.temporal_length: expected at most 2, the dates of patch 9; got 3"
        " - or set `data.short_series: pad`"
    )
    assert problems_with(trial(temporal_length=3, short_series="pad"), folder) == []


def test_a_short_series_is_refused_or_padded_as_the_trial_says(handmade):
    folder = five_folds(handmade).opened()
    with pytest.raises(DataError, match=r"at least 5 dates; got a series of 3 .*data\.short_series: pad"):
        open_splits(trial(temporal_length=5), folder, Role.SEARCH).train.sample(0)
    splits = open_splits(trial(temporal_length=5, short_series="pad"), folder, Role.CONFIRMATION)
    for split in (splits.train, splits.validation, splits.test):
        sample = split.sample(0)
        assert sample.valid_T.tolist() == [True, True, True, False, False]
        assert sample.days_T.tolist() == [5, 20, 60, 60, 60]
        assert (sample.images_TCHW[:, 0, 0, 0] % 1000).tolist() == [0, 10, 20, 0, 0]
        assert not sample.images_TCHW[3:].any()


@pytest.mark.parametrize("name", ["utae", "croma frozen", "galileo frozen", "ssl4eo finetuned"])
def test_every_model_sees_through_the_padding_of_a_short_series(handmade, name):
    folder = handmade.add(1, size=(32, 32)).opened()
    (patch,) = folder.patches
    images = np.random.default_rng(0).integers(200, 4000, (3, 10, 32, 32), np.int16)
    np.save(folder.image_path(patch), images)
    torch.manual_seed(0)
    model = build_model(SMALL_MODELS[name], len(folder.class_names)).eval()
    alone, padded = (
        next(evaluation_batches(Split(folder, (patch,), length, pad=True), 1)) for length in (3, 7)
    )
    assert (alone.valid_BT.sum(), padded.valid_BT.sum(), padded.valid_BT.numel()) == (3, 3, 7)
    with torch.no_grad():
        one, other = (
            model(batch.images_BTCHW.float() / 2000 - 1, batch.days_BT, batch.valid_BT)
            for batch in (alone, padded)
        )
    torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


POLICIES = ["even", "last", "calendar", "clear", "random"]


def batches_of(splits: Splits, steps: int = 6, batch_size: int = 2, seed: int = 0, **fields: Any) -> Any:
    """Return what a trial is trained on, and what it is evaluated on."""
    training = training_batches(
        splits.train,
        batch_size=batch_size,
        seed=seed,
        augmentation=Augmentation(**fields),
        first_step=0,
        last_step=steps,
    )
    return list(training), list(evaluation_batches(splits.validation, batch_size))


@pytest.mark.parametrize("length", [5, 20, 59, 61])
@pytest.mark.parametrize("dates", POLICIES)
def test_a_series_of_more_than_fifty_dates_comes_in_order_in_training_and_evaluation(handmade, dates, length):
    chance = np.random.default_rng(length)
    for id in range(5):
        days = tuple(sorted(chance.choice(430, 60, replace=False).tolist()))
        handmade.add(id, fold=id + 1, days=days)
    folder = handmade.opened()
    splits = open_splits(trial(temporal_length=length, dates=dates, short_series="pad"), folder, Role.SEARCH)
    for batch in [each for part in batches_of(splits, drop_dates=0.2) for each in part]:
        for place, id in enumerate(batch.patch_ids):
            valid_T = batch.valid_BT[place]
            days_T, images_TCHW = batch.days_BT[place][valid_T], batch.images_BTCHW[place][valid_T]
            assert (days_T.diff() > 0).all()
            frames = [folder.patches[id].days.index(day) for day in days_T.tolist()]
            assert ((images_TCHW[:, 0, 0, 0] - 1000 * id) // 10).tolist() == frames


def days_of(batches: Any) -> list[tuple[int, ...]]:
    return [tuple(days) for batch in batches for days in batch.days_BT.tolist()]


def test_random_dates_differ_from_place_to_place_in_training_and_are_even_at_evaluation(handmade):
    folder = five_folds(handmade, days=tuple(range(0, 400, 10))).opened()
    config = trial(temporal_length=4, dates="random", folds={"train": [1]})
    splits = open_splits(config, folder, Role.CONFIRMATION)
    training, evaluation = batches_of(splits)
    assert len(set(days_of(training))) == 12, "of one patch, seen twelve times"
    assert days_of(batches_of(splits)[0]) == days_of(training)
    assert days_of(batches_of(splits, seed=1)[0]) != days_of(training)
    fixed = open_splits(trial(temporal_length=4), folder, Role.CONFIRMATION)
    assert days_of(evaluation) == days_of(batches_of(fixed)[1])
    chance = np.random.default_rng(0)  # even where somebody gives one
    assert splits.validation.frames(0, chance) == fixed.validation.frames(0)
    assert splits.test.frames(0, chance) == fixed.test.frames(0)


def test_clear_dates_avoid_the_frames_that_are_bright_in_blue(handmade):
    folder = five_folds(handmade, days=(0, 10, 20, 30, 40, 50)).opened()
    for patch in folder.patches:
        images = np.full((6, 10, 8, 8), 500, np.int16)
        images[[1, 4], 0] = 6000
        images[2, 0, :4] = 6000
        images[3, 1:] = 6000  # bright in every other band
        np.save(folder.image_path(patch), images)
    splits = open_splits(trial(temporal_length=2, dates="clear"), folder, Role.SEARCH)
    assert splits.train.sample(0).days_T.tolist() == [0, 30]


def test_a_search_trial_never_looks_for_clouds_in_the_test_fold(handmade):
    folder = five_folds(handmade).opened()
    folder.image_path(folder.patches[4]).unlink()
    splits = open_splits(trial(temporal_length=2, dates="clear"), folder, Role.SEARCH)
    batches_of(splits)
    with pytest.raises(DataError, match=r"S2_5\.npy"):
        open_splits(trial(temporal_length=2, dates="clear"), folder, Role.CONFIRMATION).test.sample(0)


def test_clear_dates_of_radar_need_the_optical_images(handmade):
    folder = radar_folder(handmade).opened()
    folder.image_path(folder.patches[2]).unlink()
    assert problems_with(radar_trial("croma_sar"), folder) == []
    (problem,) = problems_with(radar_trial("croma_sar", dates="clear"), folder)
    assert "S2_3.npy: expected a file; got none" in problem.got


@dataclass(frozen=True)
class Watched(PastisFolder):
    """Notes which frames are read of it."""

    def stored(self, patch: Any, frames: Any, *rest: Any) -> Any:
        READ.append((patch.id, tuple(frames)))
        return super().stored(patch, frames, *rest)


READ: list[tuple[int, tuple[int, ...]]] = []


@pytest.mark.parametrize("dates", ["even", "last", "calendar", "random"])
def test_no_other_frames_than_the_chosen_are_read(handmade, dates):
    five_folds(handmade, days=tuple(range(0, 400, 10)))
    folder = Watched.open(handmade.written())
    splits = open_splits(trial(temporal_length=4, dates=dates), folder, Role.SEARCH)
    READ.clear()
    batches = [each for part in batches_of(splits) for each in part]
    assert len(READ) == 6 * 2 + 1
    for (id, frames), days in zip(READ, days_of(batches), strict=True):
        assert [folder.patches[id - 1].days[frame] for frame in frames] == list(days)


def test_a_patch_of_no_used_fold_does_not_matter(handmade):
    folder = five_folds(handmade).add(9, fold=3, days=(3,), size=(12, 12)).opened()
    assert problems_with(trial(temporal_length=3, folds={"train": [1, 2]}), folder) == []


def test_a_fold_without_patches_is_told_with_those_that_have_some(handmade):
    folder = handmade.add(1, fold=1).add(4, fold=4).opened()
    problems = problems_with(trial(temporal_length=1), folder)
    assert [(problem.path, problem.expected) for problem in problems] == [
        ("data.folds.train", "folds among [1, 4]"),
        ("data.folds.train", "folds among [1, 4]"),
        ("data.folds.test", "folds among [1, 4]"),
    ]


def test_sides_that_the_model_cannot_halve_often_enough_are_told(handmade):
    folder = five_folds(handmade, size=(10, 10)).opened()
    (problem,) = problems_with(trial(temporal_length=1), folder)
    assert str(problem).startswith("model.name: expected sides that are multiples of 4 pixels; got 10 x 10")


def test_sides_that_are_too_short_for_the_model_are_told(handmade):
    folder = five_folds(handmade, size=(4, 4)).opened()
    (problem,) = problems_with(trial(temporal_length=1), folder)
    assert str(problem).startswith("model.name: expected sides of at least 8 pixels; got 4 x 4")


def test_patches_of_several_sizes_are_told_with_their_counts(handmade):
    folder = five_folds(handmade).add(9, fold=2, size=(16, 16)).opened()
    (problem,) = problems_with(trial(temporal_length=1), folder)
    assert str(problem) == "data.dataset: expected patches of one size; got 8 x 8 (5), 16 x 16 (1)"


def test_patches_that_are_not_square_cannot_be_turned(handmade):
    folder = five_folds(handmade, size=(8, 16)).opened()
    (problem,) = problems_with(trial(temporal_length=1), folder)
    assert problem.path == "data.augmentation.flips_and_rotations"
    assert problems_with(trial(temporal_length=1, augmentation="none"), folder) == []


def test_a_missing_file_is_a_problem_beside_the_others(handmade):
    folder = five_folds(handmade).opened()
    folder.image_path(folder.patches[3]).unlink()
    problems = problems_with(trial(temporal_length=9), folder)
    assert [problem.path for problem in problems] == ["data.temporal_length", "data.dataset"]
    assert "S2_4.npy" in problems[1].got


def radar_trial(name: str, **data: Any) -> TrialConfig:
    return trial(model={"name": name, **CROMA}, **{"dataset": "pastis", "temporal_length": 2, **data})


def radar_folder(handmade: Any) -> Any:
    """Sentinel-2 on days 5, 20 and 60; Sentinel-1 ascending on 3, 9, 50 and 70, descending on 20."""
    folder = five_folds(handmade)
    folder.with_radar("S1A", dict.fromkeys(range(1, 6), (3, 9, 50, 70)))
    return folder.with_radar("S1D", dict.fromkeys(range(1, 6), (20,)))


@pytest.mark.parametrize(("orbit", "frames"), [("ascending", [0, 1, 2]), ("descending", [0, 0, 0])])
def test_each_date_of_both_sensors_has_the_nearest_radar_frame_and_of_two_the_earlier(
    handmade, orbit, frames
):
    folder = radar_folder(handmade).opened()  # day 60 is as near to 50 as to 70
    config = radar_trial("croma_joint", temporal_length=3, orbit=orbit)
    sample = open_splits(config, folder, Role.SEARCH).train.sample(1)
    assert (sample.images_TCHW.shape, sample.images_TCHW.dtype) == ((3, 12, 8, 8), np.int16)
    assert sample.images_TCHW[:, 0, 0, 0].tolist() == [2000, 2010, 2020]
    assert sample.images_TCHW[:, 10, 0, 0].tolist() == [-200 - 50 * frame for frame in frames]
    assert sample.images_TCHW[:, 11, 0, 0].tolist() == [-212 - 50 * frame for frame in frames]
    assert sample.days_T.tolist() == [5, 20, 60]


def test_radar_of_another_size_than_the_optical_images_is_refused(handmade):
    folder = radar_folder(handmade).with_radar("S1A", {1: (3, 9)}, size=(16, 16)).opened()
    with pytest.raises(DataError, match=r"S1A_1.npy: expected the size \(8, 8\) of S2; got \(16, 16\)"):
        open_splits(radar_trial("croma_joint"), folder, Role.SEARCH).train.sample(0)
    (problem,) = problems_with(radar_trial("croma_joint"), folder)
    assert "S1A_1.npy: expected the size" in problem.got


def test_radar_alone_keeps_the_days_of_the_optical_dates_and_never_opens_their_images(handmade):
    folder = radar_folder(handmade).opened()
    shutil.rmtree(folder.root / "DATA_S2")
    config = radar_trial("croma_sar")
    assert problems_with(config, folder) == []
    sample = open_splits(config, folder, Role.SEARCH).validation.sample(0)
    days = [folder.patches[3].days[frame] for frame in even_frames(folder.patches[3].days, 2)]
    assert sample.days_T.tolist() == days == [5, 20]
    assert sample.images_TCHW[:, 0, 0, 0].tolist() == [-400, -450]


def test_an_optical_network_never_opens_radar(handmade):
    folder = radar_folder(handmade).opened()
    for name in ("DATA_S1A", "DATA_S1D"):
        shutil.rmtree(folder.root / name)
    config = radar_trial("croma_optical")
    assert problems_with(config, folder) == []
    assert open_splits(config, folder, Role.SEARCH).train.sample(0).images_TCHW.shape == (2, 10, 8, 8)


@pytest.mark.parametrize("name", ["croma_sar", "croma_joint"])
def test_radar_that_the_metadata_lacks_is_told_before_training(handmade, name):
    folder = five_folds(handmade).with_radar("S1A", dict.fromkeys((1, 2, 4), (3, 9))).opened()
    (problem,) = problems_with(radar_trial(name), folder)
    assert str(problem) == (
        f"data.dataset: expected dates-S1A of every patch in metadata.geojson: {name} sees Sentinel-1;"
        " got none that can be read for 2 of 5, the first 3 - use PASTIS-R, or see `data.orbit`"
    )


def test_a_missing_radar_file_is_told_before_training(handmade):
    folder = radar_folder(handmade).opened()
    folder.image_path(folder.patches[2], S1D).unlink()
    (problem,) = problems_with(radar_trial("croma_joint", orbit="descending"), folder)
    assert "S1D_3.npy: expected a file; got none" in str(problem)
    assert problems_with(radar_trial("croma_joint"), folder) == []


def test_the_generated_sample_has_no_radar(generated):
    (problem,) = problems_with(radar_trial("croma_sar", dataset="sample"), generated)
    assert str(problem) == (
        "data.dataset: expected pastis, with a PASTIS-R folder, for croma_sar;"
        " got sample, which has no Sentinel-1"
    )


def test_real_tiles_give_both_sensors(shared: Path):
    folder = PastisFolder.open(shared / "data" / "flanders")
    config = radar_trial("croma_joint", temporal_length=6)
    assert problems_with(config, folder) == []
    split = open_splits(config, folder, Role.SEARCH).train
    sample, patch = split.sample(0), split.patches[0]
    apart = [min(abs(day - other) for other in patch.days_S1A) for day in sample.days_T]
    assert max(apart) <= 6  # one of Sentinel-1's two satellites passes at least every six days
    stored = np.load(folder.image_path(patch, S1A))[:, :2].astype(np.float32)
    for day, gap, frame in zip(sample.days_T, apart, sample.images_TCHW[:, 10:], strict=True):
        near = [number for number, other in enumerate(patch.days_S1A) if abs(day - other) == gap]
        assert np.abs(stored[near[0]] - frame / 100).max() < 0.0051
    (problem,) = problems_with(radar_trial("croma_joint", orbit="descending"), folder)
    assert "dates-S1D" in problem.expected


def test_real_tiles_serve_up_to_their_shortest_series(shared: Path):
    folder = PastisFolder.open(shared / "data" / "flanders")
    assert problems_with(trial(temporal_length=38), folder) == []
    (problem,) = problems_with(trial(temporal_length=39), folder)
    assert problem.expected == "at most 38, the dates of patch 91000"
