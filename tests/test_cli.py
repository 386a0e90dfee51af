"""The commands as a user types them: output, exit codes, and what a mistake looks like."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from shapeft_tune.cli import main
from shapeft_tune.config import load_sweep
from tests.train.tiny import TINY
from tests.tune.small import SMALL, UTAE, run, written

ROOT = Path(__file__).resolve().parents[1]
PASTIS = SMALL["base"] | {"data": {"dataset": "pastis"}}


@dataclass(frozen=True)
class Outcome:
    code: int
    out: str
    err: str


Command = Callable[..., Outcome]


@pytest.fixture
def shapeft(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    def call(*arguments: object) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["shapeft_tune", *map(str, arguments)])
        try:
            main()
            code = 0
        except SystemExit as ending:
            code = int(ending.code or 0)
        printed = capsys.readouterr()
        return Outcome(code, printed.out, printed.err)

    return call


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sample") / "data"
    done = run("data", "sample", folder, "--patches", 10, "--patch-size", 16, "--dates", 6)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def own_sample(sample: Path, tmp_path: Path) -> Path:
    """A copy to break."""
    return Path(shutil.copytree(sample, tmp_path / "data"))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return written(tmp_path / "sweep.yaml", SMALL | {"base": PASTIS})


def mistake(outcome: Outcome, *words: object) -> None:
    """The outcome is one clear message and exit code 2."""
    assert outcome.code == 2, outcome
    assert outcome.err.startswith("error: ")
    assert "Traceback" not in outcome.err
    for word in words:
        assert str(word) in outcome.err


@pytest.mark.parametrize("path", sorted((ROOT / "search_spaces").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_shipped_file_is_valid_and_tells_its_story(path: Path) -> None:
    assert load_sweep(path).name == path.stem
    header = path.read_text().split("name:")[0]
    assert all(f"# {word} " in header for word in ("Question", "Run", "Cost", "Expect"))


def test_help_names_every_command(shapeft: Command) -> None:
    text = shapeft("--help").out
    commands = ("sweep", "plan", "status", "report", "train", "evaluate", "data", "ui", "doctor")
    assert all(f" {command} " in text for command in commands)


def test_help_needs_none_of_the_heavy_packages() -> None:
    """Its time is theirs: an import of one of them takes longer than all the rest."""
    script = """
import sys
sys.argv = ["shapeft_tune", "--help"]
try:
    from shapeft_tune.cli import main
    main()
