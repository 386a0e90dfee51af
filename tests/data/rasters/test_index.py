"""Which files are whose: patterns and indexes as people have them, and what is said where they do not fit."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest

from shapeft_tune.config.rasters import load_rasters
from shapeft_tune.data.rasters import index
from shapeft_tune.data.rasters.index import Listed, list_series, parsed_date
from shapeft_tune.errors import DataError
from tests.data.rasters.own_rasters import OwnRasters


@pytest.fixture
def own(tmp_path: Path) -> OwnRasters:
    return OwnRasters(tmp_path)


def listed(own: OwnRasters, *files: str, **changes: Any) -> tuple[tuple[Listed, ...], tuple[str, ...]]:
    """List empty files, every patch in fold 1 unless told otherwise."""
    for name in files:
        (own.root / name).parent.mkdir(parents=True, exist_ok=True)
        (own.root / name).touch()
    root = own.set(**{"folds": {"blocks_metres": 100.0}} | changes).written()
    return list_series(root, load_rasters(root / "rasters.yaml"))


def indexed(own: OwnRasters, text: str | bytes, name: str = "patches.csv", **changes: Any) -> Any:
    (own.root / name).write_bytes(text.encode() if isinstance(text, str) else text)
    files = ("images/a/20190305.tif", "labels/a.tif", "images/b/20190305.tif", "labels/b.tif")
    return listed(own, *files, **{"index": name, "folds": {"column": "fold"}} | changes)


def fault(found: tuple[tuple[Listed, ...], tuple[str, ...]]) -> str:
    (only,) = found[1]
    return only


def images_of(found: tuple[tuple[Listed, ...], tuple[str, ...]]) -> dict[str, list[str]]:
    assert found[1] == ()
    return {patch.name: [path.name for path, _ in patch.images] for patch in found[0]}


@pytest.mark.parametrize("text", ["18991231", "21010101", "0001-01-01", "20191341", "", "yesterday"])
def test_dates_of_other_ages_and_none_at_all_are_refused(text):
    with pytest.raises(ValueError, match=f"^'{text}', "):
        parsed_date(text)


@pytest.mark.parametrize("text", ["19000101", "2100-12-31"])
def test_dates_of_two_centuries_are_taken(text):
    assert parsed_date(text).strftime("%Y%m%d") == text.replace("-", "")


def test_a_date_before_photography_is_a_fault_of_its_file(own):
    found = listed(own, "images/a/00010305.tif", "labels/a.tif")
    assert "00010305.tif: expected YYYYMMDD or YYYY-MM-DD in its name; got '00010305', a year" in fault(found)


@pytest.mark.parametrize(
    ("label", "pattern"),
    [
        ("a_labels.tif", "{patch}_labels.tif"),
        ("labels_a.tif", "labels_{patch}.tif"),
        ("a_20190305_labels.tif", "{patch}_*_labels.tif"),
        ("a.tif", "{patch}.tif"),
    ],
)
def test_images_and_labels_may_share_a_folder(own, label, pattern):
    files = ("a_20190305.tif", "a_20190404.tif")
    images = "{patch}_{date}.tif"
    found = listed(own, *files, label, images=images, labels=pattern)
    assert images_of(found) == {"a": list(files)}
    assert found[0][0].labels.name == label


def test_labels_that_an_index_names_are_none_of_the_images(own):
    (own.root / "patches.csv").write_text("patch,labels\na,a_truth.tif\n")
    found = listed(own, "a_20190305.tif", "a_truth.tif", images="{patch}_{date}.tif", index="patches.csv")
    assert images_of(found) == {"a": ["a_20190305.tif"]}


def test_a_name_that_goes_on_after_its_date_is_told_the_pattern_for_it(own):
    files = ("images/a/20230201T105031.tif", "labels/a.tif")
    assert fault(listed(own, *files)).endswith(
        " - write images/{patch}/{date}*.tif where more follows the date"
    )
    assert images_of(listed(own, images="images/{patch}/{date}*.tif")) == {"a": ["20230201T105031.tif"]}


def test_a_date_is_found_between_other_words(own):
    found = listed(own, "./a/S2A_20230201T105031_X.tif", "labels/a.tif", images="./{patch}//*{date}*.tif")
    assert images_of(found) == {"a": ["S2A_20230201T105031_X.tif"]}
    assert str(found[0][0].images[0][1]) == "2023-02-01"


def test_a_file_whose_name_is_not_utf_8_is_named(own):
    found = listed(own, "images/a/20190305.tif", "labels/a.tif")
    (own.root / "images/a" / os.fsdecode(b"f\xff3.tif")).touch()
    found = listed(own)
    assert r"expected names of files in UTF-8; got 'images/a/f\udcff3.tif'" in fault(found)
    fault(found).encode()


@pytest.mark.parametrize("pattern", ["x" * 5000 + "/{patch}.tif", "\0/{patch}.tif"], ids=["long", "no path"])
def test_a_pattern_that_no_file_system_takes_is_named(own, pattern):
    with pytest.raises(
        DataError, match=r"x/\{patch\}\.tif: .*too long|expected files that can be looked for"
    ):
        listed(own, labels=pattern)


def test_a_name_in_the_index_that_no_file_system_takes_is_a_fault(own):
    found = indexed(own, f"patch,fold,labels\na,1,{'x' * 300}\nb,2,\n")
    assert any("xxx: expected files that can be looked for" in each for each in found[1])
    assert [patch.name for patch in found[0]] == ["b"]


def test_a_folder_that_may_not_be_read_is_named_not_passed_over(own, monkeypatch):
    def refused(path: Path) -> list[str]:
        if path.name == "labels":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return sorted(entry.name for entry in os.scandir(path))

    monkeypatch.setattr(index.os, "listdir", refused)
    with pytest.raises(DataError, match=r"labels/\{patch\}\.tif: .*Permission denied"):
        listed(own, "labels/a.tif", "images/a/20190305.tif")


@pytest.mark.parametrize("separator", [";", "\t"])
def test_an_index_with_other_separators_is_told_to_use_commas(own, separator):
    with pytest.raises(DataError, match=r"expected a column `patch`; .* - separate columns by commas"):
        indexed(own, separator.join(["patch", "fold"]) + "\n" + separator.join("a1"))


@pytest.mark.parametrize("fold", ["1", "1.0", " 1 ", '"1"'])
def test_folds_as_programs_write_them_are_taken(own, fold):
    found = indexed(own, f"patch,fold\na,{fold}\n")
    assert [patch.fold for patch in found[0]] == [1]


@pytest.mark.parametrize("fold", ["1.5", "nan", "", "0", "6.0", "inf", "True"])
def test_folds_that_are_none_are_refused(own, fold):
    assert "patch a: fold: expected a fold from 1 to 5" in fault(indexed(own, f"patch,fold\na,{fold}\n"))


def test_a_fold_of_json_may_be_a_float_and_not_a_truth(own):
    for value, taken in ((2.0, True), (True, False)):
        features = [{"type": "Feature", "properties": {"patch": "a", "fold": value}}]
        found = indexed(own, json.dumps({"features": features}), "patches.json")
        assert (not found[1]) == taken


def test_a_missing_column_of_folds_is_one_fault(own):
    found = indexed(own, "patch,part\na,1\nb,2\n")
    assert "patches.csv: expected a column `fold`, as `folds.column` says; got patch, part" in fault(found)


def test_an_index_may_begin_with_a_byte_order_mark(own):
    assert images_of(indexed(own, b"\xef\xbb\xbfpatch,fold\na,1\n")) == {"a": ["20190305.tif"]}


def test_an_index_nested_without_end_is_unreadable(own):
    with pytest.raises(DataError, match=r"patches\.geojson: expected a CSV file with a header, or a GeoJSON"):
        indexed(own, "[" * 200_000, "patches.geojson")
