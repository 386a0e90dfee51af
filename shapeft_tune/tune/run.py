"""Running what is missing of a sweep: starting, resuming after a crash and extending are the same call."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from optuna.storages import BaseStorage

from shapeft_tune.config.cell import Cell
from shapeft_tune.config.places import Places
from shapeft_tune.config.protocol import METRIC
from shapeft_tune.config.sweep import SweepConfig
from shapeft_tune.tracking import Recorder, SweepEnding
from shapeft_tune.tune.cluster.cluster import ClusterGone, ClusterOptions, capacity, cluster, require_slots
from shapeft_tune.tune.cluster.peaks import measured_shares
from shapeft_tune.tune.declared import keep_declared
from shapeft_tune.tune.driver import Driver, Event
from shapeft_tune.tune.ledger.counts import CellCounts, count_cell
from shapeft_tune.tune.ledger.generations import next_generation
from shapeft_tune.tune.ledger.lease import Holder, sole_driver_of
from shapeft_tune.tune.ledger.ledger import Ledger
from shapeft_tune.tune.ledger.ledger_storage import open_storage
from shapeft_tune.tune.ledger.lock import sole_driver
from shapeft_tune.tune.orders import STOP_FILE, Order
from shapeft_tune.tune.parallel import COORDINATOR
from shapeft_tune.tune.preflight import Contents, Tell, check_sweep, require_writable
from shapeft_tune.tune.spending import Spending
from shapeft_tune.tune.status.whereabouts import forget_places
from shapeft_tune.tune.storage.storage import TrialStorage
from shapeft_tune.tune.storage.trial_files import TrialFiles
from shapeft_tune.tune.trainable import trial_function

OnEvent = Callable[[Event, Ledger], None]


@dataclass(frozen=True)
class RunOptions:
    """How a sweep is run; nothing of it changes a result."""

    tracking_uri: str
    """Of the record."""
    cluster: ClusterOptions
    ledger_url: str | None = None
    """Of a database that holds the ledger; None for a file in the sweep's folder."""
    storage_uri: str | None = None
    """Of what all nodes share, where it is not the home: ``s3://bucket/prefix``."""
    disk_bytes: int | None = None
    """The most that all trials of the sweep take together; None for no ceiling."""
    retry_failed: bool = False
    """Whether trials that failed for good before are run again."""
    new_generation: bool = False
    """Whether results that the file, data or weights contradict stay as they are, beside new ones."""


@dataclass(frozen=True)
class SweepRun:
    """How a call of :func:`run_sweep` ended."""

    sweep: SweepConfig
    """As it was run: under the name of its generation."""
    counts: tuple[CellCounts, ...]
    stopped: bool
    """It ended early: it was asked to, met an obstacle, or used up its budget."""
    obstacle: str
    """What no trial could have gone on with, such as a full disk; empty for none."""
    limit: str
    """Which limit of the whole sweep was reached; empty for none."""
    record_problems: tuple[str, ...]
    """What could not be written to the record."""

    @property
    def done(self) -> bool:
        """Whether every cell has all its trials."""
        return all(cell.done for cell in self.counts)


def run_sweep(
    sweep: SweepConfig,
    places: Places,
    options: RunOptions,
    on_event: OnEvent,
    tell: Tell = lambda sentence: None,
) -> SweepRun:
    """Run every trial that the file declares and the ledger does not hold.

    Args:
        sweep: the checked file, under the name of its generation; under its own for a new generation.
        places: where things lie; the same paths on every machine of the cluster.
        options: how to run it.
        on_event: told of everything that happens to a trial.
        tell: told what was done to the data, or corrected, and nobody may overlook.

    Raises:
        UserError: something is wrong that can be known before any trial starts.
    """
    TrialStorage.at(options.storage_uri).check()
    contents = None
    if options.new_generation:  # checked first: one that cannot begin leaves no trace
        require_writable(places.home)
        contents = check_sweep(sweep, places, tell)
        sweep = next_generation(sweep, places, contents.data, contents.by_strategy, options.ledger_url)
    folder = places.sweep_folder(sweep.name)
    require_writable(folder)
    with sole_driver(folder):
        forget_places(folder)
        for strategy, correction in _corrections(sweep).items():
            tell(f"strategy {strategy}: {correction}")
        contents = contents or check_sweep(sweep, places, tell)
        storage = open_storage(options.ledger_url, folder)
        with _leased(storage, sweep, folder, options, tell) as lost:
            ledger = Ledger.open(folder, sweep, contents.data, contents.by_strategy, storage)
            keep_declared(folder, sweep)
            if options.retry_failed and (again := ledger.reopen_failed()):
                tell(f"{again} failed trials are run again")
            return _run_missing(sweep, ledger, contents, places, options, on_event, lost, tell)


