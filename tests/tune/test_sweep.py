"""Sweeps as a user runs them: real Ray, real Optuna, real MLflow, in processes of their own."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import psutil
import pytest
import torch
import yaml

from shapeft_tune.config import load_sweep
from shapeft_tune.config.places import Places
from shapeft_tune.train import run_trial
from shapeft_tune.tune.ledger.ledger import Ledger
from shapeft_tune.tune.ledger.trials import LedgerTrial, State
from shapeft_tune.tune.status.whereabouts import FILE as RUNNING_FILE
from shapeft_tune.tune.status.whereabouts import places_in
from tests.report.independent import check_home
from tests.tune.small import SAMPLE, SMALL, UTAE, command, run, written

QUICKSTART = Path(__file__).parents[2] / "search_spaces" / "quickstart.yaml"


def trials_of(file: Path, home: Path) -> tuple[LedgerTrial, ...]:
    sweep = load_sweep(file)
    return Ledger.look(Places(home).sweep_folder(sweep.name), sweep).trials()


def runs_of(home: Path, experiment: str) -> list[mlflow.entities.Run]:
    """Return the trials' runs in the record."""
    client = mlflow.MlflowClient(f"sqlite:///{home / 'mlflow.db'}")
    found = client.search_runs([client.get_experiment_by_name(experiment).experiment_id])
    return [each for each in found if "fingerprint" in each.data.tags]


def own_run_of(home: Path, experiment: str) -> mlflow.entities.Run:
    """Return the run in the record that stands for the sweep."""
    client = mlflow.MlflowClient(f"sqlite:///{home / 'mlflow.db'}")
    ids = [client.get_experiment_by_name(experiment).experiment_id]
    (found,) = client.search_runs(ids, "tags.role = 'sweep'")
    return found


@dataclass(frozen=True)
class Shrunk:
    """The quickstart, shrunk to seconds, after it ran once."""

    file: Path
    home: Path
    output: str


PARENTS = ("sweep", "cell")
"""Roles of the runs that trials lie under."""


@pytest.fixture(scope="module")
def shrunk(tmp_path_factory: pytest.TempPathFactory) -> Shrunk:
    folder = tmp_path_factory.mktemp("shrunk")
    content = yaml.safe_load(QUICKSTART.read_text())
    content["base"]["data"]["dataset"] = SAMPLE | {"patches": 20}  # 4 to test on: few, but they differ
    content["base"]["training"] |= {"steps": 4, "batch_size": 2, "optimiser": {"name": "adamw", "lr": 0.003}}
    content["base"]["validation"]["every"] = 2
    content["settings"] = {"label_fractions": [0.5, 1.0], "temporal_lengths": [1, 3]}
    content["search"] = {"training.optimiser.lr": {"log_uniform": [0.001, 0.01]}}
    content["budget"] = {"trials": 2, "confirmation_seeds": 2}
    content["resources"] = {"cpu": 0.5}
    file = written(folder / "quickstart.yaml", content)
    done = run("sweep", file, "--home", folder / "home", "--cpus", 2)
    assert done.returncode == 0, done.stderr
    return Shrunk(file, folder / "home", done.stdout)


def test_a_sweep_ends_with_a_table_and_the_path_of_its_report(shrunk: Shrunk) -> None:
    assert "test mIoU" in shrunk.output
    report = shrunk.home / "quickstart" / "report" / "report.md"
    assert str(report) in shrunk.output
    assert report.is_file()
    assert (report.parent / "figures" / "map.png").stat().st_size > 10_000


def test_every_number_of_its_report_is_that_of_an_independent_computation(shrunk: Shrunk) -> None:
    right = check_home(shrunk.file, shrunk.home)
    assert (len(right.cells), len(right.differences), len(right.ranks)) == (8, 4, 4)
    assert all(cell.interval_over == "seeds and patches" for cell in right.cells)


