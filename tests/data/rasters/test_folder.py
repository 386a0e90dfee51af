"""GeoTIFFs of one's own: what is read is what was written, and every mistake names its file.

Legend: T frames, C bands, H and W pixels.
"""

from __future__ import annotations

import gc
import itertools
import json
import sys
from datetime import date, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from rasterio.transform import from_origin

from shapeft_tune.config import TrialConfig
from shapeft_tune.config.bands import S2_BANDS
from shapeft_tune.config.data import RastersDataset
from shapeft_tune.config.merge import with_values
from shapeft_tune.config.protocol import Role
from shapeft_tune.data import class_pixels_of, open_splits, problems_with
from shapeft_tune.data.datasets import open_dataset
from shapeft_tune.data.rasters.folder import Frame, RasterFolder
from shapeft_tune.data.rasters.survey import Surveyed
from shapeft_tune.data.sources import S1A, S2
from shapeft_tune.errors import ConfigError, DataError
from tests.data.rasters.own_rasters import BANDS, DATES, SIDE, OwnRasters, labels, values, write_raster
from tests.train.tiny import TINY

WINDOW = (slice(3, 9), slice(5, 15))


@pytest.fixture
def own(tmp_path: Path) -> OwnRasters:
    root = tmp_path / "rasters"
    root.mkdir()
    return OwnRasters(root).with_images()


def expected(patch: int, frames: tuple[int, ...] = (0, 1, 2)) -> Any:
    return np.stack([[values(patch, frame, band) for band in S2_BANDS] for frame in frames])


def faults_of(own: OwnRasters) -> list[str]:
    with pytest.raises(DataError) as caught:
        own.opened()
    return str(caught.value).split("\n  ")[1:]


def series_of(folder: RasterFolder, number: int = 0) -> Any:
    patch = folder.patches[number]
    return folder.images(patch, range(len(patch.days)))


def test_bands_come_in_the_project_s_order_and_others_are_left_out(own):
    folder = own.opened()
    assert folder.shape(folder.patches[1]) == (3, 10, SIDE, SIDE)
    images_TCHW = folder.images(folder.patches[1], (2, 0))
    assert images_TCHW.dtype == np.int16
    np.testing.assert_array_equal(images_TCHW, expected(1, (2, 0)))


def test_a_window_and_a_part_of_the_bands_are_the_same_part_of_the_whole(own):
    folder = own.opened()
    patch = folder.patches[2]
    part = folder.images(patch, (1,), window=WINDOW, bands=slice(2, 6, 3))
    np.testing.assert_array_equal(part, expected(2, (1,))[:, 2:6:3, *WINDOW])
    np.testing.assert_array_equal(folder.target(patch, WINDOW), folder.target(patch)[WINDOW])


def test_only_the_frames_asked_for_are_opened(own):
    folder = own.opened()
    own.image("a", DATES[1]).unlink()
    assert folder.images(folder.patches[0], (0, 2)).shape[0] == 2
    with pytest.raises(DataError, match=r"20190404\.tif: expected a whole GeoTIFF; got none"):
        folder.images(folder.patches[0], (1,))


def test_the_files_of_some_frames_are_named_each_once(own, tmp_path):
    folder = own.opened()
    files = [own.image("b", day) for day in DATES]
    patch = folder.patches[1]
    assert folder.image_paths(patch) == tuple(files)
    assert folder.image_paths(patch, S2, (2, 0, 2)) == (files[2], files[0])
    (tmp_path / "stacks").mkdir()
    stacks = OwnRasters(tmp_path / "stacks").with_stacks()
    assert stacks.opened().image_paths(patch, S2, (0, 2)) == (stacks.root / "series" / "b.tif",)


def memory_of(*roots: Any) -> int:
    """Return the bytes of all objects that are reached from these, types and modules left out."""
    seen: dict[int, Any] = {}
    waiting = list(roots)
    while waiting:
        each = waiting.pop()
        if id(each) not in seen and not isinstance(each, type | ModuleType):
            seen[id(each)] = each
            waiting += gc.get_referents(each)
    return sum(map(sys.getsizeof, seen.values()))


