from __future__ import annotations

import shutil
import sqlite3
import time
from dataclasses import replace
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from shapeft_tune.errors import TrackingError
from shapeft_tune.tracking import Ending, Recorder, SweepEnding, TrialEnd, recorder
from shapeft_tune.tracking.spooling import fact_writes
from shapeft_tune.tracking.spooling.fact_lines import Kind, end_content
from shapeft_tune.tracking.spooling.position import POSITION_FILE
from shapeft_tune.tracking.spooling.spool import SPOOL_FILE, Spool
from shapeft_tune.tracking.spooling.sync import Synced, sync_record
from tests.tracking.mlflow_server import Gate
from tests.tracking.spooling.damage import DAMAGED, damaged_in_the_middle
from tests.tracking.told import (
    CONFIRMED,
    OPEN,
    PRUNED,
    SEARCHED,
    TRIALS,
    completed,
    differences,
    everything,
    points,
    tell_all,
)

CELL = "utae labels=0.1 dates=6"
NOTHING = Synced(0, 0, ())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "home" / "demo"


@pytest.fixture
def recorded(store: str, folder: Path) -> str:
    """Return a store into which a driver recorded trials of every kind, and ended in good order."""
    record = Recorder.open(store, "demo", folder, question="Which?", metric=("miou", 7))
    tell_all(record, folder)
    record.close(SweepEnding.STOPPED)
    assert record.problems == ()
    return store


@pytest.fixture
def another(empty_store: Path, tmp_path: Path) -> str:
    """Return the address of a store that never heard of the sweep."""
    (tmp_path / "another").mkdir()
    return f"sqlite:///{shutil.copy(empty_store, tmp_path / 'another' / 'mlflow.db')}"


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fact_writes, "RETRY_PAUSES", (0.0,))
    monkeypatch.setattr(recorder, "OUTAGE_PAUSE", 0.2)
    monkeypatch.setattr(recorder, "CLOSING_PATIENCE", 10.0)


def test_nothing_waits_after_a_driver_ended_in_good_order(recorded: str, folder: Path) -> None:
    before = everything(recorded)
    assert sync_record(recorded, "demo", folder) == NOTHING
    assert differences(everything(recorded), before) == []


@pytest.mark.parametrize("rebuild", [False, True])
def test_telling_a_complete_store_everything_again_changes_nothing(
    recorded: str, folder: Path, rebuild: bool
) -> None:
    before = everything(recorded)
    (folder / POSITION_FILE).unlink()
    synced = sync_record(recorded, "demo", folder, rebuild=rebuild)
    # Without a search for gaps only the trial that never ended is told again.
    assert synced.trials == (len(TRIALS) if rebuild else 1)
    assert synced.refused == ()
    assert differences(everything(recorded), before) == []


def test_a_store_that_never_heard_of_the_sweep_gets_the_record_that_the_first_one_has(
    recorded: str, folder: Path, another: str
) -> None:
    original = everything(recorded)
    assert original[SEARCHED.title]["points"]["val/miou"][-1][:2] == (40, 0.04)
    assert original[SEARCHED.title]["tags"]["metric.version"] == "7"
    synced = sync_record(another, "demo", folder, question="Which?")
    assert synced.trials == len(TRIALS)
    assert differences(everything(another), original) == []
    assert sync_record(another, "demo", folder) == NOTHING
    assert sync_record(recorded, "demo", folder) == NOTHING


def test_a_database_that_was_deleted_is_made_again_from_a_home_that_was_moved(
    recorded: str, folder: Path, another: str, tmp_path: Path
) -> None:
    original = everything(recorded)
    moved = folder.parent.rename(tmp_path / "moved") / "demo"
    sync_record(another, "demo", moved, question="Which?")
    assert differences(everything(another), original) == []


def test_a_record_in_a_new_database_at_the_old_address_is_whole(
    recorded: str, folder: Path, empty_store: Path
) -> None:
    original = everything(recorded)
    # As bytes, because this process has the file open: what was recorded is gone, the address is the same.
    with sqlite3.connect(empty_store) as empty, sqlite3.connect(recorded.removeprefix("sqlite:///")) as old:
        empty.backup(old)
    shutil.rmtree(Path(recorded.removeprefix("sqlite:///")).parent / "artifacts")
    assert sync_record(recorded, "demo", folder, question="Which?").trials == len(TRIALS)
    assert differences(everything(recorded), original) == []


