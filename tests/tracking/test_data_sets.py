from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from shapeft_tune.config.protocol import Role
from shapeft_tune.tracking import TrialFacts
from shapeft_tune.tracking.data_sets import data_parts, labels_in
from tests.tracking.conftest import SWEEP

Trial = Callable[..., TrialFacts]
LABELS = {"labelled_patches": [1, 2, 3]}


def digests(facts: TrialFacts, labels: dict[str, Any] = LABELS) -> dict[str, str]:
    return {part.context: part.digest for part in data_parts(facts, labels)}


def test_trials_that_saw_the_same_have_the_same_digests(trial: Trial) -> None:
    assert digests(trial(lr=0.001)) == digests(trial(lr=0.002))
    assert digests(trial(), {"labelled_patches": [3, 2, 1]}) == digests(trial())


def test_another_content_changes_every_digest(trial: Trial) -> None:
    facts = trial(role=Role.CONFIRMATION)
    one, other = digests(facts), digests(replace(facts, data_digest="other"))
    assert set(one) == {"training", "validation", "test"}
    assert not set(one.values()) & set(other.values())


def test_other_labels_change_the_digest_of_training_alone(trial: Trial) -> None:
    one, other = digests(trial()), digests(trial(), {"labelled_patches": [1, 2, 4]})
    assert one["training"] != other["training"]
    assert one["validation"] == other["validation"]


def test_folds_have_the_same_digest_whatever_they_serve_for(trial: Trial) -> None:
    facts = trial(role=Role.CONFIRMATION)
    data = SWEEP.cells[0].trial(rotation=1).canonical()["data"]
    moved = replace(facts, config={**facts.config, "data": data})
    before, after = ({part.context: part for part in data_parts(each, LABELS)} for each in (facts, moved))
    assert (after["validation"].name, after["test"].name) == ("sample folds 5", "sample folds 1")
    assert after["validation"].digest == before["test"].digest
    assert len({part.digest for part in (*before.values(), *after.values())}) == 5


def test_a_digest_fits_into_what_mlflow_takes(trial: Trial) -> None:
    assert {len(digest) for digest in digests(replace(trial(), data_digest="d" * 200)).values()} == {16}


@pytest.mark.parametrize("text", ["", "{", "[1, 2]", "{}"])
def test_a_file_that_tells_no_labels_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "labels.json").write_text(text)
    assert labels_in(tmp_path / "labels.json") is None


def test_no_file_tells_no_labels(tmp_path: Path) -> None:
    assert labels_in(None) is None
    assert labels_in(tmp_path / "gone.json") is None