except SystemExit:
    print([name for name in ("torch", "ray", "mlflow", "optuna", "numpy", "pydantic") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_a_file_with_mistakes_lists_them_all(shapeft: Command, tmp_path: Path) -> None:
    content = SMALL | {"budget": {"trials": 0}, "colour": "red"}
    mistake(shapeft("plan", written(tmp_path / "bad.yaml", content)), "2 problems", "budget.trials", "colour")


@pytest.mark.parametrize("command", ["sweep", "plan", "status", "report", "train"])
def test_a_file_that_is_not_there(shapeft: Command, tmp_path: Path, command: str) -> None:
    mistake(shapeft(command, tmp_path / "none.yaml", "--home", tmp_path), "none.yaml")


def test_a_data_set_that_was_not_given(shapeft: Command, file: Path, tmp_path: Path) -> None:
    mistake(shapeft("sweep", file, "--home", tmp_path / "home"), "--data")


def test_a_data_folder_that_is_missing_or_empty(shapeft: Command, file: Path, tmp_path: Path) -> None:
    home, empty = tmp_path / "home", tmp_path / "empty"
    empty.mkdir()
    mistake(shapeft("sweep", file, "--home", home, "--data", tmp_path / "none"), tmp_path / "none")
    mistake(shapeft("sweep", file, "--home", home, "--data", empty), empty)


def test_fewer_dates_than_asked(shapeft: Command, sample: Path, tmp_path: Path) -> None:
    settings = {"label_fractions": [1.0], "temporal_lengths": [3, 99]}
    asked = written(tmp_path / "sweep.yaml", SMALL | {"base": PASTIS, "settings": settings})
    outcome = shapeft("sweep", asked, "--home", tmp_path / "home", "--data", sample)
    mistake(outcome, "data.temporal_length", "99")


def test_a_truncated_series(shapeft: Command, file: Path, own_sample: Path, tmp_path: Path) -> None:
    victim = next((own_sample / "DATA_S2").iterdir())
    victim.write_bytes(victim.read_bytes()[:-100])
    mistake(shapeft("sweep", file, "--home", tmp_path / "home", "--data", own_sample), victim.name)
    mistake(shapeft("data", "check", own_sample), victim.name)


def test_a_label_that_does_not_exist(shapeft: Command, own_sample: Path) -> None:
    victim = next((own_sample / "ANNOTATIONS").iterdir())
    target = np.load(victim)
    target[0, 0, 0] = 20
    np.save(victim, target)
    mistake(shapeft("data", "check", own_sample), victim.name, "20")


def test_a_home_that_cannot_be_written_to(shapeft: Command, tmp_path: Path) -> None:
    (tmp_path / "home").touch()  # a file: also root cannot write into it
    outcome = shapeft("sweep", written(tmp_path / "s.yaml", SMALL), "--home", tmp_path / "home")
    mistake(outcome, "--home", tmp_path / "home")


@pytest.mark.parametrize(
    ("uri", "named"),
    [
        ("http://127.0.0.1:9", "127.0.0.1:9"),
        ("ftp://somewhere", "ftp://somewhere"),
        ("sqlite:////nowhere/at/all/mlflow.db", "/nowhere/at/all"),
    ],
)
def test_a_tracking_server_that_is_not_there(shapeft: Command, tmp_path: Path, uri: str, named: str) -> None:
    outcome = shapeft(
        "sweep", written(tmp_path / "s.yaml", SMALL), "--home", tmp_path / "home", "--tracking-uri", uri
    )
    mistake(outcome, named)


def test_weights_that_are_not_there(shapeft: Command, tmp_path: Path) -> None:
    croma = {"name": "croma_optical", "tuning": {"mode": "frozen", "weights": "official"}}
    content = SMALL | {"strategies": {"croma": {"config": {"model": croma}}}, "search": {}}
    outcome = shapeft("sweep", written(tmp_path / "s.yaml", content), "--home", tmp_path / "home")
    mistake(outcome, "CROMA_base.pt", "antofuller/CROMA", tmp_path / "home" / "weights")


def test_a_gpu_that_is_not_there(shapeft: Command, tmp_path: Path) -> None:
    content = SMALL | {"resources": {"cpu": 1, "gpu": 0.5}}
    outcome = shapeft(
        "sweep", written(tmp_path / "s.yaml", content), "--home", tmp_path / "home", "--gpus", 0
    )
    mistake(outcome, "strategy utae asks for 0.5 GPU")


def test_a_report_before_the_sweep(shapeft: Command, tmp_path: Path) -> None:
    mistake(shapeft("report", written(tmp_path / "s.yaml", SMALL), "--home", tmp_path / "home"), "sweep")


def test_pages_before_the_sweep(shapeft: Command, tmp_path: Path) -> None:
    mistake(shapeft("ui", "--home", tmp_path), "run a sweep first")


def test_an_unknown_option_and_an_unknown_trial(shapeft: Command, tmp_path: Path) -> None:
    assert shapeft("sweep", "--colour").code == 2
    mistake(shapeft("evaluate", "abc", "--home", tmp_path), "abc")


def test_a_sample_that_would_overwrite_something(shapeft: Command, sample: Path) -> None:
    mistake(shapeft("data", "sample", sample), "it holds something already")


def test_a_sample_of_an_impossible_size(shapeft: Command, tmp_path: Path) -> None:
    mistake(shapeft("data", "sample", tmp_path / "new", "--patch-size", 20), "patch_size", "multiple of 8")
    assert not (tmp_path / "new").exists()


def test_plan_of_a_sweep_that_never_ran_writes_nothing(shapeft: Command, tmp_path: Path) -> None:
    outcome = shapeft("plan", written(tmp_path / "s.yaml", SMALL), "--home", tmp_path / "home", "--json")
    plan = json.loads(outcome.out)
    assert (plan["trials_to_do"], plan["trials_done"], len(plan["cells"])) == (10, 0, 2)
    assert not (tmp_path / "home").exists()


def test_data_check_describes_a_sound_folder_for_people_and_machines(shapeft: Command, sample: Path) -> None:
    outcome = shapeft("data", "check", sample)
    assert outcome.code == 0
    assert "none" in next(line for line in outcome.out.splitlines() if line.startswith("faults"))
    content = json.loads(shapeft("data", "check", sample, "--json").out)
    assert (content["patches"], content["sizes"], content["faults"]) == (10, {"16x16": 10}, [])


def test_the_real_tiles_are_sound(shapeft: Command, shared: Path) -> None:
    assert shapeft("data", "check", shared / "data" / "flanders").code == 0


def test_train_runs_one_trial_and_evaluate_finds_it(shapeft: Command, tmp_path: Path) -> None:
    file = written(tmp_path / "trial.yaml", TINY)
    trained = shapeft("train", file, "--home", tmp_path / "home", "--test")
    assert trained.code == 0, trained.err
    folder = Path(trained.out.rsplit("Stored in ", 1)[1].strip())
    result = json.loads((folder / "result.json").read_text())
    scored = shapeft("evaluate", folder.name[:6], "--fold", "test", "--home", tmp_path / "home", "--json")
    assert json.loads(scored.out)["miou"] == pytest.approx(result["test"]["miou"])


def test_train_on_a_stored_config_trains_the_same_trial(shapeft: Command, tmp_path: Path) -> None:
    first = shapeft("train", written(tmp_path / "trial.yaml", TINY), "--home", tmp_path / "a")
    folder = Path(first.out.rsplit("Stored in ", 1)[1].strip())
    second = shapeft("train", folder / "config.json", "--home", tmp_path / "b")
    assert Path(second.out.rsplit("Stored in ", 1)[1].strip()).name == folder.name
    assert [line.rsplit("  ", 1)[0] for line in second.out.splitlines()[:3]] == [
        line.rsplit("  ", 1)[0] for line in first.out.splitlines()[:3]
    ]


def test_doctor_finds_this_machine_well(shapeft: Command, tmp_path: Path) -> None:
    outcome = shapeft("doctor", "--home", tmp_path / "home")
    assert outcome.code == 0, outcome.out
    assert "FIX" not in outcome.out


def test_a_changed_file_is_refused_with_the_difference(shapeft: Command, tmp_path: Path) -> None:
    from shapeft_tune.config.places import Places
    from shapeft_tune.tune.cell_ledger import State
    from shapeft_tune.tune.ledger import Ledger
    from shapeft_tune.tune.preflight import check_sweep

    home = tmp_path / "home"
    sweep = load_sweep(written(tmp_path / "s.yaml", SMALL))
    digest = check_sweep(sweep, Places(home)).data
    cell = next(iter(Ledger.open(home / "small", sweep, digest).cells.values()))
    trial = cell.next()
    assert trial is not None
    cell.end(trial, State.COMPLETE, 0.5)
    changed: dict[str, Any] = yaml.safe_load(yaml.safe_dump(SMALL))
    changed["base"]["training"]["batch_size"] = 3
    outcome = shapeft("sweep", written(tmp_path / "s.yaml", changed), "--home", home)
    mistake(outcome, "training.batch_size was 2, is now 3")


def test_models_of_a_strategy_are_shown_valid_before_anything_starts(
    shapeft: Command, tmp_path: Path
) -> None:
    strategies = {
        "deep": {"config": {"model": UTAE | {"encoder_widths": [8] * 5, "decoder_widths": [8] * 5}}}
    }
    outcome = shapeft(
        "sweep", written(tmp_path / "s.yaml", SMALL | {"strategies": strategies}), "--home", tmp_path / "home"
    )
    mistake(outcome, "sides of at least 32 pixels", "16 x 16")