def test_rebuild_fills_the_gaps_of_a_store_that_lost_points_and_files(recorded: str, folder: Path) -> None:
    original = everything(recorded)
    with sqlite3.connect(recorded.removeprefix("sqlite:///")) as database:
        gone = database.execute("DELETE FROM metrics WHERE key = 'val/miou' AND step = 20").rowcount
        database.execute("DELETE FROM params WHERE key LIKE 'training.%'")
    assert gone == 4
    for file in (Path(recorded.removeprefix("sqlite:///")).parent / "artifacts").rglob("result.json"):
        file.unlink()
    assert sync_record(recorded, "demo", folder) == NOTHING  # nobody told it that the store lost anything
    assert everything(recorded) != original
    sync_record(recorded, "demo", folder, rebuild=True)
    # The trial that still runs has no end, so its curve goes on after its last step: what else is whole.
    del original[OPEN.title]
    assert {title: run for title, run in everything(recorded).items() if title in original} == original


def test_what_a_server_could_not_take_to_the_end_is_sent_later(
    server: Gate, folder: Path, another: str, hurried: None
) -> None:
    server.start()
    record = Recorder.open(server.address, "demo", folder, question="Which?")
    record.trial_started(SEARCHED)
    points(record, SEARCHED, 10)
    assert record.flush()
    server.stop()
    points(record, SEARCHED, 20, 30)
    tell_all(record, folder)
    record.close(SweepEnding.FINISHED)
    (told,) = record.problems
    assert "facts wait in" in told
    with pytest.raises(TrackingError, match="check the address"):
        sync_record(server.address, "demo", folder)

    server.start()
    assert sync_record(server.address, "demo", folder).refused == ()
    assert sync_record(server.address, "demo", folder) == NOTHING
    sync_record(another, "demo", folder, question="Which?")
    assert differences(everything(server.address), everything(another)) == []
    reached = everything(server.address)[SEARCHED.title]["points"]["val/miou"]
    assert [step for step, _, _ in reached] == [10, 20, 30, 40]


def test_the_next_driver_sends_first_what_the_last_one_could_not(
    server: Gate, folder: Path, another: str, hurried: None
) -> None:
    server.start()
    record = Recorder.open(server.address, "demo", folder, question="Which?")
    server.stop()
    tell_all(record, folder)
    record.close(SweepEnding.STOPPED)
    server.start()
    again = Recorder.open(server.address, "demo", folder, question="Which?")
    # Its end waits in the spool: a driver that makes up for ends need not tell this one.
    assert again.has_ended(PRUNED.strategy, PRUNED.role, PRUNED.fingerprint)
    assert not again.has_ended(OPEN.strategy, OPEN.role, OPEN.fingerprint)
    again.trial_started(OPEN)
    points(again, OPEN, 20, 30, 40)
    again.trial_ended(OPEN, TrialEnd(Ending.COMPLETE))
    again.close()
    assert again.problems == ()
    sync_record(another, "demo", folder, question="Which?")
    assert differences(everything(server.address), everything(another)) == []


def test_a_server_that_goes_away_while_a_record_is_sent_is_told_the_rest_later(
    server: Gate, recorded: str, folder: Path, hurried: None
) -> None:
    server.start()

    def stop(done: int, of: int) -> None:
        if done == 2:
            server.stop()

    with pytest.raises(TrackingError, match=r"stopped after 2 trials .* call `record sync` again"):
        sync_record(server.address, "demo", folder, question="Which?", on_trial=stop)
    server.start()
    synced = sync_record(server.address, "demo", folder, question="Which?")
    assert synced.trials == len(TRIALS) - 2
    assert differences(everything(server.address), everything(recorded)) == []


def test_a_fact_that_was_refused_is_sent_once_the_store_is_mended(
    store: str, folder: Path, another: str, hurried: None
) -> None:
    artifacts = Path(store.removeprefix("sqlite:///")).parent / "artifacts"
    record = Recorder.open(store, "demo", folder, question="Which?")
    artifacts.write_text("a file where a folder should be")
    tell_all(record, folder)
    record.close()
    *refused, advice = record.problems
    assert refused
    assert "did not take" in advice
    assert "`record sync`" in advice
    assert sync_record(store, "demo", folder).refused  # nothing was mended

    artifacts.unlink()
    assert sync_record(store, "demo", folder).refused == ()
    sync_record(another, "demo", folder, question="Which?")
    assert differences(everything(store, with_times=False), everything(another, with_times=False)) == []
    assert sync_record(store, "demo", folder) == NOTHING


