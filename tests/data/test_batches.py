from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from typing import Any

import numpy as np
import pytest
import torch

from shapeft_tune.config.data import Augmentation
from shapeft_tune.data.batches import (
    Batch,
    Samples,
    Stored,
    evaluation_batches,
    prefetched,
    training_batches,
)
from shapeft_tune.data.pastis import PastisFolder
from shapeft_tune.data.splits import Split
from shapeft_tune.errors import DataError

CROPPED = Augmentation(flips_and_rotations=False, crop=5)


@pytest.fixture
def split(handmade) -> Split:
    for id in range(7):
        handmade.add(id)
    folder = handmade.opened()
    return Split(folder, folder.patches, 2)


def stream(
    split: Split, first: int, last: int, seed: int = 0, turned: bool = True, size: int = 3
) -> list[Batch]:
    augmentation = Augmentation(flips_and_rotations=turned)
    return list(
        training_batches(
            split, batch_size=size, seed=seed, augmentation=augmentation, first_step=first, last_step=last
        )
    )


def same(one: Batch, other: Batch) -> bool:
    pairs = ((one.images_BTCHW, other.images_BTCHW), (one.target_BHW, other.target_BHW))
    return one.patch_ids == other.patch_ids and all(torch.equal(*pair) for pair in pairs)


