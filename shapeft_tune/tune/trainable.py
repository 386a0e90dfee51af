"""What runs inside a Ray worker: one order in, one trial out. Faults of a trial are results, not exceptions.

So whoever hands out trials can tell a fault of the machine, which another try may not meet, from one that
would only happen again. A worker that dies has no last word, and that is an answer too.
"""

from __future__ import annotations

import logging
import os
import socket
import traceback
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shapeft_tune.config.places import Places
from shapeft_tune.config.protocol import Role
from shapeft_tune.tune.orders import (
    CHECKPOINTS,
    INTERRUPTED,
    OBSTRUCTED,
    STOP_FILE,
    Order,
    Outcome,
    trial_folder,
)
from shapeft_tune.tune.storage.disk_ceiling import peak_of, size_of
from shapeft_tune.tune.storage.stop_mark import stop_asked
from shapeft_tune.tune.storage.storage import SHARED_HOME, TrialStorage, trial_key
from shapeft_tune.tune.storage.stored_files import StorageFailed

logger = logging.getLogger(__name__)

if TYPE_CHECKING:
    from shapeft_tune.train.parallel import Team


def trial_function(
    sweep_folder: Path, places: Places, storage: TrialStorage = SHARED_HOME
) -> Callable[..., None]:
    """Return the function that Ray runs for every order.

    Args:
        sweep_folder: the sweep's, in the home of the node that it runs on.
        places: where things lie.
        storage: what all nodes share, where it is not the home.
    """

    def run(ray_config: dict[str, str]) -> None:
        from ray import tune

        from shapeft_tune.train.memory import leaving_nothing
        from shapeft_tune.tune.parallel import shared

        order = Order.from_ray(ray_config)
        if not order.gpu:
            os.environ["CUDA_VISIBLE_DEVICES"] = ""  # Ray shows all GPUs to a trial that has none
        place = {"host": socket.gethostname(), "process": os.getpid(), "device": _device(order)}
        tune.report({"begun": place})
        work = partial(_work, order, sweep_folder, places, storage)
        if order.workers > 1:
            outcome = shared(order, sweep_folder, work)
        else:
            with leaving_nothing(order.gpu):  # the process goes on to the next trial
                outcome = work(tune.report)
        tune.report(outcome.to_ray())

    return run


def _work(
    order: Order,
    sweep_folder: Path,
    places: Places,
    storage: TrialStorage,
    report: Callable[[dict[str, Any]], None],
    team: Team | None = None,
    device: str | None = None,
) -> Outcome:
    """Run the trial, or one process's part of it, and report each validation."""
    import torch

    from shapeft_tune.config import TrialConfig
    from shapeft_tune.errors import Interrupted
    from shapeft_tune.train import Progress, TrialResult, run_trial
    from shapeft_tune.train.parallel import ALONE

    team = team or ALONE
    folder = trial_folder(sweep_folder, order.strategy, order.fingerprint)
    key = trial_key(sweep_folder.name, order.strategy, order.fingerprint)

    def tell(progress: Progress) -> None:
        storage.keep(folder, key)  # before the report: Tune may end the trial there
        report(
            {
                "step": progress.step,
                "steps": progress.steps,
                "seconds": progress.seconds,
                "metrics": progress.metrics(),
                "disk_bytes": peak_of(folder),
                "kept_bytes": size_of(folder),
            }
        )

    def run() -> TrialResult:
        return run_trial(
            TrialConfig.model_validate(order.config),
            places,
            folder,
            role=Role(order.role),
            on_progress=tell,
            should_stop=should_stop,
            device=device if order.gpu else "cpu",
            team=team,
        )

    def kept() -> None:
        storage.keep_last(folder, key)

    should_stop = stop_asked(sweep_folder / STOP_FILE, storage)
    torch.set_num_threads(max(int(order.cpu), 1))
    try:
        if team.told(should_stop):  # it waited for its place while the sweep was told to end
            return Outcome(INTERRUPTED, message="not begun")
        _clear(storage, sweep_folder)
        storage.fetch(folder, key)
        result = run()
        team.told(kept)
        outcome = _completed(result)
    except Interrupted as stop:
        if team.rank == 0:
            storage.keep(folder, key)
        outcome = Outcome(INTERRUPTED, message=str(stop))
    except Exception as error:
        outcome = failed(error)
    return replace(outcome, disk_bytes=size_of(folder))


def _clear(storage: TrialStorage, sweep_folder: Path) -> None:
    """Remove what this node still has of checkpoints that the driver dropped."""
    try:
        storage.clear(sweep_folder / "trials", f"{sweep_folder.name}/trials", CHECKPOINTS)
    except OSError:
        logger.warning("cannot ask which checkpoints were dropped", exc_info=True)


def failed(error: Exception) -> Outcome:
    """Return how a trial ended that an exception ended."""
    from shapeft_tune.errors import ShapeftError
    from shapeft_tune.train.parallel import TeammateLost
    from shapeft_tune.tune.faults import OBSTACLES, kind_of

    if isinstance(error, StorageFailed) or (isinstance(error, OSError) and error.errno in OBSTACLES):
        return Outcome(OBSTRUCTED, message=str(error))
    # Of a fault of this project or of a library, keep all that is known.
    message = str(error) if isinstance(error, ShapeftError) else "".join(traceback.format_exception(error))
    lost_teammate = isinstance(error, TeammateLost)
    return Outcome("failed", message=message, fault=kind_of(error), lost_teammate=lost_teammate)


def _completed(result: object) -> Outcome:
    from shapeft_tune.train import TrialResult

    assert isinstance(result, TrialResult)
    scores = result.validation if result.role is Role.SEARCH else result.test
    assert scores is not None, "a confirmation trial is scored on the test folds"
    return Outcome("complete", scores.miou, steps=result.steps, seconds=result.seconds)


def _device(order: Order) -> str:
    """Name what the trial computes on, as its machine's owner would."""
    if order.workers > 1:  # wherever Ray Train finds places for them
        return f"{order.workers} {'gpus' if order.gpu else 'processes'}"
    if not order.gpu:
        return "cpu"
    return f"gpu {os.environ.get('CUDA_VISIBLE_DEVICES', '?')}"
