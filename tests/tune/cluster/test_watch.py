"""A cluster that dies under a sweep: what is noticed, and a real one whose raylet is killed."""

from __future__ import annotations

import json
import socket
import subprocess
import time
from pathlib import Path

import psutil
import pytest

from shapeft_tune.tune.cluster.cluster import ClusterGone
from shapeft_tune.tune.cluster.watch import ClusterWatch, Part
from tests.tune.small import SMALL, command, run, written


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_part_that_answers_is_never_gone_and_one_that_does_not_is_after_its_patience() -> None:
    clock = Clock()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        watch = ClusterWatch([Part("its head", listening.getsockname(), patience=20)], clock)
        clock.now = 100
        watch.look()
    for clock.now in (105, 120):
        watch.look()
        watch.require_alive()
    clock.now = 121
    watch.look()
    with pytest.raises(ClusterGone, match="no answer from its head"):
        watch.require_alive()


def test_a_head_that_comes_back_in_time_is_waited_for() -> None:
    clock = Clock()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        address = listening.getsockname()
        watch = ClusterWatch([Part("its head", address, patience=20)], clock)
    clock.now = 15
    watch.look()
    with socket.create_server(address):
        clock.now = 19
        watch.look()
    clock.now = 38
    watch.look()
    watch.require_alive()


def begun(file: Path, home: Path) -> subprocess.Popen[str]:
    """Start a sweep and return its process once a trial has written a checkpoint."""
    process = subprocess.Popen(
        command("sweep", file, "--home", home, "--cpus", 1),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    deadline = time.monotonic() + 100
    while not list(home.glob("*/trials/*/*/last.pt")):
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline, "no trial has written a checkpoint"
        time.sleep(0.05)
    return process


def test_a_sweep_whose_raylet_is_killed_ends_in_good_order_and_the_same_command_finishes_it(
    tmp_path: Path,
) -> None:
    content = SMALL | {
        "name": "killed",
        "settings": {"label_fractions": [1.0], "temporal_lengths": [1]},
        "budget": {"trials": 1, "confirmation_seeds": 1, "max_retries": 0},  # a retry would fail the trial
    }
    training = SMALL["base"]["training"] | {"steps": 400}
    content["base"] = SMALL["base"] | {"training": training, "validation": {"every": 10}}
    file, home = written(tmp_path / "killed.yaml", content), tmp_path / "home"
    process = begun(file, home)
    (raylet,) = (each for each in psutil.Process(process.pid).children() if each.name() == "raylet")
    raylet.kill()
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 1, output
    assert "the Ray cluster is gone" in output
    assert f"Go on with: python -m shapeft_tune sweep {file} --home {home}" in output
    assert "Traceback" not in output
    status = json.loads(run("status", file, "--home", home, "--json").stdout)
    assert [(cell["failed"], cell["complete"]) for cell in status["cells"]] == [(0, 0)]
    again = run("sweep", file, "--home", home, "--cpus", 1)
    assert again.returncode == 0, again.stderr
    assert again.stdout.count("continued") == 1
    status = json.loads(run("status", file, "--home", home, "--json").stdout)
    assert status["done"] is True
