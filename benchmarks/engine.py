"""What the sweep engine costs: ``python -m benchmarks.engine [--quick] [--only overhead]``. Prints Markdown.

The real ledger (a journal file), the real record (SQLite) and the real Ray run trials that only wait:

- ``overhead``: trials of 0.1 s. The driver's processor time for each trial, and the time that a slot stood
  idle between two of them.
- ``growth``: the same with trials of no length, over 100 cells, until there are thousands: what the first
  ones cost against the last ones.
- ``startup``: from the command to the first step of training, with everything imported and started anew.
- ``utilisation``: the share of the slots' time in which a trial of 20 s runs.
- ``simulation``: no Ray and no record: a clock that jumps from event to event stands for 1000 GPUs and 20 000
  trials. Says what driver and ledger cost and hold, not what Ray does with so many.
"""

from __future__ import annotations

import argparse
import heapq
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import yaml

from shapeft_tune.config import SweepConfig
from shapeft_tune.tracking import Recorder
from shapeft_tune.tune.cluster.cluster import ClusterOptions, cluster
from shapeft_tune.tune.driver import Driver, Event
from shapeft_tune.tune.ledger.ledger import Ledger
from shapeft_tune.tune.orders import Outcome
from shapeft_tune.tune.run import work_off

SLOTS = 2
STEPS = 8
MEGA = 10**6
UTAE = {"name": "utae", "encoder_widths": [8, 8], "decoder_widths": [8, 8], "heads": 2, "width": 8}
DATASET = {"name": "sample", "patches": 10, "patch_size": 16, "dates": 6}


@dataclass(frozen=True)
class Size:
    """How much is run."""

    overhead: int
    """Trials of 0.1 s."""
    growth: int
    """Trials of no length."""
    starts: int
    utilisation: int
    """Trials of 20 s."""
    seconds: float
    gpus: int
    simulated: int


FULL = Size(overhead=200, growth=5000, starts=5, utilisation=12, seconds=20.0, gpus=1000, simulated=20_000)
QUICK = Size(overhead=20, growth=200, starts=1, utilisation=4, seconds=2.0, gpus=50, simulated=1000)