def test_a_sweep_prints_nothing_of_rays(shrunk: Shrunk) -> None:
    assert "ray" not in shrunk.output.lower().replace(str(shrunk.home), "")
    assert (shrunk.home / "quickstart" / "logs" / "ray.log").stat().st_size > 0


def test_every_trial_is_in_the_record_with_what_the_ui_filters_by(shrunk: Shrunk) -> None:
    in_ledger = {trial.fingerprint: trial for trial in trials_of(shrunk.file, shrunk.home)}
    runs = runs_of(shrunk.home, "quickstart")
    assert len(runs) == len(in_ledger) == 8 * (2 + 2)
    for each in runs:
        trial = in_ledger[each.data.tags["fingerprint"]]
        assert (
            each.data.tags.items()
            >= {
                "sweep": "quickstart",
                "strategy": trial.cell.strategy,
                "label_fraction": str(trial.cell.label_fraction),
                "temporal_length": str(trial.cell.temporal_length),
                "role": str(trial.role),
                "seed": str(trial.config.seed),
                "state": "complete",
            }.items()
        )
        rate = float(each.data.params["training.optimiser.lr"])
        assert rate == trial.config.training.optimiser.lr
        score = each.data.metrics["test/miou" if trial.role == "confirmation" else "best/val_miou"]
        assert score == pytest.approx(trial.score)


def test_a_trial_lies_under_its_cell_and_tells_what_it_read_and_where_it_ran(shrunk: Shrunk) -> None:
    client = mlflow.MlflowClient(f"sqlite:///{shrunk.home / 'mlflow.db'}")
    ids = [client.get_experiment_by_name("quickstart").experiment_id]
    (sweep,) = client.search_runs(ids, "tags.role = 'sweep'")
    cells = {each.info.run_id: each for each in client.search_runs(ids, "tags.role = 'cell'")}
    assert len(cells) == 8
    assert {cell.info.status for cell in cells.values()} == {"FINISHED"}
    assert {cell.data.tags["mlflow.parentRunId"] for cell in cells.values()} == {sweep.info.run_id}
    for each in runs_of(shrunk.home, "quickstart"):
        tags, cell = each.data.tags, cells[each.data.tags["mlflow.parentRunId"]].data.tags
        setting = ("strategy", "label_fraction", "temporal_length")
        assert [tags[name] for name in setting] == [cell[name] for name in setting]
        assert tags["host"] == socket.gethostname()
        assert tags["version.torch"].startswith(torch.__version__.partition("+")[0])
        assert len(tags["data_digest"]) >= 16
        confirmed = tags["role"] == "confirmation"
        parts = {part.tags[0].value for part in each.inputs.dataset_inputs}
        assert parts == {"training", "validation"} | ({"test"} if confirmed else set())
        files = {file.path for file in client.list_artifacts(each.info.run_id)}
        assert files >= {"config.json", "environment.json", "labels.json", "confusion.npz"}
        assert ("confusion.png" in files) == confirmed
        assert each.data.metrics.keys() >= {"speed/data_wait_share", "system/memory_gb", "val/macro_f1"}


def test_each_validation_is_in_the_record_once(shrunk: Shrunk) -> None:
    client = mlflow.MlflowClient(f"sqlite:///{shrunk.home / 'mlflow.db'}")
    for each in runs_of(shrunk.home, "quickstart"):
        assert [point.step for point in client.get_metric_history(each.info.run_id, "val/miou")] == [2, 4]


def test_a_second_sweep_of_the_same_file_starts_no_trial(shrunk: Shrunk) -> None:
    before = trials_of(shrunk.file, shrunk.home)
    again = run("sweep", shrunk.file, "--home", shrunk.home)
    assert again.returncode == 0, again.stderr
    assert "started" not in again.stdout
    assert trials_of(shrunk.file, shrunk.home) == before
    assert len(runs_of(shrunk.home, "quickstart")) == len(before)


