"""Starting or joining a Ray cluster, quietly."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from shapeft_tune.config.sweep import SweepConfig
from shapeft_tune.errors import UserError

QUIET = {
    "RAY_AIR_NEW_OUTPUT": "0",  # with verbose=0, Tune prints nothing
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_TRAIN_ENABLE_V2_MIGRATION_WARNINGS": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # the record is kept by this project
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Ctrl-C is handled here: checkpoints first
    "TUNE_MAX_PENDING_TRIALS_PG": "2",  # with one (the default), slots wait for each other
    "TUNE_GLOBAL_CHECKPOINT_S": "86400",  # nothing is ever restored from Tune's own snapshots
    "TUNE_WARN_THRESHOLD_S": "30",
    "TUNE_WARN_SLOW_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "30",
}


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
def cluster(options: ClusterOptions, log: Path) -> Iterator[None]:
    """Hold a connection to Ray; a cluster that was started here ends with it.

    Args:
        options: which cluster.
        log: file that takes everything Ray has to say.

    Raises:
        UserError: no cluster answers at the address.
    """
    address = options.address or os.environ.get("RAY_ADDRESS")
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    if not address:
        os.environ.setdefault("RAY_AUTH_MODE", "disabled")  # a cluster of this machine's own, on loopback
    if address and ":" in address:
        _require_listener(address)
    import ray

    how = {"address": address} if address else _local(options)
    try:
        ray.init(**how, log_to_driver=False, logging_level="error", configure_logging=False)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise UserError(
            f"no Ray cluster at {address or 'this machine'}: {error}. This machine must be a node of the "
            "cluster: ray start --address HOST:6379 --num-cpus 0"
        ) from error
    _log_to(log)  # only now: Ray sets its own handlers while it starts
    try:
        yield
    finally:
        ray.shutdown()


def require_slots(sweep: SweepConfig, options: ClusterOptions) -> None:
    """Refuse a sweep whose trials could never be placed. A cluster elsewhere may grow, so it is trusted.

    Raises:
        UserError: a strategy asks for more than this machine has.
    """
    if options.address or os.environ.get("RAY_ADDRESS"):
        return
    import ray

    there = ray.cluster_resources()
    for name, wanted in {cell.strategy: cell.resources for cell in sweep.cells}.items():
        for kind, amount in (("CPU", wanted.cpu), ("GPU", wanted.gpu)):
            if amount > there.get(kind, 0):
                raise UserError(
                    f"strategy {name} asks for {amount:g} {kind} per trial and this machine has "
                    f"{there.get(kind, 0):g}; lower `resources.{kind.lower()}` in the file, "
                    "or give the address of a cluster with --address"
                )


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
