from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from threading import Event, current_thread, main_thread
from typing import Any

import numpy as np
import pytest
from mlflow.tracking import MlflowClient

from shapeft_tune.config.protocol import Role
from shapeft_tune.errors import TrackingError
from shapeft_tune.tracking import (
    Ending,
    Place,
    Recorder,
    SweepEnding,
    TrialEnd,
    TrialFacts,
    recorder,
)
from shapeft_tune.tracking.publishing.publication import publish
from shapeft_tune.tracking.publishing.results import SweepPublication
from shapeft_tune.tracking.spooling import fact_writes
from shapeft_tune.tracking.spooling.spool import SPOOL_FILE, SpoolLine
from shapeft_tune.tracking.wire import counts_of, tags_of
from tests.tracking.conftest import SWEEP
from tests.tracking.mlflow_server import Gate
from tests.tracking.spooling.damage import DAMAGED

ROOT = Path(__file__).resolve().parents[2]
Trial = Callable[..., TrialFacts]
DONE = TrialEnd(Ending.COMPLETE, {"best/val_miou": 0.4, "best/step": 20, "cost/seconds": 1.5})


def opened(store: str, folder: Path | None = None, **options: Any) -> Recorder:
    """Record a sweep whose folder is by default beside its SQLite store."""
    beside = Path(store.removeprefix("sqlite:///")).parent / "demo"
    return Recorder.open(store, "demo", folder or beside, **options)


def has_ended(record: Recorder, facts: TrialFacts) -> bool:
    return record.has_ended(facts.strategy, facts.role, facts.fingerprint)


def runs_of(store: str) -> list[Any]:
    """Return the trials' runs as MLflow itself reads them, by strategy and learning rate."""
    client = MlflowClient(store)
    experiment = client.get_experiment_by_name("demo")
    assert experiment is not None
    found = client.search_runs([experiment.experiment_id], "tags.role != 'sweep' and tags.role != 'cell'")
    return sorted(
        found, key=lambda run: (run.data.tags["strategy"], run.data.params["training.optimiser.lr"])
    )


def only_run(store: str) -> Any:
    (run,) = runs_of(store)
    return run


def curve(store: str, name: str) -> list[tuple[int, float]]:
    history = MlflowClient(store).get_metric_history(only_run(store).info.run_id, name)
    return sorted((point.step, point.value) for point in history)


def text_of(store: str, run_id: str, name: str, folder: Path) -> str:
    return Path(MlflowClient(store).download_artifacts(run_id, name, str(folder))).read_text()


def test_a_trial_told_from_start_to_end_is_all_there(store: str, trial: Trial, tmp_path: Path) -> None:
    result = tmp_path / "trial" / "out.json"
    result.parent.mkdir()
    result.write_text("{}")
    facts = trial(lr=0.003)
    record = opened(store, question="Which?", metric=("miou", 7))
    record.trial_started(facts)
    record.trial_progress(facts, 10, {"train/loss": 2.0, "val/miou": 0.1})
    record.trial_progress(facts, 20, {"train/loss": 1.0, "val/miou": 0.4})
    record.trial_ended(facts, TrialEnd(Ending.COMPLETE, DONE.metrics, artifacts={"result.json": result}))
    record.close()

    assert record.problems == ()
    run = only_run(store)
    assert run.info.run_name == f"utae labels=0.1 dates=6 #{facts.fingerprint[:6]}"
    assert run.info.status == "FINISHED"
    assert run.data.params["training.optimiser.lr"] == "0.003"
    told = {name: run.data.tags[name] for name in ("sweep", "strategy", "role", "seed", "model", "tuning")}
    assert told == {
        "sweep": "demo",
        "strategy": "utae",
        "role": "search",
        "seed": "0",
        "model": "utae",
        "tuning": "scratch",
    }
    assert (run.data.tags["label_fraction"], run.data.tags["temporal_length"]) == ("0.1", "6")
    assert (run.data.tags["metric.name"], run.data.tags["metric.version"]) == ("miou", "7")
    assert run.data.tags["state"] == "complete"
    assert json.loads(run.data.tags["trial_config"]) == facts.config
    assert run.data.metrics == {
        "train/loss": 1.0,
        "val/miou": 0.4,
        "best/val_miou": 0.4,
        "best/step": 20,
        "cost/seconds": 1.5,
        "cell/label_fraction": 0.1,
        "cell/temporal_length": 6,
        "cell/seed": 0,
    }
    assert curve(store, "val/miou") == [(10, 0.1), (20, 0.4)]
    assert json.loads(text_of(store, run.info.run_id, "config.json", tmp_path)) == facts.config
    assert text_of(store, run.info.run_id, "result.json", tmp_path) == "{}"

    (parent,) = MlflowClient(store).search_runs(["1"], "tags.role = 'sweep'")
    assert (parent.info.run_name, parent.info.status) == ("demo", "FINISHED")
    assert parent.data.tags["mlflow.note.content"] == "Which?"


