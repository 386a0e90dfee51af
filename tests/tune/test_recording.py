"""What reaches the record of a trial of the ledger, through the driver."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow.entities import Run
from mlflow.tracking import MlflowClient

from shapeft_tune.config.places import Places
from shapeft_tune.tracking import Recorder
from shapeft_tune.tune.driver import Driver
from shapeft_tune.tune.ledger.ledger import Ledger
from shapeft_tune.tune.orders import Outcome, trial_folder
from shapeft_tune.tune.preflight import Contents
from tests.tune.small import small

CONTENTS = Contents("0123456789abcdef", {"utae": {"weights a.pt": "0a1b"}})
CELL = {"settings": {"label_fractions": [1.0], "temporal_lengths": [1]}}


@pytest.fixture
def recorder(tmp_path: Path) -> Iterator[Recorder]:
    sweep_folder = Places(tmp_path).sweep_folder("small")
    sweep_folder.mkdir()
    recorder = Recorder.open(f"sqlite:///{tmp_path / 'mlflow.db'}", "small", sweep_folder)
    yield recorder
    recorder.close()


@pytest.fixture
def driver(recorder: Recorder, tmp_path: Path) -> Driver:
    sweep, folder = small(**CELL), Places(tmp_path).sweep_folder("small")
    ledger = Ledger.open(folder, sweep, CONTENTS.data, CONTENTS.by_strategy)
    return Driver(sweep, ledger, recorder, folder, lambda event: None, contents=CONTENTS)


def only_run(recorder: Recorder, home: Path) -> Run:
    assert recorder.flush()
    assert recorder.problems == ()
    client = MlflowClient(f"sqlite:///{home / 'mlflow.db'}")
    (run,) = client.search_runs(["1"], "tags.role = 'search'")
    return run


def test_what_a_trial_reads_is_in_its_tags_from_the_start(
    driver: Driver, recorder: Recorder, tmp_path: Path
) -> None:
    assert driver.next_order("a")
    tags = only_run(recorder, tmp_path).data.tags
    assert tags["data_digest"] == CONTENTS.data
    assert json.loads(tags["contents"]) == {"weights a.pt": "0a1b"}


def test_a_trial_that_got_its_slot_is_in_the_record_with_its_place(
    driver: Driver, recorder: Recorder, tmp_path: Path
) -> None:
    assert driver.next_order("a")
    driver.began("a", "node1", 4242, "gpu 1")
    tags = only_run(recorder, tmp_path).data.tags
    assert (tags["host"], tags["device"]) == ("node1", "gpu 1")


def test_what_a_trial_was_computed_with_is_a_file_and_tags(
    driver: Driver, recorder: Recorder, tmp_path: Path
) -> None:
    order = driver.next_order("a")
    assert order
    folder = trial_folder(tmp_path / "small", order.strategy, order.fingerprint)
    folder.mkdir(parents=True)
    environment = {"device": "NVIDIA H200", "host": "node1", "platform": "Linux", "version.torch": "2.15.0"}
    (folder / "environment.json").write_text(json.dumps(environment))
    driver.ended("a", Outcome("complete", 0.5).to_ray()["outcome"])
    run = only_run(recorder, tmp_path)
    assert (run.data.tags["device"], run.data.tags["version.torch"]) == ("NVIDIA H200", "2.15.0")
    attached = Path(run.info.artifact_uri.removeprefix("file://")) / "environment.json"
    assert json.loads(attached.read_text()) == environment
