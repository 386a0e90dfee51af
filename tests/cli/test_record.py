from __future__ import annotations

from pathlib import Path

import pytest

from shapeft_tune.tracking import Recorder
from shapeft_tune.tracking.spooling.spool import SPOOL_FILE
from shapeft_tune.tune.ledger.lock import sole_driver
from tests.tracking.spooling.damage import DAMAGED, damaged_in_the_middle
from tests.tracking.told import TRIALS, differences, everything, tell_all
from tests.tune.small import SMALL, run, written


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Return a home whose record is there twice: in MLflow, and in the spool."""
    folder = tmp_path / "home" / "small"
    store = f"sqlite:///{tmp_path / 'home' / 'mlflow.db'}"
    folder.mkdir(parents=True)
    record = Recorder.open(store, "small", folder, folder.parent / "artifacts")
    tell_all(record, folder)
    record.close()
    return folder.parent


def test_a_whole_record_is_sent_to_a_store_that_never_heard_of_the_sweep_but_what_cannot_be_read(
    home: Path, tmp_path: Path
) -> None:
    file = written(tmp_path / "small.yaml", SMALL)
    there = run("record", "sync", file, "--home", home)
    assert (there.returncode, there.stdout.split(":")[0]) == (0, "Nothing waited"), there.stderr

    damaged_in_the_middle(home / "small" / SPOOL_FILE)
    another = f"sqlite:///{tmp_path / 'another.db'}"
    sent = run("record", "sync", file, "--home", home, "--tracking-uri", another)
    assert sent.returncode == 0, sent.stderr
    assert f"facts of {len(TRIALS)} trials sent to experiment 'small' at {another}" in sent.stdout
    assert sent.stderr.count("not in the record: byte ") == len(DAMAGED)
    assert "a line that cannot be read (place: Field required)" in sent.stderr
    assert f"{len(DAMAGED)} lines of the facts cannot be read: all else was sent" in sent.stderr
    here = f"sqlite:///{home / 'mlflow.db'}"
    assert differences(everything(another, "small"), everything(here, "small")) == []

    again = run("record", "sync", file, "--home", home, "--tracking-uri", another, "--rebuild")
    assert f"facts of {len(TRIALS)} trials sent" in again.stdout
    assert differences(everything(another, "small"), everything(here, "small")) == []


def test_a_sweep_that_runs_is_left_to_its_driver(home: Path, tmp_path: Path) -> None:
    file = written(tmp_path / "small.yaml", SMALL)
    with sole_driver(home / "small"):
        refused = run("record", "sync", file, "--home", home)
    assert refused.returncode == 2
    assert "expected a sweep that nobody runs; process" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_home_without_the_sweep_or_without_its_facts_is_an_error_that_says_what_to_do(
    home: Path, tmp_path: Path
) -> None:
    file = written(tmp_path / "small.yaml", SMALL)
    elsewhere = run("record", "sync", file, "--home", tmp_path / "nowhere")
    assert elsewhere.returncode == 2
    assert "run it first, or give --home" in elsewhere.stderr
    (home / "small" / "record.jsonl").unlink()
    older = run("record", "sync", file, "--home", home)
    assert older.returncode == 2
    assert "run `sweep` again: it writes the end of every trial" in older.stderr