def test_files_of_a_sqlite_store_lie_where_they_were_asked_to(
    store: str, trial: Trial, tmp_path: Path
) -> None:
    record = opened(store, artifact_folder=tmp_path / "files")
    record.trial_started(trial())
    record.close()
    assert only_run(store).info.artifact_uri.startswith((tmp_path / "files" / "demo").as_uri())
    assert list((tmp_path / "files" / "demo").rglob("config.json"))


def test_a_pruned_and_a_failed_trial_say_so(store: str, trial: Trial) -> None:
    record = opened(store)
    record.trial_ended(trial(lr=0.001), TrialEnd(Ending.PRUNED, {"best/val_miou": 0.1}))
    record.trial_ended(trial(lr=0.002), TrialEnd(Ending.FAILED, message="the loss became NaN at step 12"))
    record.close(SweepEnding.STOPPED)
    pruned, failed = runs_of(store)
    assert (pruned.data.tags["state"], pruned.info.status) == ("pruned", "KILLED")
    assert (failed.data.tags["state"], failed.info.status) == ("failed", "FAILED")
    assert failed.data.tags["failure"] == "the loss became NaN at step 12"
    (parent,) = MlflowClient(store).search_runs(["1"], "tags.role = 'sweep'")
    assert parent.info.status == "KILLED"


def test_a_confirmation_names_its_seed_and_its_test_fold(store: str, trial: Trial) -> None:
    facts = trial(role=Role.CONFIRMATION, seed=2)
    record = opened(store)
    record.trial_started(facts)
    record.close()
    assert only_run(store).info.run_name == f"utae labels=0.1 dates=6 seed=2 test=5 #{facts.fingerprint[:6]}"


def test_rotated_confirmations_can_be_filtered_by_their_test_fold(store: str, trial: Trial) -> None:
    record = opened(store)
    moved = {"data": SWEEP.cells[0].trial(rotation=2).canonical()["data"]}
    record.trial_ended(trial(role=Role.CONFIRMATION, seed=1), DONE)
    record.trial_ended(replace(trial(role=Role.CONFIRMATION, seed=1, config=moved), fingerprint="f2"), DONE)
    record.close()
    client = MlflowClient(store)
    (found,) = client.search_runs(["1"], "tags.test_folds = '2'")
    assert found.data.tags["fingerprint"] == "f2"


def test_the_confusion_matrix_of_a_confirmation_comes_back_as_it_was_told(store: str, trial: Trial) -> None:
    counts = np.random.default_rng(0).integers(0, 10**6, (19, 19))
    facts = trial(role=Role.CONFIRMATION, seed=1)
    record = opened(store)
    record.trial_ended(facts, TrialEnd(Ending.COMPLETE, test_counts_KK=counts))
    record.close()
    assert np.array_equal(counts_of(only_run(store).data.tags), counts)


def test_a_confusion_matrix_that_is_too_long_for_a_tag_hides_no_ending(store: str, trial: Trial) -> None:
    facts = trial(role=Role.CONFIRMATION, seed=1)
    record = opened(store)
    end = TrialEnd(Ending.COMPLETE, test_counts_KK=np.full((60, 60), 10**6))
    record.trial_ended(facts, end)
    record.close()
    assert record.problems == ()
    assert counts_of(only_run(store).data.tags) is None
    assert only_run(store).data.tags["state"] == "complete"


