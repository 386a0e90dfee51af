from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shapeft_tune.data import npy
from shapeft_tune.data.npy import ArrayFile

SHAPE = (5, 3, 6, 7)
ALL = slice(None)


def written(path: Path, dtype: str = "<i2", order: str = "C", version: tuple[int, int] = (1, 0)) -> Path:
    series_TCHW = np.arange(np.prod(SHAPE)).reshape(SHAPE).astype(dtype)
    with path.open("wb") as file:
        np.lib.format.write_array(file, np.asarray(series_TCHW, order=order), version)  # type: ignore[call-overload]
    return path


@pytest.fixture(params=["<i2", ">i2", "<f2", "|u1"])
def path(tmp_path, request) -> Path:
    return written(tmp_path / "series.npy", request.param)


slices = st.builds(
    slice, st.none() | st.integers(-8, 8), st.none() | st.integers(-8, 8), st.none() | st.just(2)
)
frames = st.lists(st.integers(-5, 4), max_size=6)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(frames, slices, st.just((ALL, ALL)) | st.tuples(slices, slices))
def test_a_part_is_what_an_index_of_the_whole_array_gives(path, frames, channels, window):
    expected = np.load(path)[frames][(ALL, channels, *window)]
    np.testing.assert_array_equal(ArrayFile.open(path).part(frames, channels, window), expected, strict=True)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("version", [(1, 0), (2, 0)])
def test_any_order_and_version_is_read(tmp_path, order, version):
    path = written(tmp_path / "series.npy", "<i2", order, version)
    series = ArrayFile.open(path)
    whole = np.load(path)
    np.testing.assert_array_equal(series.part((4, 0), slice(1, 3), (ALL, ALL)), whole[[4, 0], 1:3])
    np.testing.assert_array_equal(series.plane(), whole[0, 0])
    np.testing.assert_array_equal(series.mapped(), whole)


def test_a_header_longer_than_usual_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(npy, "USUAL_HEADER", 40)
    series = ArrayFile.open(written(tmp_path / "series.npy"))
    assert (series.shape, series.start) == (SHAPE, 128)


def test_one_image_costs_its_own_bytes_alone(path, monkeypatch):
    read = []
    fill = npy._fill

    def noted(array, file):
        read.append((array.nbytes, file.tell()))
        fill(array, file)

    monkeypatch.setattr(npy, "_fill", noted)
    series = ArrayFile.open(path)
    series.part((3,), slice(1, 2), (ALL, ALL))
    plane = 6 * 7 * series.dtype.itemsize
    assert read == [(plane, 128 + (3 * 3 + 1) * plane)]


@pytest.mark.parametrize("kept", [0, 4, 60, 128, 130, -1])
def test_a_file_cut_short_is_no_array(path, kept):
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(ValueError, match=r"."):
        ArrayFile.open(path)


def test_a_file_that_is_cut_while_it_is_open_is_no_array(path):
    series = ArrayFile.open(path)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match="became shorter"):
        series.part((4,), ALL, (ALL, ALL))


def test_objects_are_refused(tmp_path):
    np.save(tmp_path / "objects.npy", np.array([{}, {}], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match="Python objects"):
        ArrayFile.open(tmp_path / "objects.npy")


def test_a_frame_that_is_not_there_is_an_error_and_not_the_bytes_of_another(path):
    with pytest.raises(IndexError):
        ArrayFile.open(path).part((5,), ALL, (ALL, ALL))