def test_an_opened_folder_keeps_no_more_than_its_files_names_of_each_date(tmp_path, monkeypatch):
    """Every process of a sweep has it: 2433 patches of 61 dates must not take 50 MB in each."""

    def as_listed(listed: Any, *_: Any) -> list[Surveyed]:
        return [
            Surveyed(
                [(place, 0, day.isoformat()) for place, (_, day) in enumerate(patch.images)],
                empty=0,
                resampled=0,
                size=(SIDE, SIDE),
                block="",
            )
            for patch in listed
        ]

    monkeypatch.setattr("shapeft_tune.data.rasters.folder.survey", as_listed)
    own = OwnRasters(tmp_path)
    sizes = []
    for dates in (10, 60):
        for name, frame in itertools.product(own.patches, range(dates)):
            for path in (own.label(name), own.image(name, DATES[0] + timedelta(days=6 * frame))):
                path.parent.mkdir(parents=True, exist_ok=True)
                path.touch()
        folder = own.opened()
        assert [len(patch.days) for patch in folder.patches] == [dates] * 5
        sizes.append(memory_of(folder.series, folder.patches))
    every_patch = 50 * len(own.patches) * len("images/a/20190305.tif?")
    once = 50 * (sys.getsizeof(Frame(0, 0)) + 2 * sys.getsizeof(1000) + 3 * 8)
    assert sizes[1] - sizes[0] <= every_patch + once


def test_labels_become_classes_in_the_yaml_s_order_with_void_and_nodata_last(own):
    folder = own.opened()
    assert (folder.class_names, folder.void) == (("grass", "wheat, soft", "beet"), 3)
    number = {10: 0, 20: 1, 40: 2, 99: 3, 255: 3}
    np.testing.assert_array_equal(folder.target(folder.patches[3]), np.vectorize(number.get)(labels(3)))


def test_a_class_that_the_file_calls_nodata_stays_a_class(own):
    own.write_label("a", nodata=10)
    own.set(void=[99, 255])
    folder = own.opened()
    assert np.all(folder.target(folder.patches[0])[labels(0) == 10] == 0)


def test_patches_are_numbered_by_name_with_days_since_the_last_first_of_september(own):
    folder = own.opened()
    assert [(patch.id, patch.fold) for patch in folder.patches] == [(n, n + 1) for n in range(5)]
    assert folder.season_start == date(2018, 9, 1)
    assert folder.patches[0].days == tuple((day - date(2018, 9, 1)).days for day in DATES)


@pytest.mark.parametrize("earliest", ["20180901", "2018-09-01"])
def test_a_season_that_begins_on_a_first_of_september_begins_that_day(own, earliest):
    own.image("a").rename(own.root / "images" / "a" / f"{earliest}.tif")
    assert own.opened().patches[0].days[0] == 0


def test_a_season_start_of_one_s_own_counts_and_must_not_be_too_late(own):
    assert own.set(season_start=date(2017, 9, 1)).opened().patches[0].days[0] == 365 + 185
    with pytest.raises(DataError, match=r"season_start: .*earliest date, 2019-03-05; got 2019-09-01"):
        own.set(season_start=date(2019, 9, 1)).opened()


def test_scale_and_offset_give_reflectance_times_10000(own):
    images_TCHW = series_of(own.set(scale=0.5, offset=-1000).opened())
    np.testing.assert_array_equal(images_TCHW, np.rint(expected(0) * 0.5 - 1000))


def test_reflectance_as_fractions_and_beyond_int16_is_rounded_and_clipped(own):
    stored = np.full((len(BANDS), SIDE, SIDE), 0.12344, dtype=np.float32)
    stored[:, 0, 0] = 9.0
    own.write_image("a", stored=stored)
    frame_CHW = series_of(own.set(scale=10_000).opened())[0]
    assert (frame_CHW[0, 0, 0], frame_CHW[0, 5, 5]) == (32_767, 1234)