def test_where_a_configuration_came_from_is_a_tag(store: str, trial: Trial) -> None:
    record = opened(store)
    record.trial_started(replace(trial(lr=0.001), origin="neighbour utae/labels=0.1/dates=1"))
    record.trial_started(trial(lr=0.002, role=Role.CONFIRMATION, seed=1))
    record.close()
    searched, confirmed = runs_of(store)
    assert searched.data.tags["origin"] == "neighbour utae/labels=0.1/dates=1"
    assert "origin" not in confirmed.data.tags


def test_telling_an_ending_again_changes_nothing(store: str, trial: Trial) -> None:
    for _ in range(2):  # in two processes' lives, and twice in each
        record = opened(store)
        record.trial_ended(trial(), DONE)
        record.trial_ended(trial(), DONE)
        record.close()
    before = only_run(store)
    record = opened(store)
    record.trial_ended(trial(), TrialEnd(Ending.COMPLETE, {"best/val_miou": 0.9}))
    record.close()
    after = only_run(store)
    assert after.data.metrics == before.data.metrics
    assert after.info.end_time == before.info.end_time
    assert curve(store, "best/val_miou") == [(0, 0.4)]


def test_a_later_driver_continues_runs_and_logs_no_step_twice(store: str, trial: Trial) -> None:
    first = opened(store)
    first.trial_started(trial())
    first.trial_progress(trial(), 10, {"val/miou": 0.1})
    first.trial_progress(trial(), 20, {"val/miou": 0.2})
    assert first.flush()  # and no close: the driver dies here

    second = opened(store)
    second.trial_started(trial())
    for step, miou in ((20, 0.2), (30, 0.3)):
        second.trial_progress(trial(), step, {"val/miou": miou})
    second.trial_ended(trial(), DONE)
    second.close()
    assert second.problems == ()
    assert curve(store, "val/miou") == [(10, 0.1), (20, 0.2), (30, 0.3)]
    client = MlflowClient(store)
    assert len(client.search_runs(["1"], "tags.role = 'sweep'")) == 1


def test_a_trial_thrown_back_to_its_checkpoint_logs_no_step_twice(store: str, trial: Trial) -> None:
    record = opened(store)
    record.trial_started(trial())
    for step in (10, 20, 30, 20, 30, 40):
        record.trial_progress(trial(), step, {"val/miou": step / 100})
    record.close()
    assert [step for step, _ in curve(store, "val/miou")] == [10, 20, 30, 40]


@pytest.mark.parametrize("start_is_told", [True, False])
def test_a_failed_trial_that_is_run_again_forgets_its_failure(
    store: str, trial: Trial, start_is_told: bool
) -> None:
    record = opened(store)
    record.trial_ended(trial(), TrialEnd(Ending.FAILED, message="out of memory"))
    if start_is_told:
        record.trial_started(trial())
        record.flush()
        assert not has_ended(record, trial())
    record.trial_ended(trial(), DONE)
    record.close()
    run = only_run(store)
    assert (run.data.tags["state"], run.info.status) == ("complete", "FINISHED")
    assert "failure" not in run.data.tags


def test_what_has_ended_is_known_to_the_next_driver(store: str, trial: Trial) -> None:
    first = opened(store)
    complete, pruned, running = trial(lr=0.001), trial(lr=0.002), trial(lr=0.003)
    first.trial_ended(complete, DONE)
    first.trial_ended(pruned, TrialEnd(Ending.PRUNED))
    first.trial_started(running)
    first.flush()
    again = opened(store)
    assert [has_ended(again, facts) for facts in (complete, pruned, running)] == [True, True, False]


def test_an_ending_cut_short_is_completed_and_nothing_of_it_doubled(store: str, trial: Trial) -> None:
    first = opened(store)
    first.trial_started(trial())
    first.flush()
    # The driver dies after the numbers and before the state.
    MlflowClient(store).log_metric(only_run(store).info.run_id, "best/val_miou", 0.4)
    second = opened(store)
    second.trial_ended(trial(), DONE)
    second.close()
    assert curve(store, "best/val_miou") == [(0, 0.4)]
    assert curve(store, "best/step") == [(0, 20)]
    assert only_run(store).data.tags["state"] == "complete"


