from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mlflow.tracking import MlflowClient

from shapeft_tune.report import Run, read_runs
from shapeft_tune.report.counts import PatchCounts, is_of_trial, patches_in
from shapeft_tune.scores import CONFUSION_FILE, Scores
from shapeft_tune.tracking import Ending, Recorder, TrialEnd

Make = Callable[..., Run]

CLASSES = ("meadow", "fruits, vegetables, flowers", "corn")
COUNTS = np.random.default_rng(0).integers(1, 99, (4, 3, 3))
MIOU = Scores.of(COUNTS.sum(axis=0)).miou


def write(folder: Path, fingerprint: str = "f", **changes: Any) -> Path:
    """Write a trial's files; a change of None leaves an array out."""
    folder.mkdir(parents=True, exist_ok=True)
    arrays = {
        "test_ids": ["7", "3", "5", "9"],
        "test_counts": COUNTS.astype(np.int32),
        "class_names": CLASSES,
    }
    kept = {name: value for name, value in (arrays | changes).items() if value is not None}
    np.savez_compressed(folder / CONFUSION_FILE, **kept)
    result = {"fingerprint": fingerprint, "class_names": CLASSES}
    (folder / "result.json").write_text(json.dumps(result))
    return folder


def test_ids_names_and_matrices_are_read(tmp_path: Path) -> None:
    found = patches_in(write(tmp_path), MIOU)
    assert found is not None
    assert (found.ids, found.class_names) == (("7", "3", "5", "9"), CLASSES)
    assert np.array_equal(found.hit_NK, [np.diag(each) for each in COUNTS])
    assert np.array_equal(found.target_NK, [each.sum(axis=1) for each in COUNTS])
    assert np.array_equal(found.predicted_NK, [each.sum(axis=0) for each in COUNTS])
    assert np.array_equal(found.pooled_KK, COUNTS.sum(axis=0))


def test_of_the_matrices_no_more_is_kept_than_scores_need() -> None:
    """482 patches of 19 classes: the matrices of 700 confirmations would be a gigabyte."""
    counts = np.random.default_rng(0).integers(0, 99, (482, 19, 19))
    kept = PatchCounts.of(tuple(map(str, range(482))), tuple("abcdefghijklmnopqrs"), counts)
    held = [array for array in vars(kept).values() if isinstance(array, np.ndarray)]
    assert all(array.base is None for array in held), "a view keeps the matrices"
    assert sum(array.nbytes for array in held) < 0.09 * counts.nbytes