def test_machines_read_report_status_and_plan(shrunk: Shrunk) -> None:
    report = json.loads(run("report", shrunk.file, "--home", shrunk.home, "--json").stdout)
    assert report.keys() >= {"sweep", "metric", "cells", "differences", "recommendations"}
    assert report["metric"] == {"name": "miou", "version": 1}
    assert len(report["cells"]) == 8
    trials = trials_of(shrunk.file, shrunk.home)
    for cell in report["cells"]:
        here = [trial for trial in trials if trial.cell.strategy == cell["strategy"]]
        here = [trial for trial in here if trial.cell.temporal_length == cell["temporal_length"]]
        here = [trial for trial in here if trial.cell.label_fraction == cell["label_fraction"]]
        tested = [trial.score for trial in here if trial.role == "confirmation"]
        assert cell["test_miou_mean"] == pytest.approx(sum(tested) / len(tested))
        assert cell["val_miou_best"] == pytest.approx(
            max(trial.score for trial in here if trial.role == "search")
        )
        assert (cell["search_trials"], cell["confirmation_trials"], cell["failed_trials"]) == (2, 2, 0)
    status = json.loads(run("status", shrunk.file, "--home", shrunk.home, "--json").stdout)
    assert status["done"] is True
    assert {cell["complete"] for cell in status["cells"]} == {2}
    plan = json.loads(run("plan", shrunk.file, "--home", shrunk.home, "--json").stdout)
    assert (plan["trials_to_do"], plan["trials_done"]) == (0, 32)


