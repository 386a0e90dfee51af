"""``plan`` as a user types it: what it says before a sweep, beside one, and after the file has changed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from shapeft_tune.config import SweepConfig
from shapeft_tune.config.places import Places
from shapeft_tune.tune.ledger.ledger import Ledger
from shapeft_tune.tune.ledger.ledger_storage import open_storage
from tests.test_cli import Command, mistake
from tests.test_cli import shapeft as shapeft
from tests.tune.ledger.test_ledger import worked_off
from tests.tune.small import SMALL, UTAE, run, small, written

SAID = ("--cpus", 2, "--gpus", 0)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return written(tmp_path / "s.yaml", SMALL)


def test_before_a_measurement_hours_are_unknown_and_the_way_to_know_them_is_told(
    shapeft: Command, file: Path, tmp_path: Path
) -> None:
    out = shapeft("plan", file, "--home", tmp_path / "home").out
    assert "2 cells, 10 trials to do, 0 done." in out
    assert "Hours of 2 cells are unknown" in out
    assert "--calibrate" in out


def test_a_calibration_fills_in_hours_disk_and_what_they_rest_on(
    shapeft: Command, file: Path, tmp_path: Path
) -> None:
    outcome = shapeft("plan", file, "--home", tmp_path / "home", "--calibrate", *SAID)
    assert outcome.code == 0
    assert "measuring utae with 3 dates (2 of 2)" in outcome.err
    assert "of device time" in outcome.out
    assert "on 2 CPUs and 0 GPUs" in outcome.out
    assert "Checkpoints that are kept: " in outcome.out
    assert "that trials slow each other down" in outcome.out
    assert "?" not in outcome.out
    told = json.loads(shapeft("plan", file, "--home", tmp_path / "home", "--json", *SAID).out)
    assert told["machine"] == {"cpus": 2, "gpus": 0}
    assert (told["cells_of_unknown_time"], told["limit"]) == (0, "")
    assert told["device_hours"] == pytest.approx(sum(cell["device_hours"] for cell in told["cells"]))
    for cell in told["cells"]:
        assert (cell["basis"], cell["measured"]["source"], cell["steps"]) == ("measured", "calibration", 8)


def test_epochs_are_counted_with_the_data(shapeft: Command, tmp_path: Path) -> None:
    base = SMALL["base"] | {"training": SMALL["base"]["training"] | {"steps": {"epochs": 3}}}
    file = written(tmp_path / "epochs.yaml", SMALL | {"base": base})
    assert "epochs" in shapeft("plan", file, "--home", tmp_path / "home").out
    counted = json.loads(shapeft("plan", file, "--home", tmp_path / "home", "--labels", "--json").out)
    assert {cell["steps"] for cell in counted["cells"]} == {9}  # 3 x 6 training patches in batches of 2


def test_weights_are_checked_where_the_data_are_generated(shapeft: Command, tmp_path: Path) -> None:
    model = {"name": "croma_optical", "size": "small", "tuning": {"mode": "frozen", "weights": "mine.pt"}}
    file = written(tmp_path / "w.yaml", SMALL | {"strategies": {"frozen": {"config": {"model": model}}}})
    mistake(shapeft("plan", file, "--home", tmp_path / "home"), "mine.pt", "does not exist")


def ran(home: Path, content: dict[str, Any]) -> SweepConfig:
    """Fill a sweep's ledger without training."""
    sweep = small(**content)
    worked_off(Ledger.open(Places(home).sweep_folder(sweep.name), sweep, "d"))
    return sweep


def test_the_difference_from_the_ledger_lists_what_a_changed_file_adds_and_drops(
    shapeft: Command, tmp_path: Path
) -> None:
    ran(tmp_path, {})
    settings = {"label_fractions": [1.0], "temporal_lengths": [1, 6]}
    changed = SMALL | {"settings": settings, "budget": {"trials": 4, "confirmation_seeds": 2}}
    file = written(tmp_path / "changed.yaml", changed)
    outcome = shapeft("plan", file, "--home", tmp_path, "--diff")
    assert outcome.code == 0
    lines = outcome.out.splitlines()
    assert lines[lines.index("New cells (trials there -> wanted):") + 1] == "  utae/labels=1/dates=6: 0 -> 4"
    assert "  utae/labels=1/dates=1: 3 -> 4" in lines
    assert "  utae/labels=1/dates=3: 5 -> 0" in lines
    told = json.loads(shapeft("plan", file, "--home", tmp_path, "--diff", "--json").out)
    assert [change["cell"] for change in told["gone"]] == ["utae/labels=1/dates=3"]


def test_no_difference_is_said_to_be_none(shapeft: Command, file: Path, tmp_path: Path) -> None:
    ran(tmp_path, {})
    told = shapeft("plan", file, "--home", tmp_path, "--diff").out
    assert "File and ledger agree on cells, trials and what these mean" in told
    assert "Not compared, as a ledger does not note them: bounds" in told


def test_a_change_that_would_be_refused_is_shown_and_ends_with_2(shapeft: Command, tmp_path: Path) -> None:
    ran(tmp_path, {})
    wider = {"utae": {"config": {"model": UTAE | {"width": 16}}}}
    file = written(tmp_path / "wider.yaml", SMALL | {"strategies": wider})
    outcome = shapeft("plan", file, "--home", tmp_path, "--diff")
    assert outcome.code == 2
    assert "model.width was 8, is now 16 (in 2 cells)" in outcome.out
    mistake(shapeft("plan", file, "--home", tmp_path), "model.width was 8, is now 16")


def test_a_ledger_in_a_database_is_planned_from(shapeft: Command, file: Path, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    worked_off(Ledger.open(tmp_path / "folder", small(), "d", storage=open_storage(url, tmp_path)))
    plan = json.loads(shapeft("plan", file, "--home", tmp_path / "home", "--ledger", url, "--json").out)
    assert (plan["trials_to_do"], plan["trials_done"]) == (0, 10)


def test_a_sweep_takes_the_trials_and_steps_that_were_planned(shapeft: Command, tmp_path: Path) -> None:
    """The one real sweep: its seconds depend on the machine, so only that there are some is looked at."""
    file, home = written(tmp_path / "s.yaml", SMALL), tmp_path / "home"

    def planned(file: Path, *options: object) -> dict[str, Any]:
        return json.loads(shapeft("plan", file, "--home", home, "--json", *SAID, *options).out)

    before = planned(file)
    done = run("sweep", file, "--home", home, "--cpus", 2)
    assert done.returncode == 0, done.stderr
    trials = Ledger.look(Places(home).sweep_folder("small"), small()).trials()
    assert before["trials_to_do"] == len(trials)
    steps = sum(cell["trials_to_do"] * cell["steps"] * cell["share_of_steps"] for cell in before["cells"])
    assert steps == sum(trial.spent.steps for trial in trials)
    assert all(trial.spent.seconds > 0 for trial in trials)
    after = planned(file)
    assert (after["trials_to_do"], after["trials_done"], after["device_hours"]) == (0, 10, 0)
    more = planned(written(file, SMALL | {"budget": {"trials": 4, "confirmation_seeds": 2}}))
    assert more["device_hours"] > 0
    for cell in more["cells"]:
        measured = cell["measured"]
        assert (cell["basis"], measured["source"], measured["trials"]) == ("measured", "ledger", 5)
        assert measured["validation_seconds"] > 0