def test_classes_without_names_in_the_file_have_those_of_the_result(tmp_path: Path) -> None:
    found = patches_in(write(tmp_path, class_names=None), MIOU)
    assert found is not None
    assert found.class_names == CLASSES


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"test_counts": None}, "test_counts"),
        ({"class_names": CLASSES[:2]}, r"expected counts \[4, 2, 2\]; got int32 \[4, 3, 3\]"),
        ({"test_ids": ["7", "3", "5"]}, r"expected counts \[3, 3, 3\]"),
        ({"test_ids": ["7", "3", "7", "5"]}, "a patch is in it twice"),
        ({"test_counts": -COUNTS}, "expected counts"),
        ({"test_counts": COUNTS + 0.5}, "float64"),
        ({"test_counts": COUNTS[:, ::-1]}, "the record says"),
        ({"test_ids": np.array([{}] * 4, dtype=object)}, "allow_pickle"),
    ],
)
def test_files_that_are_not_whole_or_of_another_trial_are_left_out_with_a_warning(
    tmp_path: Path, changes: dict[str, Any], reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert patches_in(write(tmp_path, **changes), MIOU) is None
    assert caplog.records[0].levelno == logging.WARNING
    assert str(tmp_path) in caplog.text
    caplog.clear()
    with pytest.raises((KeyError, ValueError), match=reason):
        raise_instead(tmp_path)


def raise_instead(folder: Path) -> None:
    from shapeft_tune.report.counts import _check_score, _read

    _check_score(_read(folder), MIOU)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut off", b"\x80\x04K\x01."])
def test_a_damaged_file_is_left_out_with_a_warning(
    tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    (write(tmp_path) / CONFUSION_FILE).write_bytes(content)
    assert patches_in(tmp_path, MIOU) is None
    assert "no matrices of the test patches" in caplog.text


def test_a_folder_is_a_trials_if_its_result_says_so(tmp_path: Path) -> None:
    assert is_of_trial(write(tmp_path / "a", "f"), "f")
    assert not is_of_trial(write(tmp_path / "b", "g"), "f")
    assert not is_of_trial(tmp_path / "nothing", "f")
    (tmp_path / "a" / "result.json").write_text("[]")
    assert not is_of_trial(tmp_path / "a", "f")


@pytest.fixture
def confirmed(run: Make) -> Run:
    return run(1e-3, 1, test__miou=MIOU)


@pytest.fixture
def store(tmp_path: Path, run: Make, confirmed: Run) -> str:
    """Return a store with a search trial, a running confirmation, and a complete one with its file."""
    store = f"sqlite:///{tmp_path / 'mlflow.db'}"
    folder = write(tmp_path / "sent")
    record = Recorder.open(store, "demo", tmp_path / "demo")
    searched = run(1e-3, best__val_miou=0.5)
    files = {name: folder / name for name in (CONFUSION_FILE, "result.json")}
    record.trial_ended(searched.facts, TrialEnd(Ending.COMPLETE, searched.metrics, artifacts=files))
    record.trial_started(run(1e-3, 2).facts)
    record.trial_ended(confirmed.facts, TrialEnd(Ending.COMPLETE, confirmed.metrics, artifacts=files))
    record.close()
    assert record.problems == ()
    return store


def read(store: str, trials: Path | None) -> Run:
    """Return the complete confirmation, having seen that no other trial has patches."""
    runs = read_runs(store, "demo", trials, with_patches=True)
    assert sum(each.test_patches is not None for each in runs) <= 1
    return next(each for each in runs if each.facts.seed == 1)


def test_what_lies_in_the_home_is_not_fetched(
    store: str, confirmed: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "trials" / "utae" / confirmed.facts.fingerprint, confirmed.facts.fingerprint)
    monkeypatch.setattr(MlflowClient, "download_artifacts", None)
    monkeypatch.setattr(MlflowClient, "list_artifacts", None)
    found = read(store, tmp_path / "trials")
    assert found.test_patches is not None
    assert found.test_patches.ids == ("7", "3", "5", "9")
    assert np.array_equal(found.test_counts_KK, COUNTS.sum(axis=0))


@pytest.mark.parametrize("home", ["none", "empty", "other trial", "damaged"])
def test_what_is_not_there_or_no_good_is_fetched_from_the_record(
    store: str, confirmed: Run, tmp_path: Path, home: str
) -> None:
    folder = tmp_path / "trials" / "utae" / confirmed.facts.fingerprint
    if home == "other trial":
        write(folder, "another", test_ids=["1", "2", "3", "4"])
    if home == "damaged":
        (write(folder, confirmed.facts.fingerprint) / CONFUSION_FILE).write_bytes(b"PK")
    found = read(store, None if home == "none" else tmp_path / "trials")
    assert found.test_patches is not None
    assert found.test_patches.ids == ("7", "3", "5", "9")


def test_a_trial_whose_file_is_damaged_everywhere_keeps_its_scores(
    store: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for file in (tmp_path / "demo").rglob(CONFUSION_FILE), tmp_path.rglob(CONFUSION_FILE):
        for each in file:
            each.write_bytes(b"PK")
    found = read(store, tmp_path / "trials")
    assert (found.test_patches, found.score("test/miou")) == (None, pytest.approx(MIOU))
    assert "no matrices of the test patches" in caplog.text


def test_patches_are_read_only_where_they_are_wanted(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MlflowClient, "download_artifacts", None)
    assert all(each.test_patches is None for each in read_runs(store, "demo"))
