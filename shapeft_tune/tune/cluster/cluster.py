"""Starting or joining a Ray cluster, quietly."""

from __future__ import annotations

import logging
import math
import os
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from shapeft_tune.config.resources import Resources
from shapeft_tune.config.sweep import SweepConfig
from shapeft_tune.errors import UserError
from shapeft_tune.tune.cluster.room import ROUNDING, Capacity

QUIET = {
    "RAY_AIR_NEW_OUTPUT": "0",  # with verbose=0, Tune prints nothing
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_TRAIN_ENABLE_V2_MIGRATION_WARNINGS": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # the record is kept by this project
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Ctrl-C is handled here: checkpoints first
    "TUNE_MAX_PENDING_TRIALS_PG": "2",  # with one (the default), slots wait for each other
    "TUNE_GLOBAL_CHECKPOINT_S": "86400",  # nothing is ever restored from Tune's own snapshots
    "TUNE_STATE_REFRESH_PERIOD": "86400",  # asks the head, for ever if it is dead; for display only
    "TUNE_WARN_THRESHOLD_S": "30",
    # A stopped trial has so long to free its memory, and a shared one to end its processes, before its worker
    # is replaced; most need no second. Read by workers, which take it over from here.
    "TUNE_FUNCTION_THREAD_TIMEOUT_S": "120",
    "TORCH_PROCESS_GROUP_SHUTDOWN_TIMEOUT_S": "5",  # of a shared trial whose processes wait for a dead one
    "TUNE_WARN_SLOW_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "30",
}


class ClusterGone(BaseException):
    """The cluster died under the sweep. No ``Exception``: after one Tune cleans up, and waits for Ray."""


@dataclass(frozen=True)
class ClusterOptions:
    """Which cluster a sweep runs on."""

    address: str | None = None
    """Of a running cluster (``auto`` or ``host:6379``) that this machine is a node of; None starts one."""
    cpus: int | None = None
    """CPU slots of a cluster started here; by default all cores."""
    gpus: int | None = None
    """GPUs of a cluster started here; by default all that are found."""


@contextmanager
def cluster(options: ClusterOptions, log: Path) -> Iterator[Callable[[], None]]:
    """Hold a connection to Ray; a cluster that was started here ends with it.

    Starting takes seconds of waiting, so it happens in the background. Yields the function that waits until
    the cluster is there; it raises UserError where no cluster answers at the address.

    Args:
        options: which cluster.
        log: file that takes everything Ray has to say.
    """
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    connection = _Connection(options, log)
    connection.start()
    try:
        yield connection.wait
    finally:
        connection.end()


class _Connection(threading.Thread):
    """The thread that starts Ray, and lives as long: the kernel ends Ray's processes with their parent."""

    def __init__(self, options: ClusterOptions, log: Path) -> None:
        super().__init__(name="ray-connection", daemon=True)
        self._options, self._log = options, log
        self._there, self._over = threading.Event(), threading.Event()
        self._error: Exception | None = None

    def run(self) -> None:
        """Connect, and disconnect at the end."""
        try:
            _connect(self._options)
        except Exception as error:
            self._error = error
        else:
            self._stay()
        self._there.set()

    def _stay(self) -> None:
        """Hold the connection to the end, or until something is wrong here."""
        import ray

        try:
            _log_to(self._log)  # only now: Ray sets its own handlers while it starts
            self._there.set()
            import ray.tune  # it takes a second, and is needed next

            self._over.wait()
        except Exception as error:
            self._error = error
        finally:
            ray.shutdown()

    def wait(self) -> None:
        """Return when the cluster is there."""
        self._there.wait()
        if self._error:
            raise self._error

    def end(self) -> None:
        """Disconnect and return when that is done."""
        self._over.set()
        self.join()


def _connect(options: ClusterOptions) -> None:
    address = options.address or os.environ.get("RAY_ADDRESS")
    if not address:
        os.environ.setdefault("RAY_AUTH_MODE", "disabled")  # a cluster of this machine's own, on loopback
    if address and ":" in address:
        _require_listener(address)
    import ray

    how = {"address": address} if address else _local(options)
    # It says that it sets no handler for SIGTERM in a thread; there is one already.
    logging.getLogger("ray._private.worker").setLevel(logging.ERROR)
    try:
        ray.init(**how, log_to_driver=False, logging_level="error", configure_logging=False)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise UserError(
            f"no Ray cluster at {address or 'this machine'}: {error}. This machine must be a node of the "
            "cluster: ray start --address HOST:6379 --num-cpus 0"
        ) from error


def capacity() -> Capacity:
    """Return what the connected cluster has, taken or not."""
    import ray

    return _capacity_of(ray.cluster_resources())


def require_slots(sweep: SweepConfig, options: ClusterOptions, tell: Callable[[str], None]) -> None:
    """Refuse a sweep whose trials could never be placed.

    A cluster elsewhere may grow, so there it is only said.

    Raises:
        UserError: a strategy asks for more than this machine has.
    """
    import ray

    there = [_capacity_of(node["Resources"]) for node in ray.nodes() if node["Alive"]]
    elsewhere = bool(options.address or os.environ.get("RAY_ADDRESS"))
    for name, wanted in {cell.strategy: cell.resources for cell in sweep.cells}.items():
        if _places(wanted, there) >= wanted.processes:
            continue
        asked = f"strategy {name} asks for {_wanted(wanted)} per trial"
        if elsewhere:
            tell(f"{asked}, for which no node of the cluster is large enough; its trials wait for one")
            continue
        here = Capacity(sum(node.cpus for node in there), sum(node.gpus for node in there))
        raise UserError(
            f"{asked} and this machine has {here.gpus:g} GPU and {here.cpus:g} CPU; lower `resources` in the "
            "file, give --cpus or --gpus, or the address of a cluster with --address"
        )


def _capacity_of(resources: Mapping[str, float]) -> Capacity:
    return Capacity(resources.get("CPU", 0.0), resources.get("GPU", 0.0))


def _places(wanted: Resources, nodes: list[Capacity]) -> int:
    """Return how many processes of a trial the nodes could hold, were they empty."""
    gpu = 0.0 if wanted.gpu_of_each == "auto" else wanted.gpu_of_each
    return sum(
        int(min(node.cpus / wanted.cpu, node.gpus / gpu if gpu else math.inf) + ROUNDING) for node in nodes
    )


def _wanted(resources: Resources) -> str:
    gpu, processes = resources.gpu_of_each, resources.processes
    of_gpu = "" if gpu in (0, "auto") else f"{processes * float(gpu):g} GPU and "
    return f"{of_gpu}{processes * resources.cpu:g} CPU"


def _require_listener(address: str) -> None:
    """Find out in seconds what Ray finds out in minutes."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=10).close()
    except (OSError, ValueError) as error:
        raise UserError(
            f"--address {address}: expected HOST:PORT of a running Ray cluster; {error}"
        ) from error


def _log_to(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(path)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logger = logging.getLogger("ray")
    logger.handlers = [handler]
    logger.propagate = False


def _local(options: ClusterOptions) -> dict[str, object]:
    return {"num_cpus": options.cpus, "num_gpus": options.gpus, "include_dashboard": False}
