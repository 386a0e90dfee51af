from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from shapeft_tune.errors import TrackingError
from shapeft_tune.tracking import Ending, Recorder, SweepEnding, TrialEnd, recorder
from shapeft_tune.tracking.spooling import fact_writes
from shapeft_tune.tracking.spooling.position import POSITION_FILE
from shapeft_tune.tracking.spooling.spool import SPOOL_FILE, Spool
from shapeft_tune.tracking.spooling.sync import Synced, sync_record
from tests.tracking.mlflow_server import MlflowServer
from tests.tracking.told import OPEN, PRUNED, SEARCHED, TRIALS, differences, everything, points, tell_all

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
    store: str, folder: Path, tmp_path: Path, another: str, hurried: None
) -> None:
    server = MlflowServer(store, tmp_path / "server")
    try:
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
    finally:
        server.stop()


def test_the_next_driver_sends_first_what_the_last_one_could_not(
    store: str, folder: Path, tmp_path: Path, another: str, hurried: None
) -> None:
    server = MlflowServer(store, tmp_path / "server")
    try:
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
    finally:
        server.stop()


def test_a_server_that_goes_away_while_a_record_is_sent_is_told_the_rest_later(
    recorded: str, folder: Path, tmp_path: Path, another: str, hurried: None
) -> None:
    server = MlflowServer(another, tmp_path / "server")
    try:
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
    finally:
        server.stop()


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
    assert "record sync FILE" in advice
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
    assert again.problems == ()
    sync_record(another, "demo", folder)
    assert [step for step, _, _ in everything(another)[OPEN.title]["points"]["val/miou"]] == [10, 20, 30, 40]
    assert differences(everything(another), everything(store)) == []
