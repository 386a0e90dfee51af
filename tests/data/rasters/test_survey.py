"""What a look at every file finds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from rasterio.transform import from_origin

from shapeft_tune.data.rasters.geotiff import Grid
from shapeft_tune.errors import DataError
from tests.data.rasters.own_rasters import BANDS, DATES, SIDE, OwnRasters


@pytest.fixture
def own(tmp_path: Path) -> OwnRasters:
    return OwnRasters(tmp_path).with_images()


def fault_of(own: OwnRasters) -> str:
    with pytest.raises(DataError) as caught:
        own.opened()
    _, fault = str(caught.value).split("\n  ")
    return fault


@pytest.mark.parametrize("dtype", ["complex64", "complex128", "complex_int16"])
def test_complex_images_are_refused(own, dtype):
    stored = np.ones((len(BANDS), SIDE, SIDE), dtype=np.complex64)
    own.write_image("a", stored=stored, dtype=dtype)
    assert f"images/a/20190305.tif: expected whole or floating-point numbers; got {dtype}" in fault_of(own)


def test_complex_labels_that_numpy_does_not_know_are_refused(own):
    own.write_label("a", np.ones((SIDE, SIDE), dtype=np.complex64), dtype="complex_int16", nodata=None)
    assert "labels/a.tif: expected one band of whole numbers; got 1 of complex_int16" in fault_of(own)


def test_blocks_too_few_are_a_fault_of_the_yaml_file(own):
    with pytest.raises(DataError) as caught:
        own.set(folds={"blocks_metres": 1e6}).opened()
    assert str(caught.value).startswith(f"{own.root / 'rasters.yaml'}: folds.blocks_metres: expected blocks")


@pytest.mark.parametrize("crs", ["EPSG:32631", "EPSG:32650", "EPSG:4326"])
def test_images_beside_their_labels_are_told_from_nodata(own, crs):
    elsewhere = from_origin(3.5, 10.0, 0.001, 0.001) if crs == "EPSG:4326" else from_origin(0, 0, 10, 10)
    for day in DATES:
        own.write_image("a", day, crs=crs, transform=elsewhere)
    fault = fault_of(own.set(resample="nearest"))
    assert "20190305.tif: expected a date with values; 3 of 3 images do not overlap their labels" in fault
    assert "nodata in all" not in fault


def test_images_of_nothing_but_nodata_are_told_from_those_beside(own):
    stored = np.full((len(BANDS), SIDE, SIDE), -1, dtype=np.int16)
    for day in DATES:
        own.write_image("a", day, stored=stored, nodata=-1)
    assert fault_of(own).endswith("expected a date with values; got nodata in all 3")


def test_grids_overlap_where_they_share_land():
    crs = None
    here = Grid(crs, from_origin(0, 100, 10, 10), 10, 10)
    for left, shared in ((50, True), (99, True), (100, False), (-100, False), (-99, True)):
        assert here.overlaps(Grid(crs, from_origin(left, 100, 10, 10), 10, 10)) == shared


def test_labels_that_cannot_be_read_are_named_by_the_digest(own):
    folder = own.opened()
    own.label("b").unlink()
    with pytest.raises(DataError, match=r"labels/b\.tif"):
        folder.digest()


def test_a_comment_in_the_yaml_changes_neither_facts_nor_digest(own):
    before = own.opened(own.root / "facts")
    with (own.root / "rasters.yaml").open("a") as file:
        file.write("# checked by hand\n")
    after = type(before).open(own.root, own.root / "facts")
    assert (after.facts, after.digest()) == (before.facts, before.digest())