def test_a_batch_holds_integers_as_stored(split):
    (batch,) = stream(split, 0, 1)
    assert (batch.images_BTCHW.shape, batch.images_BTCHW.dtype) == ((3, 2, 10, 8, 8), torch.int16)
    assert (batch.target_BHW.shape, batch.target_BHW.dtype) == ((3, 8, 8), torch.uint8)
    assert (batch.days_BT.dtype, batch.valid_BT.dtype) == (torch.int64, torch.bool)
    assert (batch.images_BTCHW[:, 0, 0, 0, 0] // 1000).tolist() == list(batch.patch_ids)


def test_a_batch_goes_whole_to_another_device(split):
    (batch,) = stream(split, 0, 1)
    there = batch.to("meta")
    assert {
        there.images_BTCHW.device,
        there.days_BT.device,
        there.valid_BT.device,
        there.target_BHW.device,
    } == {torch.device("meta")}
    assert there.patch_ids == batch.patch_ids


@pytest.mark.parametrize("resumed_at", [1, 4, 9])
def test_resuming_at_any_step_gives_the_batches_that_would_have_come(split, resumed_at):
    undisturbed = stream(split, 0, 10)
    resumed = stream(split, resumed_at, 10)
    assert len(resumed) == 10 - resumed_at
    assert all(same(one, other) for one, other in zip(undisturbed[resumed_at:], resumed, strict=True))


def test_every_patch_comes_once_per_epoch_though_batches_span_epochs(split):
    order = [id for batch in stream(split, 0, 14) for id in batch.patch_ids]  # 14 x 3 = 6 x 7
    epochs = [order[first : first + 7] for first in range(0, 42, 7)]
    assert all(sorted(epoch) == list(range(7)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) > 1


def test_one_patch_fills_a_batch_of_many(handmade):
    folder = handmade.add(5).opened()
    (batch,) = stream(Split(folder, folder.patches, 1), 3, 4, size=4)
    assert batch.patch_ids == (5, 5, 5, 5)


def test_another_seed_gives_another_order(split):
    orders = {
        tuple(id for batch in stream(split, 0, 14, seed) for id in batch.patch_ids) for seed in range(3)
    }
    assert len(orders) == 3


def test_without_augmentation_patches_are_as_stored(split):
    for batch in stream(split, 0, 5, turned=False):
        for target_HW, id in zip(batch.target_BHW, batch.patch_ids, strict=True):
            stored = split.folder.target(split.patches[id])
            np.testing.assert_array_equal(target_HW.numpy(), stored)


def test_all_eight_symmetries_occur_about_equally_often(split):
    stored = np.arange(64).reshape(8, 8) % 20
    symmetries = [np.rot90(image, turns) for image in (stored, stored.T) for turns in range(4)]
    seen = Counter(
        next(number for number, symmetry in enumerate(symmetries) if np.array_equal(symmetry, target_HW))
        for batch in stream(split, 0, 100, size=8)
        for target_HW in batch.target_BHW
    )
    assert sorted(seen) == list(range(8))
    assert all(60 < count < 140 for count in seen.values())  # 100 expected, standard deviation 9.4


def test_images_and_labels_are_turned_alike(generated):
    split = Split(generated, generated.in_folds((1,)), 3)
    by_id = {patch.id: split.sample(index) for index, patch in enumerate(split.patches)}
    for batch in stream(split, 0, 4):
        for place, id in enumerate(batch.patch_ids):
            images_TCHW, target_HW = by_id[id].images_TCHW, by_id[id].target_HW
            got = batch.images_BTCHW[place].numpy(), batch.target_BHW[place].numpy()
            fitting = [
                (turns, flip)
                for turns in range(4)
                for flip in (1, -1)
                if np.array_equal(np.rot90(images_TCHW, turns, (-2, -1))[..., ::flip], got[0])
            ]
            ((turns, flip),) = fitting
            np.testing.assert_array_equal(np.rot90(target_HW, turns)[..., ::flip], got[1])


def cropped(split: Split, first: int, last: int, seed: int = 0) -> list[Batch]:
    return list(
        training_batches(
            split, batch_size=3, seed=seed, augmentation=CROPPED, first_step=first, last_step=last
        )
    )


def test_images_and_labels_are_cropped_at_the_same_place(generated):
    """Anywhere in the patch, in all its dates alike."""
    split = Split(generated, generated.in_folds((1,)), 3)
    by_id = {patch.id: split.sample(index) for index, patch in enumerate(split.patches)}
    corners = set()
    for batch in cropped(split, 0, 6):
        assert batch.target_BHW.shape == (3, 5, 5)
        for place, id in enumerate(batch.patch_ids):
            images_TCHW, target_HW = by_id[id].images_TCHW, by_id[id].target_HW
            height, width = target_HW.shape
            fitting = [
                (top, left)
                for top in range(height - 4)
                for left in range(width - 4)
                if np.array_equal(
                    images_TCHW[..., top : top + 5, left : left + 5], batch.images_BTCHW[place].numpy()
                )
            ]
            ((top, left),) = fitting
            expected = target_HW[top : top + 5, left : left + 5]
            np.testing.assert_array_equal(expected, batch.target_BHW[place].numpy())
            corners.add((top, left))
    assert len(corners) > 9  # 18 draws


def test_crops_depend_on_seed_and_step_alone(split):
    undisturbed, resumed = cropped(split, 0, 5), cropped(split, 3, 5)
    assert all(same(one, other) for one, other in zip(undisturbed[3:], resumed, strict=True))
    other = cropped(split, 0, 5, seed=1)
    assert not all(same(one, another) for one, another in zip(undisturbed, other, strict=True))


@pytest.mark.parametrize(("size", "sizes"), [(3, [3, 3, 1]), (7, [7]), (50, [7]), (1, [1] * 7)])
def test_evaluation_sees_every_patch_once_in_order(split, size, sizes):
    batches = list(evaluation_batches(split, size))
    assert [len(batch) for batch in batches] == sizes
    assert [id for batch in batches for id in batch.patch_ids] == list(range(7))


def test_reading_ahead_changes_neither_items_nor_order():
    assert list(prefetched(range(100))) == list(range(100))
    assert list(prefetched([None, None])) == [None, None]
    assert list(prefetched([])) == []


def test_what_goes_wrong_while_reading_ahead_comes_after_the_items_before_it():
    def failing() -> Iterator[int]:
        yield 1
        yield 2
        raise OSError("disk gone")

    got = []
    with pytest.raises(OSError, match="disk gone"):
        got.extend(prefetched(failing()))  # extend keeps what came before
    assert got == [1, 2]


@pytest.mark.parametrize("depth", [1, 2, 5])
def test_the_thread_is_never_more_than_depth_items_ahead(depth):
    made = []

    def counting() -> Iterator[int]:
        for number in range(30):
            made.append(number)
            yield number

    for taken, _ in enumerate(prefetched(counting(), depth), start=1):
        assert len(made) <= taken + depth


def test_a_consumer_that_stops_early_leaves_no_thread():
    before = set(threading.enumerate())
    items = prefetched(iter(int, 1), depth=3)  # endless
    assert list(islice(items, 5)) == [0] * 5
    items.close()
    assert set(threading.enumerate()) <= before


def test_nothing_is_read_before_the_first_item_is_asked_for():
    before = set(threading.enumerate())
    prefetched(iter(int, 1))
    assert set(threading.enumerate()) <= before


EVERYTHING = Augmentation(crop=5, drop_dates=0.5)


def samples_of(batches: list[Batch]) -> list[tuple[Any, ...]]:
    """Return what stands at each place of the stream."""
    return [
        (id, images.numpy().tobytes(), days.tolist(), valid.tolist(), target.numpy().tobytes())
        for batch in batches
        for id, images, days, valid, target in zip(
            batch.patch_ids, batch.images_BTCHW, batch.days_BT, batch.valid_BT, batch.target_BHW, strict=True
        )
    ]


def everything(
    split: Split, first: int, last: int, size: int, samples: Samples | None = None
) -> list[tuple[Any, ...]]:
    return samples_of(
        list(
            training_batches(
                split,
                batch_size=size,
                seed=0,
                augmentation=EVERYTHING,
                first_step=first,
                last_step=last,
                samples=samples,
            )
        )
    )


@pytest.fixture(params=["even", "random"])
def varied(generated, request) -> Split:
    return Split(generated, generated.in_folds((1,)), 4, dates=request.param)


@pytest.mark.parametrize("readers", [1, 2, 4])
def test_one_thread_and_four_read_the_same_batches(varied, readers):
    assert everything(varied, 0, 6, 5, Stored(varied, readers)) == everything(varied, 0, 6, 5)


def test_threads_that_read_end_in_any_order_and_the_batch_keeps_its_own(varied, monkeypatch):
    sample, chance = Split.sample, np.random.default_rng(0)

    def late(self: Split, *arguments: Any) -> Any:
        time.sleep(chance.uniform(0, 0.004))
        return sample(self, *arguments)

    expected = everything(varied, 0, 4, 6)
    monkeypatch.setattr(Split, "sample", late)
    assert everything(varied, 0, 4, 6, Stored(varied, 4)) == expected


def test_what_goes_wrong_in_a_thread_that_reads_is_told_as_it_is(split):
    split.folder.target_path(split.patches[3]).unlink()
    with pytest.raises(DataError, match=r"TARGET_3.npy: expected a file; got none"):
        everything(split, 0, 3, 4, Stored(split, 4))


def test_a_sample_depends_on_its_place_alone_however_the_stream_is_cut_into_batches(varied):
    expected = everything(varied, 0, 12, 2)
    assert everything(varied, 0, 4, 6) == expected
    assert everything(varied, 0, 24, 1) == expected


@pytest.mark.parametrize("resumed_at", [1, 5])
def test_a_resumed_stream_is_augmented_as_it_would_have_been(varied, resumed_at):
    assert everything(varied, resumed_at, 8, 3) == everything(varied, 0, 8, 3)[3 * resumed_at :]


def test_a_patch_is_augmented_otherwise_each_time_it_comes(generated):
    split = Split(generated, generated.patches[:1], 4)
    assert len(set(map(str, everything(split, 0, 12, 1)))) == 12


def test_dates_are_dropped_as_often_as_asked_and_one_always_stays(generated):
    split, drop = Split(generated, generated.patches[:5], 4), 0.7
    counts = np.array([sum(valid) for _, _, _, valid, _ in dropped(split, drop, 100)])
    assert counts.min() == 1
    expected = 4 * (1 - drop) + drop**4  # and the one that stays where all would go
    assert abs(counts.mean() - expected) < 4 * counts.std() / np.sqrt(len(counts))


def dropped(split: Split, drop: float, steps: int) -> list[tuple[Any, ...]]:
    augmentation = Augmentation(flips_and_rotations=False, drop_dates=drop)
    return samples_of(
        list(
            training_batches(
                split, batch_size=5, seed=1, augmentation=augmentation, first_step=0, last_step=steps
            )
        )
    )


def test_any_date_may_be_dropped_and_the_others_keep_their_order(generated):
    split = Split(generated, generated.patches[:5], 4)
    days_of = {patch.id: [patch.days[f] for f in split.frames(i)] for i, patch in enumerate(split.patches)}
    kept: Counter[int] = Counter()
    for id, _, days_T, valid_T, _ in dropped(split, 0.5, 100):
        seen = [day for day, valid in zip(days_T, valid_T, strict=True) if valid]
        assert seen == sorted(set(seen) & set(days_of[id]))
        kept.update(days_of[id].index(day) for day in seen)
    assert all(abs(kept[place] - 265) < 60 for place in range(4))  # of 500: 250, and a share of those left


def test_what_is_dropped_or_cropped_away_is_not_read(generated, monkeypatch):
    asked: list[tuple[int, Any]] = []
    stored = PastisFolder.stored

    def noted(self: PastisFolder, patch: Any, frames: Any, source: Any, window: Any, *rest: Any) -> Any:
        asked.append((len(frames), window))
        return stored(self, patch, frames, source, window, *rest)

    monkeypatch.setattr(PastisFolder, "stored", noted)
    samples = everything(Split(generated, generated.in_folds((1,)), 4), 0, 6, 4)
    assert [frames for frames, _ in asked] == [sum(valid) for _, _, _, valid, _ in samples]
    assert len({frames for frames, _ in asked}) > 1
    assert all(side.stop - side.start == 5 for _, window in asked for side in window)


def test_batches_are_contiguous_however_their_images_are_turned(generated):
    """Copied once, here; not again by whatever the model does first."""
    split = Split(generated, generated.in_folds((1,)), 3)
    assert all(batch.images_BTCHW.is_contiguous() for batch in stream(split, 0, 20, size=1))
