"""Running what is missing of a sweep: starting, resuming after a crash and extending are the same call."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from shapeft_tune.config.places import Places
from shapeft_tune.config.protocol import METRIC
from shapeft_tune.config.sweep import SweepConfig
from shapeft_tune.tracking import Recorder, SweepEnding
from shapeft_tune.tune.cluster import ClusterOptions, cluster, require_slots
from shapeft_tune.tune.driver import Driver, Event
from shapeft_tune.tune.ledger import CellCounts, Ledger
from shapeft_tune.tune.lock import sole_driver
from shapeft_tune.tune.preflight import Contents, Tell, check_sweep, require_writable
from shapeft_tune.tune.trainable import STOP_FILE, Order, trial_function

WORKER_DEATHS = 3
"""Times that a trial whose worker died is put on another before it counts as failed."""


@dataclass(frozen=True)
class SweepRun:
    """How a call of :func:`run_sweep` ended."""

    counts: tuple[CellCounts, ...]
    stopped: bool
    """It ended early, because it was asked to or met an obstacle."""
    obstacle: str
    """What no trial could have gone on with, such as a full disk; empty for none."""
    record_problems: tuple[str, ...]
    """What could not be written to the record."""

    @property
    def done(self) -> bool:
        """Whether every cell has all its trials."""
        return all(cell.done for cell in self.counts)


def run_sweep(
    sweep: SweepConfig,
    places: Places,
    tracking_uri: str,
    options: ClusterOptions,
    on_event: Callable[[Event, Ledger], None],
    tell: Tell = lambda sentence: None,
) -> SweepRun:
    """Run every trial that the file declares and the ledger does not hold.

    Args:
        sweep: the checked file.
        places: where things lie; the same paths on every machine of the cluster.
        tracking_uri: of the record.
        options: which cluster.
        on_event: told of everything that happens to a trial.
        tell: told what was done to the data and nobody may overlook.

    Raises:
        UserError: something is wrong that can be known before any trial starts.
    """
    folder = places.sweep_folder(sweep.name)
    require_writable(folder)
    with sole_driver(folder):
        contents = check_sweep(sweep, places, tell)
        return _run_missing(sweep, places, contents, tracking_uri, options, on_event)


def _run_missing(
    sweep: SweepConfig,
    places: Places,
    contents: Contents,
    tracking_uri: str,
    options: ClusterOptions,
    on_event: Callable[[Event, Ledger], None],
) -> SweepRun:
    folder = places.sweep_folder(sweep.name)
    ledger = Ledger.open(folder, sweep, contents.data, contents.by_strategy)
    (folder / STOP_FILE).unlink(missing_ok=True)
    recorder = Recorder.open(tracking_uri, sweep.name, places.home / "artifacts", sweep.question, METRIC)
    ending = SweepEnding.FAILED
    try:
        driver = Driver(sweep.name, ledger, recorder, folder, lambda event: on_event(event, ledger))
        driver.complete_record()
        if not driver.done:
            # Signals inside the cluster: Ray takes SIGTERM for itself while it starts.
            with cluster(options, folder / "logs" / "ray.log"), _stop_on_signals(folder / STOP_FILE):
                require_slots(sweep, options)
                _tune(driver, folder, places)
        ending = SweepEnding.STOPPED if driver.stopping else SweepEnding.FINISHED
    finally:
        recorder.close(ending)
    return SweepRun(ledger.counts(), ending is SweepEnding.STOPPED, driver.obstacle, recorder.problems)


def _tune(driver: Driver, folder: Path, places: Places) -> None:
    from ray import tune

    from shapeft_tune.tune.scheduler import LedgerScheduler, LedgerSearcher

    storage = folder / "ray"
    run = f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}"
    trainable = tune.with_resources(
        trial_function(folder, places),
        lambda config: tune.PlacementGroupFactory([_placement(config)]),
    )
    tuner = tune.Tuner(
        trainable,
        tune_config=tune.TuneConfig(
            search_alg=LedgerSearcher(driver),
            scheduler=LedgerScheduler(driver),
            num_samples=-1,
            reuse_actors=True,
            trial_name_creator=lambda trial: trial.trial_id,
            trial_dirname_creator=lambda trial: trial.trial_id,
        ),
        run_config=tune.RunConfig(
            name=run,
            storage_path=str(storage),
            failure_config=tune.FailureConfig(max_failures=WORKER_DEATHS),
            verbose=0,
        ),
    )
    try:
        tuner.fit()
    finally:
        shutil.rmtree(storage / run, ignore_errors=True)  # everything in it is in ledger and trial folders


def _placement(config: dict[str, Any]) -> dict[str, float]:
    order = Order.from_ray(config)
    return {"CPU": order.cpu, "GPU": order.gpu}


@contextmanager
def _stop_on_signals(stop_file: Path) -> Iterator[None]:
    """Turn the first SIGINT or SIGTERM into a wish to stop, and a second one into an exception."""

    def handle(number: int, frame: FrameType | None) -> None:
        if stop_file.exists():
            raise KeyboardInterrupt
        stop_file.touch()

    previous = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