def test_a_run_whose_making_was_never_acknowledged_is_found(store: str, trial: Trial) -> None:
    record = opened(store)
    # The request arrived, its answer did not: the run is there and the recorder does not know.
    tags = tags_of(trial()) | {"state": "running"}
    MlflowClient(store).create_run("1", tags=tags)
    record.trial_started(trial())
    record.trial_ended(trial(), DONE)
    record.close()
    run = only_run(store)
    assert run.data.params["training.optimiser.lr"] == "0.001"
    assert run.data.tags["state"] == "complete"


def test_two_strategies_with_the_same_experiment_have_a_run_each(store: str, trial: Trial) -> None:
    one, other = trial(), trial(strategy="utae_again")
    assert one.fingerprint == other.fingerprint
    record = opened(store)
    record.trial_started(one)
    record.trial_started(other)
    record.trial_progress(one, 10, {"val/miou": 0.1})
    record.trial_ended(one, DONE)
    record.flush()
    assert (has_ended(record, one), has_ended(record, other)) == (True, False)
    record.trial_ended(other, DONE)
    record.close()
    values = {run.data.tags["strategy"]: run.data.metrics.get("val/miou") for run in runs_of(store)}
    assert values == {"utae": 0.1, "utae_again": None}


def test_a_config_too_long_for_a_tag_is_kept_in_the_file_alone(
    store: str, trial: Trial, tmp_path: Path
) -> None:
    facts = trial(config={"note": "x" * 9000})
    record = opened(store)
    record.trial_started(facts)
    record.close()
    run = only_run(store)
    assert "trial_config" not in run.data.tags
    assert json.loads(text_of(store, run.info.run_id, "config.json", tmp_path)) == facts.config


def test_infinite_and_missing_numbers_are_left_out(store: str, trial: Trial) -> None:
    record = opened(store)
    record.trial_ended(trial(), TrialEnd(Ending.FAILED, {"val/loss": float("inf"), "val/miou": float("nan")}))
    record.close()
    assert record.problems == ()
    assert not {"val/loss", "val/miou"} & only_run(store).data.metrics.keys()


def test_a_class_name_with_commas_is_recorded_without_them(store: str, trial: Trial) -> None:
    record = opened(store)
    record.trial_ended(trial(), TrialEnd(Ending.COMPLETE, {"test/iou/fruits, vegetables (all)": 0.5}))
    record.close()
    assert record.problems == ()
    assert only_run(store).data.metrics["test/iou/fruits vegetables all"] == 0.5


def test_a_file_that_is_gone_is_a_problem_and_the_ending_is_kept(
    store: str, trial: Trial, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fact_writes, "RETRY_PAUSES", (0.0,))
    record = opened(store)
    record.trial_ended(
        trial(), TrialEnd(Ending.COMPLETE, DONE.metrics, artifacts={"result.json": tmp_path / "gone"})
    )
    record.close()
    assert only_run(store).data.tags["state"] == "complete"
    missing, advice = record.problems
    assert "gone" in missing
    assert "did not take 1 fact;" in advice


def test_a_run_of_someone_else_in_the_experiment_is_left_alone(store: str, trial: Trial) -> None:
    opened(store).close()
    client = MlflowClient(store)
    theirs = client.create_run("1", tags={"role": "mine"})
    record = opened(store)
    record.trial_ended(trial(), DONE)
    record.close()
    assert record.problems == ()
    assert client.get_run(theirs.info.run_id).info.status == "RUNNING"


def test_a_deleted_experiment_is_refused_with_the_way_back(store: str) -> None:
    opened(store).close()
    MlflowClient(store).delete_experiment("1")
    with pytest.raises(TrackingError, match=r"mlflow experiments restore -x 1"):
        opened(store)