@pytest.mark.parametrize("declared", ["in the file", "in the YAML", "as NaN"])
def test_nodata_becomes_0_after_scaling(own, declared):
    stored = np.full((len(BANDS), SIDE, SIDE), 500, dtype=np.float32)
    stored[3, 2:4] = np.nan if declared == "as NaN" else -9999
    own.write_image("a", stored=stored, nodata=-9999 if declared == "in the file" else None)
    if declared == "in the YAML":
        own.set(nodata=-9999)
    frame_CHW = series_of(own.set(offset=-1000).opened())[0]
    band = S2_BANDS.index(BANDS[3])
    assert np.all(frame_CHW[band, 2:4] == 0)
    assert np.count_nonzero(frame_CHW != -500) == 2 * SIDE


def test_a_date_of_nothing_but_nodata_is_left_out(own):
    stored = np.full((len(BANDS), SIDE, SIDE), -9999, dtype=np.int16)
    own.write_image("b", DATES[1], stored=stored, nodata=-9999)
    folder = own.opened()
    assert (folder.empty, [len(patch.days) for patch in folder.patches]) == (1, [3, 2, 3, 3, 3])
    np.testing.assert_array_equal(series_of(folder, 1), expected(1, (0, 2)))
    assert folder.told == ("1 dates of all patches are nothing but nodata and are left out.",)


def test_a_date_with_a_value_in_one_band_alone_is_kept(own):
    stored = np.full((len(BANDS), SIDE, SIDE), -9999, dtype=np.int16)
    stored[BANDS.index("B12"), 7, 7] = 5
    own.write_image("b", DATES[1], stored=stored, nodata=-9999)
    assert len(own.opened().patches[1].days) == 3


def test_stacks_are_read_like_single_files(tmp_path):
    own = OwnRasters(tmp_path).with_stacks()
    folder = own.opened()
    assert folder.patches[4].days == tuple((day - date(2018, 9, 1)).days for day in DATES)
    np.testing.assert_array_equal(folder.images(folder.patches[4], (2, 1)), expected(4, (2, 1)))


def test_a_stack_s_dates_are_put_in_order(tmp_path):
    own = OwnRasters(tmp_path).with_stacks()
    own.write_stack("a", days=(DATES[2], DATES[0], DATES[1]))
    np.testing.assert_array_equal(series_of(own.opened()), expected(0))


ROWS = [{"patch": name, "fold": 5 - n, "dates": " ".join(map(str, DATES))} for n, name in enumerate("abcd")]


def test_an_index_gives_patches_folds_and_a_stack_s_dates(tmp_path):
    own = OwnRasters(tmp_path).with_stacks()
    for name in own.patches:
        own.write_stack(name, descriptions=())
    folder = own.with_index(ROWS).opened()
    assert [(patch.id, patch.fold) for patch in folder.patches] == [(0, 5), (1, 4), (2, 3), (3, 2)]
    np.testing.assert_array_equal(series_of(folder, 3), expected(3))