def test_a_stored_confirmation_is_evaluated_again_from_its_config_alone(shrunk: Shrunk) -> None:
    trial = next(trial for trial in trials_of(shrunk.file, shrunk.home) if trial.role == "confirmation")
    done = run("evaluate", trial.fingerprint, "--fold", "test", "--home", shrunk.home, "--json")
    assert json.loads(done.stdout)["miou"] == pytest.approx(trial.score)


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep whose trials last long enough to be caught in the middle, with many validations."""
    content = SMALL | {"name": "slow", "budget": {"trials": 2, "confirmation_seeds": 1}}
    # Which neighbours' best are known when a cell asks depends on time, and results are compared here.
    content["optimisation"] = SMALL["optimisation"] | {"neighbours": False}
    content["base"] = SMALL["base"] | {
        "training": SMALL["base"]["training"] | {"steps": 120},
        "validation": {"every": 10},
    }
    return written(tmp_path_factory.mktemp("slow") / "slow.yaml", content)


@pytest.fixture(scope="module")
def undisturbed(slow: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, float]:
    """The score of every trial by fingerprint, each run by itself, without Ray."""
    sweep, places = load_sweep(slow), Places(tmp_path_factory.mktemp("undisturbed"))
    torch.set_num_threads(1)  # as in a worker with one CPU
    scores: dict[str, float] = {}
    for cell in Ledger.open(places.home, sweep, "digest").cells.values():
        while trial := cell.next():
            folder = places.home / trial.fingerprint
            result = run_trial(trial.config, places, folder, role=trial.role, device="cpu")
            scores[trial.fingerprint] = (result.test or result.validation).miou
            cell.end(trial, State.COMPLETE, scores[trial.fingerprint])
    return scores


def started(file: Path, home: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command("sweep", file, "--home", home, "--cpus", 2),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,  # as a terminal does: Ctrl-C reaches the driver's whole process group
    )


def wait_for_checkpoint(home: Path, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 100
    while not list(home.glob("*/trials/*/*/last.pt")):
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline, "no trial has written a checkpoint"
        time.sleep(0.05)


def kill_until_one_is_retried(file: Path, home: Path) -> None:
    """Kill the worker of a running trial; again, should that have hit it between two trials."""
    deadline = time.monotonic() + 100
    while not any(trial.retried for trial in trials_of(file, home)):
        assert time.monotonic() < deadline, "no trial was retried"
        if at_work := [place for place in places_in(home / "slow") if place.step]:
            place = min(at_work, key=lambda each: each.step)
            assert (place.host, place.device, place.steps) == (socket.gethostname(), "cpu", 120)
            with suppress(psutil.NoSuchProcess):
                psutil.Process(place.process).kill()
        time.sleep(2)


def workers_of(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """Return the Ray workers that train now; at least one must."""
    found = [each for each in psutil.Process(process.pid).children(recursive=True) if _trains(each)]
    assert found
    return found


def _trains(process: psutil.Process) -> bool:
    try:
        title = " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return False
    return title.startswith("ray::") and not title.startswith(
        ("ray::IDLE", "ray::DashboardAgent", "ray::RuntimeEnv")
    )


def same_results(trials: tuple[LedgerTrial, ...], expected: dict[str, float]) -> None:
    """Whoever went on from a wrong step, seed or weight would have another score."""
    assert {trial.fingerprint: trial.score for trial in trials} == expected
    assert len(trials) == len(expected)


def test_a_sweep_whose_driver_was_killed_ends_as_an_undisturbed_one(
    slow: Path, undisturbed: dict[str, float], tmp_path: Path
) -> None:
    process = started(slow, tmp_path)
    wait_for_checkpoint(tmp_path, process)
    workers = workers_of(process)
    process.kill()
    process.communicate()
    _, alive = psutil.wait_procs(workers, timeout=30)
    assert not alive, "a trial outlives its driver"
    open_trials = [trial for trial in trials_of(slow, tmp_path) if trial.state is State.RUNNING]
    assert open_trials
    done = run("sweep", slow, "--home", tmp_path, "--cpus", 2)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("continued") == len(open_trials)
    same_results(trials_of(slow, tmp_path), undisturbed)
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")
    for each in runs_of(tmp_path, "slow"):
        steps = [point.step for point in client.get_metric_history(each.info.run_id, "val/miou")]
        assert len(set(steps)) == len(steps), "a validation is in the record twice"
        assert each.data.tags["state"] == "complete"


def test_a_sweep_stopped_with_ctrl_c_closes_in_good_order_and_goes_on(
    slow: Path, undisturbed: dict[str, float], tmp_path: Path
) -> None:
    process = started(slow, tmp_path)
    wait_for_checkpoint(tmp_path, process)
    os.killpg(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130, output
    assert "Traceback" not in output
    assert f"sweep {slow} --home {tmp_path}" in output  # how to go on
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")
    runs = client.search_runs([client.get_experiment_by_name("slow").experiment_id])
    parents = {
        (each.data.tags["role"], each.info.status) for each in runs if each.data.tags["role"] in PARENTS
    }
    assert parents >= {("sweep", "KILLED"), ("cell", "KILLED")}  # a cell had a trial that was running
    done = run("sweep", slow, "--home", tmp_path, "--cpus", 2)
    assert done.returncode == 0, done.stderr
    same_results(trials_of(slow, tmp_path), undisturbed)


def test_a_trial_whose_worker_dies_goes_on_from_its_checkpoint(
    slow: Path, undisturbed: dict[str, float], tmp_path: Path
) -> None:
    process = started(slow, tmp_path)
    wait_for_checkpoint(tmp_path, process)
    kill_until_one_is_retried(slow, tmp_path)
    output, _ = process.communicate(timeout=150)
    assert process.returncode == 0, output
    assert "failed" not in output
    trials = trials_of(slow, tmp_path)
    same_results(trials, undisturbed)
    told = {trial.fingerprint: len(trial.retried) for trial in trials}
    assert output.count("is tried again after") == sum(told.values()) >= 1
    retries = {
        run.data.tags["fingerprint"]: run.data.metrics["cost/retries"] for run in runs_of(tmp_path, "slow")
    }
    assert retries == told
    cells = json.loads((tmp_path / "slow" / "report" / "report.json").read_text())["cells"]
    assert sum(cell["retries"] for cell in cells) == sum(told.values())
    assert not (tmp_path / "slow" / RUNNING_FILE).exists()


def test_a_sweep_stops_where_its_device_hours_are_used_up_and_goes_on_with_more(tmp_path: Path) -> None:
    content = SMALL | {"settings": {"label_fractions": [1.0], "temporal_lengths": [1]}}
    tiny, larger = (
        written(
            tmp_path / f"{hours}.yaml",
            content | {"budget": {"trials": 1, "confirmation_seeds": 1, "total": {"device_hours": hours}}},
        )
        for hours in (1e-7, 10)
    )
    home = tmp_path / "home"
    stopped = run("sweep", tiny, "--home", home, "--cpus", 1)
    assert stopped.returncode == 0, stopped.stderr  # it did what its file says
    assert "Report: " in stopped.stdout
    assert "the budget is used up: budget.total.device_hours: " in stopped.stderr
    assert "raise it to go on" in stopped.stderr
    (begun,) = trials_of(tiny, home)
    assert begun.state is State.RUNNING
    of_sweep = own_run_of(home, "small")
    assert of_sweep.info.status == "FINISHED"
    assert of_sweep.data.tags["ended_by"].startswith("budget: total.device_hours: ")
    done = run("sweep", larger, "--home", home, "--cpus", 1)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("continued") == 1
    assert "ended_by" not in own_run_of(home, "small").data.tags
    ended = trials_of(larger, home)
    assert [(trial.role, trial.state) for trial in ended] == [
        ("search", State.COMPLETE),
        ("confirmation", State.COMPLETE),
    ]
    assert ended[0].fingerprint == begun.fingerprint
    assert ended[0].spent.device_seconds >= begun.spent.device_seconds > 0


@pytest.fixture
def damaged(tmp_path: Path) -> Path:
    """A data set with a label that does not exist in one of its training patches."""
    folder = tmp_path / "data"
    done = run("data", "sample", folder, "--patches", 10, "--patch-size", 16, "--dates", 6)
    assert done.returncode == 0, done.stderr
    metadata = json.loads((folder / "metadata.geojson").read_text())
    first_fold = [each["properties"] for each in metadata["features"] if each["properties"]["Fold"] == 1]
    path = folder / "ANNOTATIONS" / f"TARGET_{first_fold[0]['ID_PATCH']}.npy"
    target = np.load(path)
    target[0, 3, 3] = 77
    np.save(path, target)
    return folder


def test_a_trial_that_meets_a_broken_file_fails_alone(damaged: Path, tmp_path: Path) -> None:
    folds: list[Mapping[str, Any]] = [{"train": [1]}, {"train": [2, 3]}]
    strategies = {
        name: {"config": {"model": UTAE, "data": {"folds": part}}}
        for name, part in zip(("meets_it", "does_not"), folds, strict=True)
    }
    content = SMALL | {
        "name": "damaged",
        "strategies": strategies,
        "settings": {"label_fractions": [1.0], "temporal_lengths": [2]},
        "budget": {"trials": 1, "confirmation_seeds": 1},
    }
    content["base"] = SMALL["base"] | {"data": {"dataset": "pastis"}}
    file = written(tmp_path / "damaged.yaml", content)
    home = tmp_path / "home"
    done = run("sweep", file, "--home", home, "--data", damaged, "--cpus", 2)
    assert done.returncode == 0, done.stderr
    ended = {(trial.cell.strategy, trial.role): trial for trial in trials_of(file, home)}
    assert {key: trial.state for key, trial in ended.items()} == {
        ("meets_it", "search"): State.FAILED,
        ("does_not", "search"): State.COMPLETE,
        ("does_not", "confirmation"): State.COMPLETE,
    }
    assert "77" in ended["meets_it", "search"].message
    status = run("status", file, "--home", home)
    assert "TARGET_" in status.stdout