def _run_missing(
    sweep: SweepConfig,
    ledger: Ledger,
    contents: Contents,
    places: Places,
    options: RunOptions,
    on_event: OnEvent,
    lost: Callable[[], str],
    tell: Tell,
) -> SweepRun:
    folder = places.sweep_folder(sweep.name)
    trial_storage = TrialStorage.at(options.storage_uri)
    files = TrialFiles(folder, trial_storage, options.disk_bytes)
    files.take_stop_back()
    with _cluster_for(ledger, options, folder) as cluster_is_there:
        artifacts = places.home / "artifacts"
        recorder = Recorder.open(options.tracking_uri, sweep.name, folder, artifacts, sweep.question, METRIC)
        ending, ended_by = SweepEnding.FAILED, ""
        try:
            driver = Driver(
                sweep,
                ledger,
                recorder,
                folder,
                lambda event: on_event(event, ledger),
                files=files,
                lost=lost,
                capacity=capacity,
                contents=contents,
            )
            driver.complete_record()
            if not driver.done:
                try:
                    cluster_is_there()
                    function = trial_function(folder, places, trial_storage)
                    _place_trials(driver, ledger, places, options, tell, function)
                finally:
                    driver.close()
            ending, ended_by = _ending(driver)
        finally:
            recorder.close(ending, ended_by)
    return SweepRun(
        sweep=sweep,
        counts=ledger.counts(),
        stopped=driver.stopping,
        obstacle=driver.obstacle,
        limit=driver.limit,
        record_problems=recorder.problems,
    )


def _ending(driver: Driver) -> tuple[SweepEnding, str]:
    """Return how the sweep ended and what ended it early, if that was foreseen: a budget is no accident."""
    if driver.limit and not driver.obstacle:
        return SweepEnding.FINISHED, f"budget: {driver.limit.removeprefix('budget.')}"
    return (SweepEnding.STOPPED if driver.stopping else SweepEnding.FINISHED), ""


def _cluster_for(
    ledger: Ledger, options: RunOptions, folder: Path
) -> AbstractContextManager[Callable[[], None]]:
    """Start a cluster, in the background, where there is something to run."""
    if not _to_do(ledger) or Spending(ledger, ledger.sweep.budget.total).reached:
        return nullcontext(lambda: None)
    return cluster(options.cluster, folder / "logs" / "ray.log")


def _place_trials(
    driver: Driver,
    ledger: Ledger,
    places: Places,
    options: RunOptions,
    tell: Tell,
    function: Callable[..., None],
) -> None:
    """Run everything on the cluster, and end in good order when it dies or somebody wants so."""
    folder = places.sweep_folder(ledger.sweep.name)
    with _stop_on_signals(folder / STOP_FILE):
        try:
            require_slots(ledger.sweep, options.cluster, tell)
            driver.share(measured_shares(_to_do(ledger), folder, places, lambda: driver.stopping, tell))
            work_off(driver, function, folder)
        except ClusterGone as gone:
            driver.obstructed(str(gone))


def _to_do(ledger: Ledger) -> list[Cell]:
    return [cell.cell for cell in ledger.cells.values() if not count_cell(cell).done]


def _corrections(sweep: SweepConfig) -> dict[str, str]:
    """Return what was corrected of each strategy's resources."""
    return {cell.strategy: said for cell in sweep.cells if (said := cell.resources.correction)}


@contextmanager
def _leased(
    storage: BaseStorage, sweep: SweepConfig, folder: Path, options: RunOptions, tell: Tell
) -> Iterator[Callable[[], str]]:
    """Hold the lease of a ledger that other homes can reach, and give a function that tells of its loss.

    A ledger in the sweep's own folder needs none: the folder's lock is enough.
    """
    if options.ledger_url is None:
        yield lambda: ""
        return
    with sole_driver_of(storage, sweep.name, Holder.of(folder), tell=tell, url=options.ledger_url) as lease:
        yield lambda: f"the ledger is driven by {lease.lost} now" if lease.lost else ""


def work_off(driver: Driver, function: Callable[..., None], folder: Path) -> None:
    """Let Ray Tune run whatever the driver hands out, until there is nothing left.

    Args:
        driver: decides everything.
        function: runs one order in a worker.
        folder: the sweep's.
    """
    from ray import tune

    from shapeft_tune.tune.cluster.watch import ClusterWatch, ended_with_the_cluster
    from shapeft_tune.tune.scheduler import LedgerScheduler, LedgerSearcher

    storage = folder / "ray"
    run = f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}"
    trainable = tune.with_resources(
        function,
        lambda config: tune.PlacementGroupFactory([_placement(config)]),
    )

    def fit(watch: ClusterWatch) -> None:
        tune.Tuner(
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
                failure_config=tune.FailureConfig(max_failures=0),  # the driver hands out again, and counts
                callbacks=[watch],
                verbose=0,
            ),
        ).fit()

    try:
        with ended_with_the_cluster(driver.obstructed) as watch:
            fit(watch)
    finally:
        shutil.rmtree(storage / run, ignore_errors=True)  # everything in it is in ledger and trial folders


def _placement(config: dict[str, Any]) -> dict[str, float]:
    order = Order.from_ray(config)
    if order.workers > 1:
        return COORDINATOR
    return {"CPU": order.cpu, "GPU": order.gpu}


@contextmanager
def _stop_on_signals(stop_file: Path) -> Iterator[None]:
    """Turn the first SIGINT or SIGTERM into a wish to stop, and a second one into an exception."""
    wished = False

    def handle(number: int, frame: FrameType | None) -> None:
        nonlocal wished  # the file says nothing: a driver whose budget is used up writes it, too
        if wished:
            raise KeyboardInterrupt
        wished = True
        stop_file.touch()

    previous = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