def test_a_geojson_index_says_the_same_as_a_csv_one(tmp_path):
    own = OwnRasters(tmp_path).with_stacks()
    by_csv = own.with_index(ROWS).opened().patches
    features = [
        {
            "type": "Feature",
            "geometry": None,
            "properties": row | {"dates": [f"{day:%Y%m%d}" for day in DATES]},
        }
        for row in ROWS
    ]
    (own.root / "patches.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    assert own.set(index="patches.geojson").opened().patches == by_csv


def test_an_index_may_name_each_patch_s_files(own):
    (own.root / "labels" / "c.tif").rename(own.root / "third.tif")
    rows = [
        {"patch": "first", "fold": 1, "images": "images/a/{date}.tif", "labels": "labels/a.tif"},
        {"patch": "third", "fold": 2, "images": "images/c/{date}.tif", "labels": "{patch}.tif"},
    ]
    folder = own.with_index(rows, "patch,fold,images,labels").set(images=None, labels=None).opened()
    assert [series.name for series in folder.series] == ["first", "third"]
    np.testing.assert_array_equal(series_of(folder, 1), expected(2))
    np.testing.assert_array_equal(
        folder.target(folder.patches[0]), np.where(labels(0) > 40, 3, labels(0) // 20)
    )


def test_a_pattern_finds_dates_inside_the_names_of_products(own):
    for name in own.patches:
        for day in DATES:
            own.image(name, day).rename(own.root / f"S2A_MSIL2A_{day:%Y%m%d}T105021_{name}.tif")
    folder = own.set(images="S2?_MSIL2A_{date}T*_{patch}.tif".replace("?", "*")).opened()
    np.testing.assert_array_equal(series_of(folder, 1), expected(1))


def coarse(own: OwnRasters, name: str) -> None:
    """Write a first image of 20 m pixels, which cover the patch."""
    stored = np.arange(len(BANDS) * 64, dtype=np.int16).reshape(len(BANDS), 8, 8)
    transform = own.transform(name)
    twice = from_origin(transform.c, transform.f, 20, 20)
    own.write_image(name, stored=stored, transform=twice)


def test_images_of_another_resolution_are_resampled_only_when_that_is_said(own):
    coarse(own, "a")
    (fault,) = faults_of(own)
    assert "images/a/20190305.tif: expected the grid of its labels" in fault
    assert "16 x 16 px of 10 x 10" in fault
    assert "8 x 8 px of 20 x 20" in fault
    folder = own.set(resample="nearest").opened()
    assert folder.resampled == 1
    assert "1 images lie on another grid" in folder.told[0]
    band = BANDS.index("B2")
    stored = np.arange(band * 64, band * 64 + 64).reshape(8, 8)
    np.testing.assert_array_equal(series_of(folder)[0, 0], stored.repeat(2, 0).repeat(2, 1))


def test_a_window_of_a_resampled_image_is_a_part_of_the_whole(own):
    coarse(own, "a")
    folder = own.set(resample="bilinear").opened()
    part = folder.images(folder.patches[0], (0,), window=WINDOW)
    np.testing.assert_array_equal(part, series_of(folder)[:1, :, *WINDOW])


def test_what_a_resampled_image_does_not_cover_is_nodata(own):
    transform = from_origin(own.transform("a").c + 80, own.transform("a").f, 10, 10)
    own.write_image("a", transform=transform)
    own.write_image("b", transform=from_origin(0, 0, 10, 10))
    folder = own.set(resample="nearest", offset=-1000.0).opened()
    frame_CHW = series_of(folder)[0]
    np.testing.assert_array_equal(frame_CHW[:, :, :8], 0)
    np.testing.assert_array_equal(frame_CHW[:, :, 8:], expected(0)[0, :, :, :8] - 1000)
    assert (folder.empty, len(folder.patches[1].days)) == (1, 2)


@pytest.mark.parametrize(("dtype", "nodata"), [("int16", -9999), ("float32", None)])
@pytest.mark.parametrize("resample", ["nearest", "bilinear", "cubic"])
def test_nodata_of_one_band_stays_with_it_and_is_not_blended_in(own, resample, dtype, nodata):
    stored = np.full((len(BANDS), 8, 8), 50, dtype=dtype)
    stored[BANDS.index("B3"), :4] = np.nan if nodata is None else nodata
    transform = from_origin(own.transform("a").c, own.transform("a").f, 20, 20)
    own.write_image("a", stored=stored, transform=transform, nodata=nodata)
    frame_CHW = series_of(own.set(resample=resample).opened())[0]
    assert set(np.unique(frame_CHW)) == {0, 50}
    assert np.all(frame_CHW[1, :7] == 0)
    assert np.all(frame_CHW[1, 8:] == 50)
    assert np.all(np.delete(frame_CHW, 1, axis=0) == 50)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32", "float64"])
def test_what_is_not_covered_is_nodata_whatever_numbers_are_stored_as(own, dtype):
    stored = np.full((len(BANDS), SIDE, SIDE), 50, dtype=dtype)
    transform = from_origin(own.transform("a").c + 80, own.transform("a").f, 10, 10)
    own.write_image("a", stored=stored, transform=transform)
    frame_CHW = series_of(own.set(resample="nearest", offset=7.0).opened())[0]
    assert (set(np.unique(frame_CHW[..., :8])), set(np.unique(frame_CHW[..., 8:]))) == ({0}, {57})


def test_images_in_another_crs_are_resampled_too(own):
    longitude_latitude = from_origin(2.997, 50.554, 0.0001, 0.0001)
    stored = np.full((len(BANDS), 100, 100), 777, dtype=np.int16)
    own.write_image("a", stored=stored, crs="EPSG:4326", transform=longitude_latitude)
    assert "EPSG:4326" in faults_of(own)[0]
    assert set(np.unique(series_of(own.set(resample="cubic").opened())[0])) == {777}


def test_grids_that_differ_by_rounding_are_the_same(own):
    transform = own.transform("a")
    own.write_image("a", transform=from_origin(transform.c + 0.01, transform.f, 10, 10.000001))
    assert own.opened().resampled == 0


@pytest.mark.parametrize(
    "profile",
    [
        {"transform": from_origin(500_005, 5_600_000, 10, 10)},
        {"transform": from_origin(500_000, 5_600_000, 10, 10.1)},
        {"crs": "EPSG:32632"},
    ],
    ids=["shifted by half a pixel", "other pixels", "other zone"],
)
def test_a_label_raster_that_does_not_align_is_named_with_both_grids(own, profile):
    own.write_label("a", **profile)
    found = faults_of(own)
    assert len(found) == 3
    assert "images/a/20190305.tif: expected the grid of its labels" in found[0]


def test_a_value_that_the_yaml_does_not_know_is_named_with_its_file(own):
    stored = labels(0)
    stored[0, 0] = 77
    own.write_label("a", stored=stored)
    (fault,) = faults_of(own)
    assert "labels/a.tif: expected the classes and void values" in fault
    assert "10, 20, 40, 99; got also 77" in fault


def test_all_faults_of_all_patches_come_at_once(own):
    own.write_label("a", stored=labels(0) + 1, nodata=None)
    own.label("b").write_bytes(b"no raster")
    own.image("c", DATES[2]).write_bytes(own.image("c", DATES[2]).read_bytes()[:60])
    own.write_image("d", stored=np.zeros((10, SIDE, SIDE), dtype=np.int16))
    own.write_image("e", transform=own.transform("a"))
    found = faults_of(own)
    named = ["labels/a.tif", "labels/b.tif", "images/c/20190623.tif", "images/d/2019", "images/e/2019"]
    assert len(found) == 5
    for fault, name in zip(found, named, strict=True):
        assert name in fault
    assert "the 12 bands of the YAML file, 12; got 10" in found[3]


@pytest.mark.parametrize("resample", [None, "bilinear"])
def test_an_image_that_is_cut_short_is_named_when_it_is_read(own, resample):
    own.set(resample=resample)
    if resample:
        own.write_label("a", transform=from_origin(500_005, 5_600_000, 10, 10))
    own.write_image("a", compress="deflate", tiled=True, blockxsize=16, blockysize=16, interleave="band")
    content = own.image("a").read_bytes()
    folder = own.opened()
    own.image("a").write_bytes(content[: len(content) * 2 // 3])
    with pytest.raises(DataError, match=r"images/a/20190305\.tif: expected a whole GeoTIFF"):
        series_of(folder)


@pytest.mark.parametrize("dtype", ["float32", "complex64"])
def test_labels_that_are_no_whole_numbers_are_refused(own, dtype):
    own.write_label("a", stored=labels(0).astype(dtype))
    assert "labels/a.tif: expected one band of whole numbers; got 1 of " in faults_of(own)[0]


def break_date(own: OwnRasters) -> None:
    own.image("a").rename(own.root / "images" / "a" / "20191341.tif")


def repeat_date(own: OwnRasters) -> None:
    own.image("a", DATES[1]).rename(own.root / "images" / "a" / "2019-03-05.tif")


def remove_images(own: OwnRasters) -> None:
    for day in DATES:
        own.image("a", day).unlink()


BROKEN_NAMES: dict[str, tuple[Any, str]] = {
    "a date that is none": (break_date, r"a/20191341.tif: expected YYYYMMDD or YYYY-MM-DD"),
    "a date twice": (repeat_date, "20190305.tif: expected one image for each date; got 2019-03-05 also in"),
    "no image": (remove_images, "patch a: expected one image at images/{patch}/{date}.tif; got none"),
    "no labels": (lambda own: own.label("a").unlink(), "patch a: expected one label raster at labels/"),
    "no fold": (
        lambda own: own.set(folds={"patches": {"b": 1, "c": 1, "d": 1, "e": 1}}),
        "patch a: folds.patches: expected a fold from 1 to 5; got None",
    ),
    "a fold for nobody": (
        lambda own: own.content["folds"]["patches"].update(z=1),
        "expected names of patches; got 'z'",
    ),
    "a patch twice": (
        lambda own: own.with_index([{"patch": "a", "fold": 1}, {"patch": "a", "fold": 2}]),
        "patches.csv: patch a: expected it once; got it again as patch 2",
    ),
    "a name that is a path": (
        lambda own: own.with_index([{"patch": "../x", "fold": 1}]),
        "patches.csv: patch 1: expected a name that is no path; got '../x'",
    ),
    "files outside the folder": (
        lambda own: own.with_index(
            [{"patch": "a", "fold": 1, "images": "../{date}.tif"}], "patch,fold,images"
        ),
        "patch a: images: expected a path inside the folder; got '../{date}.tif'",
    ),
    "a fold that is none": (
        lambda own: own.with_index([{"patch": "a", "fold": "six"}]),
        "patches.csv: patch a: fold: expected a fold from 1 to 5; got 'six'",
    ),
    "dates that are none": (
        lambda own: own.with_index([{"patch": "a", "fold": 1, "dates": "yesterday"}]),
        "patches.csv: patch a: dates: expected YYYYMMDD or YYYY-MM-DD",
    ),
    "more values than columns": (
        lambda own: own.with_index([{"patch": "a", "fold": 1, "dates": "20190305,20190404"}]),
        "patches.csv: patch a: expected a value for each column; got more",
    ),
}


@pytest.mark.parametrize(("change", "words"), BROKEN_NAMES.values(), ids=BROKEN_NAMES)
def test_what_is_wrong_with_names_and_index_is_said_before_a_raster_is_opened(
    own, change, words, monkeypatch
):
    monkeypatch.setattr("shapeft_tune.data.rasters.folder.survey", None)
    change(own)
    assert any(words in fault for fault in faults_of(own)), faults_of(own)


@pytest.mark.parametrize("text", ["", "name,fold\na,1\n", "\x00\x01", None])
def test_an_index_that_is_none_is_named(own, text):
    own.with_index([])
    (own.root / "patches.csv").unlink()
    if text is not None:
        (own.root / "patches.csv").write_text(text)
    with pytest.raises(DataError, match=r"patches\.csv|no patch|at least one patch"):
        own.opened()


def test_bands_without_a_date_and_stacks_of_a_wrong_length_are_named(tmp_path):
    own = OwnRasters(tmp_path).with_stacks()
    own.write_stack("a", descriptions=())
    found = faults_of(own)
    assert "series/a.tif: expected one date in the descriptions of bands 1 to 12" in found[0]
    (fault,) = faults_of(own.with_index([ROWS[1] | {"dates": "20190305 20190404"}]))
    assert "series/b.tif: expected 2 dates x the 12 bands of the YAML file, 24; got 36" in fault


def test_two_files_where_one_is_expected_are_both_named(own):
    own.label("a").rename(own.root / "labels" / "a_1.tif")
    write_raster(own.root / "labels" / "a_2.tif", labels(0)[None])
    (fault,) = faults_of(own.with_index([{"patch": "a", "fold": 1}]).set(labels="labels/{patch}_*.tif"))
    assert "got a_1.tif, a_2.tif" in fault


def test_neighbours_share_a_block_and_a_fold(tmp_path):
    names = "abcdefghijklmno"
    own = OwnRasters(tmp_path, patches=names)  # 5 km apart: three to a block
    folder = own.with_images().set(folds={"blocks_metres": 15_000.0}).opened()
    folds = [patch.fold for patch in folder.patches]
    by_block: dict[float, set[int]] = {}
    for name, fold in zip(names, folds, strict=True):
        by_block.setdefault((own.transform(name).c + 80) // 15_000, set()).add(fold)
    assert all(len(of_block) == 1 for of_block in by_block.values())
    assert set(folds) == {1, 2, 3, 4, 5}


def test_blocks_too_few_for_the_folds_are_an_error(own):
    with pytest.raises(DataError, match=r"blocks_metres: expected blocks for 5 folds; got 1"):
        own.set(folds={"blocks_metres": 1e6}).opened()


def test_blocks_need_metres(own):
    own.write_label("a", crs="EPSG:4326")
    own.set(folds={"blocks_metres": 100.0})
    assert "labels/a.tif: expected a projected CRS" in faults_of(own)[0]


def test_the_first_opening_alone_looks_into_the_files(own, tmp_path, monkeypatch):
    facts = tmp_path / "facts"
    first = own.opened(facts)
    with monkeypatch.context() as patch:
        patch.setattr("shapeft_tune.data.rasters.folder.survey", None)
        assert own.opened(facts) == first
    coarse(own, "a")
    with pytest.raises(DataError, match="expected the grid of its labels"):
        own.opened(facts)
    own.write_image("a")
    assert own.opened(facts) == first  # a fault is not remembered


def test_what_was_counted_under_another_yaml_is_not_believed(own, tmp_path):
    facts = tmp_path / "facts"
    folder = own.opened(facts)
    before = class_pixels_of(folder, folder.patches)
    folder = own.set(classes={40: "beet", 20: "wheat", 10: "grass"}).opened(facts)
    after = class_pixels_of(folder, folder.patches)
    assert after == {id: pixels[::-1] for id, pixels in before.items()}
    assert after != before


def digests(own: OwnRasters) -> tuple[str, str]:
    folder = own.opened()
    return folder.digest(), folder.digest_of(S2)


def rewrite_labels(own: OwnRasters) -> None:
    own.write_label("a", stored=labels(1))


@pytest.mark.parametrize(
    ("change", "of_images"),
    [
        (rewrite_labels, False),
        (lambda own: own.set(scale=2.0), False),
        (lambda own: own.write_image("a", compress="deflate"), True),
        (lambda own: own.image("a").unlink(), True),
    ],
    ids=["labels", "YAML", "size of an image", "one image less"],
)
def test_another_content_has_another_digest(own, change, of_images):
    before = digests(own)
    assert digests(own) == before
    change(own)
    after = digests(own)
    assert after[0] != before[0]
    assert (after[1] != before[1]) == of_images


def test_official_statistics_and_radar_are_refused_with_a_way_out(own):
    folder = own.opened()
    with pytest.raises(DataError, match=r"normalisation: own"):
        folder.statistics()
    with pytest.raises(DataError, match=r"expected S1A of patch a"):
        folder.shape(folder.patches[0], S1A)


def trial(**changes: Any) -> TrialConfig:
    values = {"data.dataset": "rasters", "data.normalisation": "own"} | changes
    return TrialConfig.model_validate(with_values(TINY, values))


def test_the_data_set_named_rasters_serves_a_trial(own, tmp_path):
    folder = open_dataset(RastersDataset(), data=own.written(), home=tmp_path / "home")
    assert problems_with(trial(), folder) == []
    sample = open_splits(trial(), folder, Role.SEARCH).train.sample(0)
    assert (sample.images_TCHW.shape, sample.target_HW.shape) == ((2, 10, SIDE, SIDE), (SIDE, SIDE))
    assert open_dataset(RastersDataset(), data=own.root / "rasters.yaml", home=tmp_path / "home") == folder


def test_patches_of_two_sizes_are_a_problem_of_the_trial(own):
    own.write_label("a", stored=np.full((24, 24), 10, dtype=np.uint8))
    for day in DATES:
        own.write_image("a", day, stored=np.ones((len(BANDS), 24, 24), dtype=np.int16))
    assert any("patches of one size" in str(problem) for problem in problems_with(trial(), own.opened()))


@pytest.mark.parametrize("where", ["empty", "nowhere"])
def test_a_folder_without_a_yaml_file_is_told_what_to_write(tmp_path, where):
    folder = tmp_path / where
    if where == "empty":
        folder.mkdir()
    with pytest.raises(DataError, match=r"expected a folder with rasters\.yaml"):
        RasterFolder.open(folder)


def test_all_mistakes_of_the_yaml_come_with_their_lines(own):
    own.set(bands=["B2", "B3"], void=[10]).written()
    with pytest.raises(ConfigError) as caught:
        RasterFolder.open(own.root)
    assert [problem.path for problem in caught.value.problems] == ["bands", "void"]
    assert all(problem.line for problem in caught.value.problems)