def test_a_home_of_before_there_was_a_spool_says_what_can_be_done(store: str, folder: Path) -> None:
    with pytest.raises(TrackingError, match="run `sweep` again: it writes the end of every trial"):
        sync_record(store, "demo", folder)


def test_a_deleted_experiment_is_refused_with_the_way_back(recorded: str, folder: Path) -> None:
    MlflowClient(recorded).delete_experiment("1")
    with pytest.raises(TrackingError, match="mlflow experiments restore -x 1"):
        sync_record(recorded, "demo", folder)


def test_a_torn_last_line_hides_nothing_before_or_after_it(store: str, folder: Path, another: str) -> None:
    record = Recorder.open(store, "demo", folder)
    tell_all(record, folder)
    record.close()
    whole = (folder / SPOOL_FILE).read_bytes()
    (folder / SPOOL_FILE).write_bytes(whole + b'{"kind":"progress","time":17')
    Spool(folder).close()
    again = Recorder.open(store, "demo", folder)
    again.trial_started(OPEN)
    points(again, OPEN, 40)
    again.close()
    (told,) = again.problems
    assert f"byte {len(whole)} of {folder / SPOOL_FILE}: expected a fact" in told
    sync_record(another, "demo", folder)
    assert [step for step, _, _ in everything(another)[OPEN.title]["points"]["val/miou"]] == [10, 20, 30, 40]
    assert differences(everything(another), everything(store)) == []


def test_lines_that_cannot_be_read_hide_nothing_before_or_after_them(
    recorded: str, folder: Path, another: str
) -> None:
    original = everything(recorded)
    damaged_in_the_middle(folder / SPOOL_FILE)
    synced = sync_record(another, "demo", folder, question="Which?")
    assert (synced.trials, synced.refused) == (len(TRIALS), ())
    assert len(synced.unreadable) == len(DAMAGED)
    assert differences(everything(another), original) == []
    assert sync_record(another, "demo", folder) == NOTHING  # told once
    assert len(sync_record(another, "demo", folder, rebuild=True).unreadable) == len(DAMAGED)


def test_a_driver_goes_past_lines_that_an_earlier_one_left_and_nobody_can_read(
    recorded: str, folder: Path, another: str
) -> None:
    original = everything(recorded)
    damaged_in_the_middle(folder / SPOOL_FILE)
    record = Recorder.open(another, "demo", folder, question="Which?", metric=("miou", 7))
    record.close(SweepEnding.STOPPED)
    assert len(record.problems) == len(DAMAGED)
    assert all("expected a fact; got" in problem for problem in record.problems)
    of_trials = {title: run for title, run in original.items() if title not in ("demo", CELL)}
    told = {title: run for title, run in everything(another).items() if title in of_trials}
    assert differences(told, of_trials) == []


def test_a_line_that_looks_right_and_is_not_is_refused_and_all_others_are_sent(
    recorded: str, folder: Path, another: str
) -> None:
    original = everything(recorded)
    odd = replace(CONFIRMED, fingerprint="odd", config={})  # it cannot even be named
    spool = Spool(folder)
    place = spool.size
    spool.append(Kind.STARTED, 1, odd)
    spool.append(Kind.PROGRESS, 2, odd, step=1, metrics={"val/miou": 0.1})
    spool.close()
    (refused,) = sync_record(another, "demo", folder, question="Which?").refused
    assert "KeyError" in refused
    record = Recorder.open(recorded, "demo", folder)
    record.close()
    problem, advice = record.problems
    assert "KeyError" in problem
    assert "did not take 2 facts" in advice
    assert str(place) in (folder / POSITION_FILE).read_text()
    of_trials = {title: run for title, run in original.items() if title not in ("demo", CELL)}
    for store in (recorded, another):
        told = {title: run for title, run in everything(store).items() if title in of_trials}
        assert differences(told, of_trials) == []


