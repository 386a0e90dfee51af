from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from shapeft_tune.config.data import Augmentation
from shapeft_tune.data import resident
from shapeft_tune.data.batches import Batch, Samples, Stored, evaluation_batches, training_batches
from shapeft_tune.data.cache import Cache, CachedFolder
from shapeft_tune.data.resident import Resident, bytes_of, samples_on
from shapeft_tune.data.sources import S1A, S2
from shapeft_tune.data.splits import Split

AUGMENTATIONS = (
    Augmentation(flips_and_rotations=False),
    Augmentation(),
    Augmentation(crop=5),
    Augmentation(drop_dates=0.5),
    Augmentation(crop=9, drop_dates=0.3),
)
CUDA = torch.device("cuda")


@pytest.fixture
def split(generated) -> Split:
    return Split(generated, generated.in_folds((1,)), 4)


def batches(split: Split, augmentation: Augmentation, samples: Samples | None, steps: int = 8) -> list[Batch]:
    return list(
        training_batches(
            split,
            batch_size=3,
            seed=0,
            augmentation=augmentation,
            first_step=0,
            last_step=steps,
            samples=samples,
        )
    )


def assert_same(ones: list[Batch], others: list[Batch]) -> None:
    for one, other in zip(ones, others, strict=True):
        assert one.patch_ids == other.patch_ids
        for name in ("images_BTCHW", "days_BT", "valid_BT", "target_BHW"):
            got, expected = getattr(one, name), getattr(other, name)
            assert got.dtype == expected.dtype
            assert torch.equal(got, expected), name


@pytest.mark.parametrize("augmentation", AUGMENTATIONS, ids=str)
@pytest.mark.parametrize("dates", ["even", "last", "random"])
def test_batches_put_together_on_the_device_are_those_of_the_files(split, augmentation, dates):
    """The second time too, when nothing is read any more."""
    split = replace(split, dates=dates)
    stayed = Resident(split, "cpu")
    for _ in range(2):
        assert_same(batches(split, augmentation, stayed), batches(split, augmentation, None))


def test_radar_and_padding_are_on_the_device_as_in_the_files(handmade):
    for id in range(4):
        handmade.add(id, days=(5, 20, 60)[: 2 + id % 2])
    folder = handmade.with_radar("S1A", dict.fromkeys(range(4), (6, 70))).opened()
    split = Split(folder, folder.patches, 5, (S2, S1A), pad=True)
    for augmentation in AUGMENTATIONS[:4]:
        assert_same(batches(split, augmentation, Resident(split, "cpu")), batches(split, augmentation, None))


def test_an_evaluation_sees_the_same_too(split):
    stayed = Resident(split, "cpu")
    for size in (3, 50):
        assert_same(list(evaluation_batches(split, size, stayed)), list(evaluation_batches(split, size)))


def test_each_patch_is_read_once(split, monkeypatch):
    read: list[int] = []
    sample = Split.sample

    def noted(self: Split, index: int, *arguments: object) -> object:
        read.append(index)
        return sample(self, index, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Split, "sample", noted)
    batches(split, Augmentation(crop=5, drop_dates=0.3), Resident(split, "cpu"), steps=20)
    assert sorted(read) == list(range(len(split)))


@pytest.mark.parametrize("dates", ["even", "random"])
def test_what_a_split_takes_is_known_before(split, dates):
    split = replace(split, dates=dates)
    stayed = Resident(split, "cpu")
    batches(split, Augmentation(), stayed)
    tensors = [t for patch in stayed._patches.values() for t in (patch.images_TCHW, patch.target_HW)]
    assert sum(tensor.nbytes for tensor in tensors) == bytes_of(split)


def test_it_stays_on_a_gpu_where_it_fits_and_nowhere_else(split, monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (64 * bytes_of(split), 10**12))
    monkeypatch.setattr(torch.cuda, "get_per_process_memory_fraction", lambda device: 1.0)
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 0)
    assert isinstance(samples_on(CUDA, split), Resident)
    assert isinstance(samples_on(torch.device("cpu"), split), Stored)
    assert isinstance(samples_on(CUDA, replace(split, temporal_length=20)), Stored)
    with monkeypatch.context() as shared:  # a trial that has next to nothing of the GPU
        shared.setattr(torch.cuda, "get_per_process_memory_fraction", lambda device: 1e-12)
        assert isinstance(samples_on(CUDA, split), Stored)
    monkeypatch.setattr(resident, "MOST_BYTES", bytes_of(split) - 1)
    assert isinstance(samples_on(CUDA, split), Stored)


def test_several_read_at_once_where_the_disk_is_slow(split, tmp_path):
    cached = replace(split, folder=CachedFolder.around(split.folder, Cache(tmp_path, 10**9)))
    assert samples_on(torch.device("cpu"), split)._pool is None
    assert samples_on(torch.device("cpu"), cached)._pool is not None


def test_frames_of_zeros_are_padding_and_not_the_images_of_another(split):
    few = replace(split, temporal_length=50, pad=True)
    (batch,) = batches(few, Augmentation(drop_dates=0.9), Resident(few, "cpu"), steps=1)
    for images_TCHW, valid_T in zip(batch.images_BTCHW.numpy(), batch.valid_BT.numpy(), strict=True):
        assert not images_TCHW[~valid_T].any()
        assert np.all([image.any() for image in images_TCHW[valid_T]])
