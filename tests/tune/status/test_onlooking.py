"""`status` beside a real sweep, in processes of their own."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path

from shapeft_tune.config import load_sweep
from shapeft_tune.config.places import Places
from shapeft_tune.tune.status.standing import Onlooker
from tests.tune.small import SMALL, command, run, written


def wait_for_work(file: Path, home: Path, sweep: subprocess.Popen[bytes]) -> None:
    """Look until a trial has been validated."""
    onlooker = Onlooker(load_sweep(file), Places(home))
    deadline = time.monotonic() + 180
    while not any(each.place and each.place.step for each in onlooker.look().at_work):
        assert sweep.poll() is None, "the sweep ended before anybody saw it run"
        assert time.monotonic() < deadline, "no trial was seen at work"
        time.sleep(0.2)


def test_status_sees_a_running_sweep_and_its_watch_ends_when_the_driver_is_killed(tmp_path: Path) -> None:
    long = {"steps": 4000, "batch_size": 2, "optimiser": {"name": "adamw", "lr": 0.002}}
    base = SMALL["base"] | {"training": long, "validation": {"every": 5}}
    file = written(tmp_path / "long.yaml", SMALL | {"name": "long", "base": base})
    home = tmp_path / "home"
    with (
        (tmp_path / "log").open("wb") as log,
        subprocess.Popen(
            command("sweep", file, "--home", home, "--cpus", 2), stdout=log, stderr=log
        ) as sweep,
    ):
        try:
            wait_for_work(file, home, sweep)
            status = json.loads(run("status", file, "--home", home, "--json").stdout)
            watch = subprocess.Popen(
                command("status", file, "--home", home, "--watch", "--every", 0.2),
                stdout=subprocess.PIPE,
                text=True,
            )
            assert watch.stdout is not None
            assert "long: 0 of 10 trials" in watch.stdout.readline()
        finally:
            sweep.kill()
    assert str(sweep.pid) in status["driver"]
    assert status["done"] is False
    working = next(each for each in status["at_work"] if each["step"])
    assert (working["steps"], working["waits"], working["device"]) == (4000, False, "cpu")
    assert sum(cell["running"] for cell in status["cells"]) >= 1
    said = watch.communicate(timeout=100)[0]
    assert watch.returncode == 0
    assert "running when the driver ended" in said
    assert "Nobody is at work" in said
    after = json.loads(run("status", file, "--home", home, "--json").stdout)
    assert (after["driver"], after["at_work"]) == (None, [])
    assert working["fingerprint"] in {each["fingerprint"] for each in after["left_open"]}