@pytest.fixture
def other_home(recorded: str, tmp_path: Path) -> Path:
    """Return the sweep's folder in a second home, whose driver went on with it and ended every trial."""
    folder = tmp_path / "other home" / "demo"
    record = Recorder.open(recorded, "demo", folder, question="Which?", metric=("miou", 7))
    for trial in (OPEN, PRUNED):  # the second one is run again, on purpose
        record.trial_started(trial)
        points(record, trial, 10, 20, 30, 40)
        record.trial_ended(trial, completed(trial, folder))
    record.close()
    assert record.problems == ()
    return folder


@pytest.mark.parametrize("rebuild", [False, True])
@pytest.mark.parametrize("position_is_known", [False, True])
def test_an_older_home_reopens_nothing_that_another_one_ended(
    recorded: str, folder: Path, other_home: Path, rebuild: bool, position_is_known: bool
) -> None:
    before = everything(recorded)
    assert before[OPEN.title]["tags"]["state"] == before[PRUNED.title]["tags"]["state"] == "complete"
    assert before["demo"]["status"] == "FINISHED"
    if not position_is_known:
        (folder / POSITION_FILE).unlink()
    synced = sync_record(recorded, "demo", folder, rebuild=rebuild)
    assert synced.refused == ()
    assert differences(everything(recorded), before) == []
    sync_record(recorded, "demo", other_home, rebuild=True)
    assert differences(everything(recorded), before) == []


def test_what_waits_in_an_older_home_is_added_to_what_another_one_ended(
    store: str, folder: Path, tmp_path: Path
) -> None:
    Recorder.open(store, "demo", folder).close()
    spool = Spool(folder)  # the store was away, and then the driver died
    now = time.time_ns() // 1_000_000
    end = completed(SEARCHED, folder)
    spool.append(Kind.STARTED, now, SEARCHED)
    spool.append(Kind.PROGRESS, now + 1, SEARCHED, step=10, metrics={"val/miou": 0.01})
    spool.append(Kind.ENDED, now + 2, SEARCHED, end=end_content(end, folder))
    spool.append(Kind.STARTED, now + 3, OPEN)
    spool.append(Kind.PROGRESS, now + 4, OPEN, step=10, metrics={"val/miou": 0.01})
    failed = end_content(TrialEnd(Ending.FAILED, message="out of memory"), folder)
    spool.append(Kind.ENDED, now + 5, PRUNED, end=failed)
    spool.close()
    time.sleep(0.05)
    # A driver elsewhere makes up for the first end, without its files, and runs the others again.
    record = Recorder.open(store, "demo", tmp_path / "other home" / "demo")
    record.trial_ended(SEARCHED, TrialEnd(Ending.COMPLETE, {"cost/seconds": 9.0}))
    record.trial_ended(OPEN, TrialEnd(Ending.PRUNED))
    record.trial_ended(PRUNED, TrialEnd(Ending.FAILED, message="a broken disk"))
    record.close()

    assert sync_record(store, "demo", folder).refused == ()
    found = everything(store)
    assert found[SEARCHED.title]["tags"]["state"] == "complete"
    assert found[SEARCHED.title]["latest"]["best/val_miou"] == 0.04
    assert "result.json" in found[SEARCHED.title]["files"]
    assert (found[OPEN.title]["tags"]["state"], found[OPEN.title]["status"]) == ("pruned", "KILLED")
    assert found[PRUNED.title]["tags"]["failure"] == "a broken disk"
    for trial in (SEARCHED, OPEN):
        assert [step for step, _, _ in found[trial.title]["points"]["val/miou"]] == [10]


def test_a_second_failure_that_waits_is_not_taken_for_the_first(store: str, folder: Path) -> None:
    record = Recorder.open(store, "demo", folder)
    record.trial_ended(SEARCHED, TrialEnd(Ending.FAILED, message="out of memory"))
    record.close()
    spool = Spool(folder)
    now = time.time_ns() // 1_000_000 + 1000
    end = TrialEnd(Ending.FAILED, message="a broken disk")
    spool.append(Kind.STARTED, now, SEARCHED)
    spool.append(Kind.PROGRESS, now + 1, SEARCHED, step=10, metrics={"val/miou": 0.01})
    spool.append(Kind.ENDED, now + 2, SEARCHED, end=end_content(end, folder))
    spool.close()
    sync_record(store, "demo", folder)
    found = everything(store)[SEARCHED.title]
    assert found["tags"]["failure"] == "a broken disk"
    assert found["ended"] == now + 2
    assert [step for step, _, _ in found["points"]["val/miou"]] == [10]
