from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from mlflow.utils.validation import _validate_metric_name

from shapeft_tune.config.bands import S2_BANDS
from shapeft_tune.config.rasters import CLASS_NAME, Rasters, load_rasters
from shapeft_tune.errors import ConfigError
from shapeft_tune.tracking.wire import storable

SOUND: dict[str, Any] = {
    "images": "images/{patch}/{date}.tif",
    "labels": "labels/{patch}.tif",
    "bands": list(S2_BANDS),
    "classes": {0: "grass", 1: "wheat"},
    "folds": {"blocks_metres": 5000},
}


def loaded(folder: Path, **changes: Any) -> Rasters:
    path = folder / "rasters.yaml"
    content = {key: value for key, value in (SOUND | changes).items() if value is not None}
    path.write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True), encoding="utf-8")
    return load_rasters(path)


def test_a_sound_file_is_read(tmp_path):
    rasters = loaded(tmp_path, season_start=date(2018, 9, 1), void=[255])
    assert (rasters.scale, rasters.offset, rasters.class_names) == (1, 0, ("grass", "wheat"))


def test_bands_may_be_written_with_a_zero_and_stand_in_any_order(tmp_path):
    names = ["SCL", *(f"B0{band[1:]}" if len(band) == 2 else band for band in reversed(S2_BANDS))]
    assert loaded(tmp_path, bands=names).file_bands == tuple(range(11, 1, -1))


def test_patches_named_by_numbers_get_their_folds(tmp_path):
    assert loaded(tmp_path, folds={"patches": {12: 1, "b": 2}}).folds.patches == {"12": 1, "b": 2}


BROKEN: dict[str, tuple[dict[str, Any], str, str]] = {
    "a band too few": (
        {"bands": list(S2_BANDS[:-2])},
        "bands",
        "the ten bands that the models were made for; got none named B11, B12",
    ),
    "a band twice": ({"bands": [*S2_BANDS, "B02"]}, "bands", "each band once; got B2 twice"),
    "an unknown key": ({"band": []}, "band", "no such key"),
    "no place for the patch": ({"images": "images/{date}.tif"}, "images", "{patch} in it"),
    "another placeholder": (
        {"images": "{patch}/{day}.tif"},
        "images",
        "no placeholders but {patch} and {date}",
    ),
    "labels with dates": ({"labels": "{patch}/{date}.tif"}, "labels", "no placeholders but {patch}"),
    "another folder": ({"images": "../{patch}.tif"}, "images", "a path inside the folder"),
    "an absolute path": ({"labels": "/labels/{patch}.tif"}, "labels", "a path inside the folder"),
    "an index elsewhere": ({"index": "../index.csv"}, "index", "a path inside the folder"),
    "no pattern and no index": ({"images": None}, "images", "a pattern, or an `index` that names the files"),
    "one class": ({"classes": {0: "grass"}}, "classes", "at least 2"),
    "more classes than labels": ({"classes": {n: f"c{n}" for n in range(256)}}, "classes", "at most 255"),
    "a class that is void": ({"void": [1]}, "void", "values that are no class; got 1, also in classes"),
    "a class whose name makes a section": ({"classes": {0: "a/b", 1: "c"}}, "classes.0", "letters, digits"),
    "a class without a name": ({"classes": {0: "", 1: "c"}}, "classes.0", "letters, digits"),
    "two classes with one name in the record": (
        {"classes": {0: "wheat soft", 7: "Wheat, soft"}},
        "classes.7",
        "differs from that of 0",
    ),
    "a fold too many": ({"folds": {"patches": {"a": 6}}}, "folds.patches.a", "less than or equal to 5"),
    "two sources of folds": (
        {"folds": {"column": "f", "blocks_metres": 1}},
        "folds",
        "one of column, patches",
    ),
    "no source of folds": ({"folds": {}}, "folds", "none of them"),
    "a column of no index": (
        {"folds": {"column": "fold"}},
        "folds.column",
        "an `index` that has this column",
    ),
    "another start of the season": (
        {"season_start": date(2018, 8, 1)},
        "season_start",
        "a first of September",
    ),
    "resampling of an unknown kind": (
        {"resample": "lanczos"},
        "resample",
        "'nearest', 'bilinear' or 'cubic'",
    ),
}


@pytest.mark.parametrize(("changes", "field", "words"), BROKEN.values(), ids=BROKEN)
def test_a_mistake_is_told_with_field_line_and_what_was_expected(tmp_path, changes, field, words):
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, **changes)
    (problem,) = caught.value.problems
    assert problem.path == field
    assert words in str(problem)
    assert problem.line or field in ("images", "folds")


@given(name=st.from_regex(CLASS_NAME, fullmatch=True))
@settings(max_examples=200, deadline=None)
def test_every_name_that_is_accepted_can_be_recorded(name):
    (recorded,) = storable({f"test/iou/{name}": 0.5})
    _validate_metric_name(recorded)
    assert recorded.strip() == recorded


def test_one_void_value_needs_no_brackets(tmp_path):
    assert loaded(tmp_path, void=255).void == (255,)


PLAIN_WORDS: dict[str, tuple[dict[str, Any], str, str]] = {
    "void in words": ({"void": "none"}, "void", "integer"),
    "bands in one text": ({"bands": "B2, B3"}, "bands", "a list of the names of bands"),
    "classes as a list": ({"classes": ["grass", "wheat"]}, "classes", "a name for each label value"),
    "folds in one word": ({"folds": "fold"}, "folds", "one of column, patches, blocks_metres"),
    "no bands": ({"bands": []}, "bands", "all of B2"),
    "too few classes": ({"classes": {0: "grass"}}, "classes", "at least 2 classes"),
    "labels found as images": (
        {"images": "{patch}.tif", "labels": "{patch}.tif"},
        "labels",
        "another pattern",
    ),
}


@pytest.mark.parametrize(("changes", "field", "words"), PLAIN_WORDS.values(), ids=PLAIN_WORDS)
def test_a_mistake_of_form_is_told_without_words_of_python(tmp_path, changes, field, words):
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, **changes)
    (problem,) = caught.value.problems
    assert (problem.path, words in str(problem)) == (field, True), str(problem)
    assert not any(word in str(problem) for word in ("tuple", "dictionary", "instance", "after validation"))
