from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shapeft_tune.config.data import SampleDataset
from shapeft_tune.data import clouds, sample
from shapeft_tune.data.clouds import BLUE, CLOUD_BLUE, CLOUDY, cloud_shares, cloud_shares_of
from shapeft_tune.data.folder import ALL_BANDS, WHOLE, Patch, Window
from shapeft_tune.data.pastis import PastisFolder
from shapeft_tune.data.sources import S2, Source


@dataclass(frozen=True)
class Watched(PastisFolder):
    """Notes what is read of it."""

    def stored(
        self,
        patch: Patch,
        frames: Sequence[int],
        source: Source = S2,
        window: Window = WHOLE,
        bands: slice = ALL_BANDS,
    ) -> Any:
        stored_TCHW = super().stored(patch, frames, source, window, bands)
        READ.append((patch.id, tuple(frames), stored_TCHW.shape))
        return stored_TCHW


READ: list[tuple[int, tuple[int, ...], tuple[int, ...]]] = []


@pytest.fixture
def watched(handmade) -> Watched:
    """Frames f of patch p have a blue reflectance of 1000 p + 10 f everywhere."""
    handmade.add(1, fold=1).add(2, fold=1, days=(3, 4)).add(3, fold=2)
    READ.clear()
    return Watched.open(handmade.written())


def test_the_share_counts_pixels_above_the_threshold():
    blue_THW = np.full((3, 2, 4), CLOUD_BLUE, np.int16)
    blue_THW[1, 0, :3] += 1
    blue_THW[2] = np.iinfo(np.int16).max
    shares_T = cloud_shares(blue_THW)
    assert (shares_T.tolist(), shares_T.dtype) == ([0, 3 / 8, 1], np.float64)


def test_the_band_is_blue(handmade):
    folder = handmade.add(1).opened()
    blue_TCHW = folder.images(folder.patches[0], (2, 0), bands=BLUE)
    np.testing.assert_array_equal(blue_TCHW, np.load(folder.image_path(folder.patches[0]))[[2, 0], :1])


def test_every_frame_of_the_asked_patches_has_a_share(watched):
    assert cloud_shares_of(watched, watched.patches[1:]) == {2: (0, 1), 3: (1, 1, 1)}


def test_blue_alone_is_read_and_one_frame_at_a_time(watched):
    cloud_shares_of(watched, watched.patches[:2])
    assert {shape for _, _, shape in READ} == {(1, 1, 8, 8)}
    assert sorted((id, frames) for id, frames, _ in READ) == [
        (1, (0,)),
        (1, (1,)),
        (1, (2,)),
        (2, (0,)),
        (2, (1,)),
    ]


def test_shares_are_counted_once_per_fold_and_again_after_a_file_changed(watched, tmp_path):
    folder = replace(watched, facts=tmp_path / "facts")
    first = cloud_shares_of(folder, folder.patches[:1])
    assert {id for id, _, _ in READ} == {1, 2}, "the fold's other patches, not those of other folds"
    READ.clear()
    assert cloud_shares_of(folder, folder.patches[:2]) == {**first, 2: (0, 1)}
    assert READ == []
    np.save(folder.image_path(folder.patches[0]), np.full((3, 10, 8, 8), 5000, np.int16))
    assert cloud_shares_of(folder, folder.patches[:1]) == {1: (1, 1, 1)}


def test_another_threshold_is_another_fact(watched, tmp_path, monkeypatch):
    folder = replace(watched, facts=tmp_path / "facts")
    cloud_shares_of(folder, folder.patches)
    monkeypatch.setattr(clouds, "CLOUD_BLUE", 1015)
    assert cloud_shares_of(folder, folder.patches[:1]) == {1: (0, 0, 1)}


@pytest.mark.parametrize(
    ("sky", "least", "most"), [(-9.0, 0, 0.01), (-0.4, 0.2, 0.4), (0.4, 0.5, 0.8), (9.0, 1, 1)]
)
def test_generated_skies_are_as_cloudy_as_they_were_made(tmp_path, monkeypatch, sky, least, most):
    monkeypatch.setattr(sample, "SKIES", {sky: 1.0})
    sample.generate_sample(SampleDataset(patches=5), tmp_path)
    folder = PastisFolder.open(tmp_path)
    shares = [share for shares in cloud_shares_of(folder, folder.patches).values() for share in shares]
    assert least <= np.mean(shares) <= most


def cloudy_days(root: Path) -> set[tuple[int, int]]:
    folder = PastisFolder.open(root)
    shares = cloud_shares_of(folder, folder.patches)
    return {
        (patch.id, day)
        for patch in folder.patches
        for day, share in zip(patch.days, shares[patch.id], strict=True)
        if share > CLOUDY
    }


def test_real_frames_are_called_cloudy_where_one_sees_clouds(shared: Path):
    seen = {(90002, 347), (91002, 62), (91002, 237), (91003, 112), (91003, 237)}  # of 372 frames
    assert cloudy_days(shared / "data" / "flanders") == seen


def test_real_frames_of_pastis_are_called_cloudy_where_one_sees_clouds(shared: Path):
    if not (root := shared / "data" / "pastis_mini").is_dir():
        pytest.skip(f"{root} is missing")
    assert cloudy_days(root) == {(10477, 23), (20534, 16), (30012, 29)}  # of 27 frames
