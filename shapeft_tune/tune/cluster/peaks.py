"""Measuring on the cluster what trials take of a GPU: the part of ``sharing.py`` that knows Ray and CUDA."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from shapeft_tune.config.cell import Cell
from shapeft_tune.config.places import Places
from shapeft_tune.config.protocol import Role
from shapeft_tune.config.trial import TrialConfig
from shapeft_tune.tune.cluster.sharing import Gpus, Measure, Peak, shares_of
from shapeft_tune.tune.preflight import Tell

logger = logging.getLogger(__name__)

STEPS = 4
"""Steps of each trial: the optimiser has its state after one, and an encoder that rests at first joins in by
the last."""
WAIT_SECONDS = 1.0
"""Between looks at the wish to stop."""
KIND = "accelerator_type:"
"""How Ray begins the name of the resource that tells a node's kind of GPU."""


def gpus_of_cluster() -> Gpus | None:
    """Return what the connected cluster has; None where no node has a GPU."""
    import ray

    there = [node["Resources"] for node in ray.nodes() if node["Alive"] and node["Resources"].get("GPU")]
    if not there:
        return None
    kinds = {name.removeprefix(KIND) for node in there for name in node if name.startswith(KIND)}
    return Gpus("+".join(sorted(kinds)), min(node.get("CPU", 0.0) / node["GPU"] for node in there))


def measured_shares(
    cells: Iterable[Cell], folder: Path, places: Places, should_stop: Callable[[], bool], tell: Tell
) -> dict[str, float]:
    """Return the share of a GPU by the key of each cell that leaves it open, on the connected cluster.

    Args:
        cells: that have trials to run.
        folder: the sweep's.
        places: where data and weights lie.
        should_stop: asked every second; when it says yes, what is not measured yet never is.
        tell: told every share.

    Raises:
        ClusterGone: the cluster died.
    """
    return shares_of(cells, gpus_of_cluster(), folder, measuring(places, should_stop), tell)


def measuring(places: Places, should_stop: Callable[[], bool]) -> Measure:
    """Return what measures trials on the connected cluster, as many groups at once as it has GPUs.

    Args:
        places: where data and weights lie.
        should_stop: asked every second; when it says yes, what is not measured yet never is.
    """
    return partial(_measure, places=places, should_stop=should_stop)


def _measure(
    groups: Sequence[tuple[TrialConfig, ...]], places: Places, should_stop: Callable[[], bool]
) -> list[Peak | None]:
    import ray

    from shapeft_tune.tune.cluster.watch import ended_with_the_cluster

    # A process of its own for each group: what it took is free again, and no peak counts for the next.
    task = ray.remote(num_gpus=1, num_cpus=1, max_calls=1, max_retries=0)(peak_of)
    configs = [[trial.canonical() for trial in group] for group in groups]
    waiting = answers = [task.remote(each, places) for each in configs]
    with ended_with_the_cluster():
        while waiting and not should_stop():
            _, waiting = ray.wait(waiting, num_returns=len(waiting), timeout=WAIT_SECONDS)
    for each in waiting:
        ray.cancel(each, force=True)
    return [None if answer in waiting else _answer(answer) for answer in answers]


def _answer(reference: Any) -> Peak | None:
    import ray

    try:
        peak: Peak | None = ray.get(reference)
    except Exception:  # whatever is wrong with this strategy, its trials will say
        logger.exception("cannot measure what a trial takes of a GPU")
        return None
    return peak


def peak_of(configs: Sequence[dict[str, Any]], places: Places) -> Peak | None:
    """Run trials for a few steps and a batch of validation and return what the largest took. Needs a GPU.

    None where PyTorch finds none.
    """
    import torch

    from shapeft_tune.errors import OutOfMemory
    from shapeft_tune.train import run_trial
    from shapeft_tune.train.memory import leaving_nothing

    if not torch.cuda.is_available():
        return None
    total = torch.cuda.get_device_properties(0).total_memory
    reserved = 0
    for config in configs:
        with leaving_nothing(1.0), tempfile.TemporaryDirectory() as folder:
            try:
                run_trial(shortened(config), places, Path(folder), role=Role.SEARCH, device="cuda")
            except OutOfMemory:
                return Peak(total, total)
            reserved = max(reserved, torch.cuda.max_memory_reserved(0))
    return Peak(reserved, total)


def shortened(config: dict[str, Any]) -> TrialConfig:
    """Return a trial that does everything once that the given one does many times."""
    trial = TrialConfig.model_validate(config)
    training = trial.training.model_copy(update={"steps": STEPS})
    batch = trial.training.batch_size
    validation = trial.validation.model_copy(update={"every": STEPS, "patches": batch})
    return trial.model_copy(update={"training": training, "validation": validation})
