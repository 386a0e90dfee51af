"""A real MLflow server as a team runs one: runs in PostgreSQL, files on S3."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from shapeft_tune.config.protocol import Role
from shapeft_tune.report.runs import read_runs
from shapeft_tune.scores import CONFUSION_FILE
from shapeft_tune.tracking import Ending, Recorder, TrialEnd
from shapeft_tune.tracking.spooling.sync import sync_record
from tests.object_store import CREDENTIALS, ObjectStore
from tests.postgres import Server
from tests.tracking.mlflow_server import MlflowServer
from tests.tracking.told import CONFIRMED, OPEN, TRIALS, completed, differences, everything, tell_all


@pytest.fixture(scope="module")
def server(postgres: Server, _object_store: ObjectStore) -> Iterator[MlflowServer]:
    pytest.importorskip("boto3", reason="boto3 is not installed: pip install 'moto[server]'")
    endpoint = {"MLFLOW_S3_ENDPOINT_URL": f"http://127.0.0.1:{_object_store.port}"}
    with pytest.MonkeyPatch.context() as patch:  # files go through the server: nobody else knows the bucket
        for name, value in CREDENTIALS.items():
            patch.setenv(name, value)
        bucket = _object_store.new_bucket().split("?")[0]
    server = MlflowServer(postgres.new_database(), bucket, CREDENTIALS | endpoint)
    server.start()
    yield server
    server.stop()


def test_a_record_on_postgresql_and_s3_is_read_back_whole(
    server: MlflowServer, store: str, tmp_path: Path
) -> None:
    folder = tmp_path / "home" / "demo"
    record = Recorder.open(server.address, "demo", folder, question="Which?")
    tell_all(record, folder)
    record.close()
    assert record.problems == ()

    runs = {(run.facts.role, run.facts.fingerprint): run for run in read_runs(server.address, "demo")}
    told = {(each.role, each.fingerprint): each for each in TRIALS}
    assert {key: run.facts for key, run in runs.items()} == told
    assert runs[OPEN.role, OPEN.fingerprint].state == "running"
    confirmed = runs[CONFIRMED.role, CONFIRMED.fingerprint]
    end = completed(CONFIRMED, folder)
    assert confirmed.state == Ending.COMPLETE
    assert confirmed.test_counts_KK is not None
    assert confirmed.test_counts_KK.tolist() == end.test_counts_KK.tolist()  # type: ignore[union-attr]
    assert confirmed.metrics["best/val_miou"] == 0.04

    client = MlflowClient(server.address)
    query = f"tags.fingerprint = '{CONFIRMED.fingerprint}' and tags.role = '{Role.CONFIRMATION}'"
    experiment = client.get_experiment_by_name("demo")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id], query)
    assert run.info.artifact_uri.startswith("mlflow-artifacts:/")
    config = client.download_artifacts(run.info.run_id, "config.json", str(tmp_path))
    assert json.loads(Path(config).read_text()) == CONFIRMED.config
    counts = client.download_artifacts(run.info.run_id, CONFUSION_FILE, str(tmp_path))
    assert Path(counts).read_bytes() == end.artifacts[CONFUSION_FILE].read_bytes()

    sync_record(store, "demo", folder, question="Which?")
    assert differences(everything(server.address), everything(store)) == []


def test_a_continued_trial_on_postgresql_continues_its_run_and_its_curves(
    server: MlflowServer, tmp_path: Path
) -> None:
    folder = tmp_path / "home" / "demo"
    first = Recorder.open(server.address, "again", folder)
    tell_all(first, folder)
    assert first.flush()  # and no close: its driver dies here

    server.stop()
    server.start()
    second = Recorder.open(server.address, "again", folder)
    second.trial_started(OPEN)
    for step in (20, 30, 40):
        second.trial_progress(OPEN, step, {"train/loss": 10 / step, "val/miou": step / 1000})
    second.trial_ended(OPEN, TrialEnd(Ending.COMPLETE))
    second.close()
    assert second.problems == ()
    run = everything(server.address, "again")[OPEN.title]  # which checks that it is the only one
    assert [step for step, _, _ in run["points"]["val/miou"]] == [10, 20, 30, 40]
    assert run["tags"]["state"] == "complete"
    before = everything(server.address, "again")
    synced = sync_record(server.address, "again", folder, rebuild=True)
    assert (synced.trials, synced.refused) == (len(TRIALS), ())
    assert differences(everything(server.address, "again"), before) == []
