"""A whole record from a home that lost its spool, from a real sweep."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from shapeft_tune.tracking.facts import CELL_WALL_SECONDS
from shapeft_tune.tracking.spooling.position import POSITION_FILE
from shapeft_tune.tracking.spooling.spool import SPOOL_FILE
from tests.tracking.told import everything
from tests.tune.small import SMALL, run, written


def test_a_home_without_its_spool_makes_the_record_anew_from_ledger_and_files(tmp_path: Path) -> None:
    file, home = written(tmp_path / "small.yaml", SMALL), tmp_path / "home"
    swept = run("sweep", file, "--home", home, "--cpus", 2)
    assert swept.returncode == 0, swept.stderr
    for name in (SPOOL_FILE, POSITION_FILE):
        (home / "small" / name).unlink()

    store = f"sqlite:///{tmp_path / 'anew.db'}"
    synced = run("record", "sync", file, "--home", home, "--tracking-uri", store)
    assert synced.returncode == 0, synced.stderr
    assert "record.jsonl had no end of 10 trials" in synced.stderr
    told, retold = (everything(uri, "small") for uri in (f"sqlite:///{home / 'mlflow.db'}", store))
    assert retold.keys() == {title for title, run in told.items() if run["tags"]["role"] != "curve"}
    for title, trial in retold.items():
        assert trial["status"] == told[title]["status"] == "FINISHED"
        if trial["tags"]["role"] in ("search", "confirmation"):
            assert_retold(trial, told[title])
    again = run("record", "sync", file, "--home", home, "--tracking-uri", store)
    assert "Nothing waited" in again.stdout
    assert "had no end" not in again.stderr


def assert_retold(trial: dict[str, Any], told: dict[str, Any]) -> None:
    """Check that a trial has scores, cost, files and data again, and of its curves the validation mIoU."""
    assert lasting(trial["latest"]) == lasting(told["latest"])
    assert trial["files"] == told["files"]
    assert trial["params"] == told["params"]
    curve, whole = ([point[:2] for point in run["points"]["val/miou"]] for run in (trial, told))
    assert curve == whole
    lost = {"data_digest", "contents"}
    assert {name: text for name, text in told["tags"].items() if name not in lost} == trial["tags"]


def lasting(latest: dict[str, float]) -> dict[str, float]:
    """Leave out what is only told over steps, and the cell's wall time, which its driver alone knew."""
    gone = ("train/", "val/", "speed/", "system/", CELL_WALL_SECONDS)
    return {name: value for name, value in latest.items() if not name.startswith(gone)}