def test_the_environment_is_as_it_was(store: str, trial: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")
    before = dict(os.environ)
    record = opened(store)
    record.trial_ended(trial(), DONE)
    record.close()
    assert dict(os.environ) == before


def test_files_are_attached_to_the_sweep(store: str, tmp_path: Path) -> None:
    opened(store).close()
    (tmp_path / "map.svg").write_text("<svg/>")
    publish(store, SweepPublication("demo", "", (), files={tmp_path / "map.svg": "report/figures"}))
    (parent,) = MlflowClient(store).search_runs(["1"])
    assert text_of(store, parent.info.run_id, "report/figures/map.svg", tmp_path) == "<svg/>"


def test_nothing_is_attached_to_a_sweep_that_is_not_there(store: str, tmp_path: Path) -> None:
    with pytest.raises(TrackingError, match="run the sweep first"):
        publish(store, SweepPublication("demo", "", (), files={tmp_path: "report"}))


def test_lines_that_cannot_be_read_are_told_once_and_the_facts_after_them_are_written(
    store: str, trial: Trial, tmp_path: Path
) -> None:
    record = opened(store)
    record.trial_started(trial())
    record.trial_progress(trial(), 10, {"val/miou": 0.1})
    with (tmp_path / "demo" / SPOOL_FILE).open("ab") as spool:
        spool.write(b"\n".join([*DAMAGED, b""]))
    record.trial_progress(trial(), 20, {"val/miou": 0.2})
    record.trial_ended(trial(), DONE)
    assert record.flush()
    record.close()
    assert len(record.problems) == len(DAMAGED)
    assert 'expected a fact; got \'{"kind": "weather"' in record.problems[0]
    assert "'weather' is not a valid Kind" in record.problems[0]
    assert curve(store, "val/miou") == [(10, 0.1), (20, 0.2)]
    assert only_run(store).data.tags["state"] == "complete"


def test_a_fact_that_nothing_can_be_made_of_is_refused_with_its_reason(store: str, trial: Trial) -> None:
    record = opened(store)
    record.trial_started(replace(trial(role=Role.CONFIRMATION, seed=1), config={}, fingerprint="odd"))
    record.trial_started(trial())
    record.close()
    reason, advice = record.problems
    assert "KeyError: 'data'" in reason
    assert "did not take 1 fact" in advice
    assert only_run(store).data.tags["fingerprint"] == trial().fingerprint


def test_a_spool_that_cannot_be_read_for_a_while_holds_nothing_up_for_good(
    store: str, trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder, "OUTAGE_PAUSE", 0.05)
    broken, read = Event(), recorder.spool_lines

    def stale(*place: Any) -> Iterator[SpoolLine]:
        if not broken.is_set():
            broken.set()
            raise OSError(116, "Stale file handle")
        return read(*place)

    record = opened(store)
    assert record.flush()
    monkeypatch.setattr(recorder, "spool_lines", stale)
    record.trial_ended(trial(), DONE)
    assert record.flush()
    record.close()
    assert broken.is_set()
    assert record.problems == ()
    assert only_run(store).data.tags["state"] == "complete"


def test_what_waits_says_that_the_spool_could_not_be_read(
    store: str, trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = opened(store)
    assert record.flush()
    in_thread, read = Event(), recorder.spool_lines

    def stale(*place: Any) -> Iterator[SpoolLine]:
        if current_thread() is main_thread():
            return read(*place)
        in_thread.set()
        raise OSError(116, "Stale file handle")

    monkeypatch.setattr(recorder, "spool_lines", stale)
    record.trial_ended(trial(), DONE)
    assert in_thread.wait(10)
    record.close()
    (told,) = record.problems
    assert told.startswith("1 fact waits in ")
    assert "because OSError: [Errno 116] Stale file handle" in told


def test_only_what_the_store_did_not_hear_waits_when_it_goes_away_amid_many_facts(
    store: str, trial: Trial, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    all_told, carried = Event(), recorder.carry_out

    def away_at_last(client: MlflowClient, write: fact_writes.Write) -> Exception | None:
        assert all_told.wait(10)  # so that the thread is told all of them at once
        if isinstance(write, partial) and write.func.__name__ == "progress" and write.args[1] == 30:
            raise fact_writes.StoreAway("gone")
        return carried(client, write)

    monkeypatch.setattr(recorder, "carry_out", away_at_last)
    monkeypatch.setattr(recorder, "answers", lambda client: False)
    record = opened(store)
    record.trial_started(trial())
    for step in (10, 20, 30, 40):
        record.trial_progress(trial(), step, {"val/miou": step / 100})
    all_told.set()
    record.close()
    (told,) = record.problems
    assert told.startswith("2 facts wait in ")


def test_a_database_that_someone_else_keeps_writing_to_refuses_no_fact(
    store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fact_writes, "RETRY_PAUSES", (0.0,))
    client = MlflowClient(store)
    file = store.removeprefix("sqlite:///")
    with closing(sqlite3.connect(file)) as someone, closing(sqlite3.connect(file, timeout=0)) as impatient:
        write = partial(impatient.execute, "UPDATE experiments SET name = 'renamed'")
        someone.execute("BEGIN IMMEDIATE")
        assert fact_writes.answers(client)  # who reads notices nothing
        with pytest.raises(fact_writes.StoreAway, match="database is locked"):
            fact_writes.carry_out(client, write)
        someone.rollback()
        assert fact_writes.carry_out(client, write) is None


def test_ends_that_wait_in_the_spool_are_known_before_the_store_hears_them(
    store: str, trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended, restarted, unheard = trial(lr=0.001), trial(lr=0.002), trial(lr=0.003)
    with monkeypatch.context() as held:
        held.setattr(Recorder, "_work", lambda record: None)  # nothing is told to the store
        first = opened(store)
        for facts in (ended, restarted):
            first.trial_started(facts)
            first.trial_ended(facts, DONE)
        first.trial_started(restarted)
        second = opened(store)
        assert [has_ended(second, facts) for facts in (ended, restarted, unheard)] == [True, False, False]
    third = opened(store)
    assert third.flush()
    assert [has_ended(third, facts) for facts in (ended, restarted, unheard)] == [True, False, False]
    third.close()


def test_where_a_trial_runs_is_told_when_it_has_its_slot(store: str, trial: Trial) -> None:
    record = opened(store)
    record.trial_started(trial())
    record.trial_began(trial(), Place("node7", "gpu 1"))
    record.close()
    tags = only_run(store).data.tags
    assert (tags["host"], tags["device"]) == ("node7", "gpu 1")


DRIVER = """
import sys
from pathlib import Path
from shapeft_tune.tracking import Recorder
from tests.tracking.conftest import facts

record = Recorder.open(sys.argv[1], "demo", Path(sys.argv[2]))
record.trial_started(facts())
for step in range(1, 100_000):
    record.trial_progress(facts(), step, {"val/miou": step / 1e6})
    print(step, flush=True)
"""


def test_a_driver_that_is_killed_while_it_writes_loses_no_point_and_doubles_none(
    store: str, trial: Trial, tmp_path: Path
) -> None:
    arguments = [sys.executable, "-c", DRIVER, store, str(tmp_path / "demo")]
    driver = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert driver.stdout is not None
    while int(driver.stdout.readline()) < 30:
        pass
    driver.kill()
    told = [30, *map(int, driver.stdout.read().split())][-1]
    driver.wait()

    record = opened(store)
    record.trial_started(trial())
    record.trial_progress(trial(), 200_000, {"val/miou": 0.2})
    record.close()
    assert record.problems == ()
    steps = [step for step, _ in curve(store, "val/miou")]
    assert steps[-1] == 200_000
    assert steps[:-1] == list(range(1, len(steps)))
    assert len(steps) - 1 >= told  # one more may have been written than its driver lived to say


def test_an_outage_of_the_server_delays_facts_and_loses_none(
    server: Gate, trial: Trial, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = server.database
    monkeypatch.setattr(fact_writes, "RETRY_PAUSES", (0.0,))
    monkeypatch.setattr(recorder, "OUTAGE_PAUSE", 0.2)
    with pytest.raises(TrackingError, match="check the address"):
        opened(server.address, tmp_path / "demo")
    server.start()
    record = opened(server.address, tmp_path / "demo")
    record.trial_started(trial())
    record.trial_progress(trial(), 10, {"val/miou": 0.1})
    assert record.flush()

    server.stop()
    record.trial_progress(trial(), 20, {"val/miou": 0.2})
    record.trial_ended(trial(), DONE)
    assert not record.flush(0.5)
    server.start()
    assert record.flush()
    assert record.problems == ()
    assert curve(store, "val/miou") == [(10, 0.1), (20, 0.2)]
    run = only_run(store)
    assert run.data.tags["state"] == "complete"
    assert json.loads(text_of(server.address, run.info.run_id, "config.json", tmp_path)) == trial().config

    server.stop()
    record.trial_ended(trial(lr=0.002), DONE)
    record.close()
    (told,) = record.problems
    assert told.startswith("1 fact waits in ")
    assert "`record sync` sends what waits" in told