def sweep_of(cells: int, trials: int, **changes: Any) -> SweepConfig:
    """Return a sweep with so many cells and so many search trials in each, without confirmations."""
    fractions = [round((index + 1) / 100, 2) for index in range(max(cells // 10, 1))]
    content = {
        "name": "engine",
        "base": {
            "data": {"dataset": DATASET},
            "training": {"steps": STEPS, "batch_size": 2, "optimiser": {"name": "adamw", "lr": 1e-3}},
            "validation": {"every": STEPS // 2},
        },
        "settings": {
            "label_fractions": fractions,
            "temporal_lengths": list(range(1, cells // len(fractions) + 1)),
        },
        "strategies": {"utae": {"config": {"model": UTAE}}},
        "search": {
            "training.optimiser.lr": {"log_uniform": [1e-4, 1e-1]},
            "training.optimiser.weight_decay": {"log_uniform": [1e-4, 1e-1]},
            "training.loss": {"choice": ["cross_entropy", "weighted_cross_entropy"]},
        },
        "budget": {"trials": trials, "confirmation_seeds": 0},
    }
    return SweepConfig.model_validate(content | changes)


def waiting(seconds: float) -> Callable[..., None]:
    """Return a function for Ray's workers that reports as a trial does and only waits."""

    def run(config: dict[str, str]) -> None:
        import time

        from ray import tune

        tune.report({"begun": {"host": "here", "process": 1, "device": "cpu"}})
        for step in (STEPS // 2, STEPS):
            time.sleep(seconds / 2)
            metrics = {"val/miou": random.random(), "train/loss": 1.0, "train/lr": 1e-3, "val/loss": 1.0}
            tune.report({"step": step, "steps": STEPS, "seconds": seconds * step / STEPS, "metrics": metrics})
        outcome = Outcome("complete", score=metrics["val/miou"], steps=STEPS, seconds=seconds)
        tune.report(outcome.to_ray())

    return run


@dataclass
class Watch:
    """Notes when trials ended, and what the driver had cost by then."""

    ended: list[tuple[float, float]] = field(default_factory=list)
    """Wall time and the driver's processor time."""
    first: float = 0.0

    def __call__(self, event: Event) -> None:
        """Be told by the driver."""
        if event.kind == "started" and not self.first:
            self.first = time.perf_counter()
        if event.kind in ("complete", "pruned", "failed"):
            self.ended.append((time.perf_counter(), time.process_time()))

    def cpu_each(self, first: int, last: int) -> float:
        """Return the driver's processor seconds for each trial between two of them."""
        return (self.ended[last - 1][1] - self.ended[first][1]) / (last - 1 - first)

    def wall_each(self, first: int, last: int) -> float:
        """Return the seconds from one end to the next."""
        return (self.ended[last - 1][0] - self.ended[first][0]) / (last - 1 - first)


def run_for_real(sweep: SweepConfig, seconds: float) -> Watch:
    """Run a sweep of waiting trials on Ray, with ledger and record."""
    watch = Watch()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / sweep.name
        folder.mkdir()
        recorder = Recorder.open(f"sqlite:///{place}/mlflow.db", sweep.name, Path(place) / sweep.name)
        driver = Driver(sweep, Ledger.open(folder, sweep, "data"), recorder, folder, watch)
        with cluster(ClusterOptions(cpus=SLOTS), folder / "ray.log") as cluster_is_there:
            cluster_is_there()
            work_off(driver, waiting(seconds), folder)
        recorder.close()
    return watch


def measure_overhead(size: Size) -> Iterator[str]:
    """Yield the rows of the table of trials of 0.1 s."""
    yield "| trials | length, s | driver's CPU each, s | a slot idle between two, s |"
    yield "|---|---|---|---|"
    sweep = sweep_of(10, size.overhead // 10, optimisation={"pruner": "none"})
    watch = run_for_real(sweep, 0.1)
    skipped = len(watch.ended) // 4  # what happens once is the start-up's
    last = len(watch.ended)
    idle = SLOTS * watch.wall_each(skipped, last) - 0.1
    yield f"| {last} | 0.1 | {watch.cpu_each(skipped, last):.3f} | {idle:.3f} |"


def measure_growth(size: Size) -> Iterator[str]:
    """Yield the rows of the table of thousands of trials."""
    yield "| trials so far | driver's CPU each, s | seconds from end to end |"
    yield "|---|---|---|"
    watch = run_for_real(sweep_of(100, size.growth // 100), 0.0)
    part = len(watch.ended) // 10
    for first in (part, 5 * part, 9 * part):
        last = first + part
        yield f"| {last} | {watch.cpu_each(first, last):.4f} | {watch.wall_each(first, last):.4f} |"


def measure_startup(size: Size) -> Iterator[str]:
    """Yield the rows of the table of the time to the first step."""
    yield "| run | until the first trial begins, s | to the first step, s | whole command, s |"
    yield "|---|---|---|---|"
    rows: list[tuple[float, float, float]] = []
    with tempfile.TemporaryDirectory() as place:
        home = Path(place) / "home"
        for number in range(size.starts + 1):  # the first one makes the data
            row = _one_start(home, Path(place) / "tiny.yaml", f"start{number}")
            if number:
                rows.append(row)
                yield f"| {number} | {row[0]:.1f} | {row[1]:.1f} | {row[2]:.1f} |"
    medians = [statistics.median(column) for column in zip(*rows, strict=True)]
    yield f"| median | {medians[0]:.1f} | {medians[1]:.1f} | {medians[2]:.1f} |"


def _one_start(home: Path, file: Path, name: str) -> tuple[float, float, float]:
    sweep = sweep_of(1, 1, name=name).model_dump(mode="json", exclude_unset=True, by_alias=True)
    file.write_text(yaml.safe_dump(sweep))
    command = [sys.executable, "-m", "shapeft_tune", "sweep", str(file), "--home", str(home)]
    began = time.time()
    subprocess.run(command, check=True, capture_output=True)
    ended = time.time()
    (labels,) = (home / name / "trials").glob("*/*/labels.json")  # written right before the first step
    (order,) = (home / name / "trials").glob("*/*/config.json")  # written when the worker begins
    return order.stat().st_mtime - began, labels.stat().st_mtime - began, ended - began


def measure_utilisation(size: Size) -> Iterator[str]:
    """Yield the rows of the table of long trials."""
    yield "| trials | length, s | share of the slots' time | without the start of the first ones |"
    yield "|---|---|---|---|"
    sweep = sweep_of(2, size.utilisation // 2, optimisation={"pruner": "none"})
    watch = run_for_real(sweep, size.seconds)
    count = len(watch.ended)
    trained = count * size.seconds
    whole = SLOTS * (watch.ended[-1][0] - watch.first)
    steady = (count - SLOTS) * size.seconds / (SLOTS * (watch.ended[-1][0] - watch.ended[SLOTS - 1][0]))
    yield f"| {count} | {size.seconds:g} | {trained / whole:.2f} | {steady:.2f} |"


class NoRecord:
    """Stands for the record where only driver and ledger are looked at."""

    def trial_started(self, facts: object) -> None:
        """Forget it."""

    def trial_progress(self, facts: object, step: int, metrics: Mapping[str, float]) -> None:
        """Forget it."""

    def trial_ended(self, facts: object, end: object) -> None:
        """Forget it."""


def measure_simulation(size: Size) -> Iterator[str]:
    """Yield the rows of the table of many simulated GPUs."""
    yield "| trials so far | running | driver's CPU each, s | memory, MB | ledger file, MB |"
    yield "|---|---|---|---|---|"
    process = psutil.Process()
    sweep = sweep_of(100, size.simulated // 100, resources={"gpu": 1})
    draw = random.Random(0)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        before = process.memory_info().rss
        ledger = Ledger.open(folder, sweep, "data")
        driver = Driver(sweep, ledger, NoRecord(), folder, lambda event: None)  # type: ignore[arg-type]
        events: list[tuple[float, str, int]] = []
        now, born, ended, spent = 0.0, 0, 0, time.process_time()
        part = size.simulated // 10
        while not driver.done:
            while len(driver.handed_out) < size.gpus and driver.next_order(f"t{born}"):
                heapq.heappush(events, (now + draw.uniform(500, 1500), f"t{born}", 0))
                born += 1
            now, name, done = heapq.heappop(events)
            step = done + STEPS // 2
            stop = driver.progressed(name, step, STEPS, now, {"val/miou": draw.random()})
            if not stop and step < STEPS:
                heapq.heappush(events, (now + draw.uniform(500, 1500), name, step))
                continue
            outcome = Outcome("complete", score=draw.random(), steps=STEPS, seconds=1000.0)
            driver.ended(name, {} if stop else outcome.to_ray()["outcome"])
            ended += 1
            if ended % part == 0 and ended // part in (1, 2, 5, 9, 10):
                each, spent_now = (time.process_time() - spent) / part, time.process_time()
                memory = (process.memory_info().rss - before) / MEGA
                file = (folder / "ledger.journal").stat().st_size / MEGA
                yield f"| {ended} | {len(driver.handed_out)} | {each:.4f} | {memory:.0f} | {file:.1f} |"
                spent = spent_now
            elif ended % part == 0:
                spent = time.process_time()


PARTS = {
    "overhead": ("Trials of 0.1 s", measure_overhead),
    "growth": ("Thousands of trials over 100 cells", measure_growth),
    "startup": ("From the command to the first step", measure_startup),
    "utilisation": ("Long trials", measure_utilisation),
    "simulation": ("Simulated: many GPUs, driver and ledger alone", measure_simulation),
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.engine", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few trials: does it run at all")
    parser.add_argument("--only", choices=PARTS, action="append", help="may be given more than once")
    options = parser.parse_args()
    size = QUICK if options.quick else FULL
    print(f"{os.cpu_count()} cores, {SLOTS} slots\n")
    for name in options.only or PARTS:
        title, measure = PARTS[name]
        print(f"{title}\n", flush=True)
        for row in measure(size):
            print(row, flush=True)
        print()


if __name__ == "__main__":
    main()
