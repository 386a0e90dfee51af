"""A trial that several processes share: Ray Train runs them, the trial's function passes word to Tune.

The function that Tune runs for the trial takes no slots. Train places the processes as one group, all at once
or none, so two trials never hold half of what they need each. Until a trial is over, its function does not
return, and its processes are gone when it does.

Progress goes from the first process to the function and Tune's answer back, and the process waits for it, as
it does in a trial of one process. Where Tune stops the trial, all processes are told so and end. Where the
function dies, Train's cleaner finds its controller dead and removes the processes.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from shapeft_tune.tune.faults import MACHINE
from shapeft_tune.tune.orders import INTERRUPTED, Order, Outcome

COORDINATOR = {"memory": 1.0}
"""What the trial's function takes of the cluster: a byte, since Tune wants something to place."""
LOOK_SECONDS = 0.5
"""Between looks at whether the processes are still there."""
PATIENCE_SECONDS = 60
"""For the processes to end when they are told to; Tune has more, see ``QUIET`` in ``cluster.py``."""
LAST_WORD_SECONDS = 2.0
"""A process that only lost another one waits so long before Train ends all: the other knows the cause."""
SETTINGS = {
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": str(LOOK_SECONDS),
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",  # one process less: there is a checkpoint to go on from
}
"""Ray reads these from the environment of the trial's function."""


def shared(order: Order, sweep_folder: Path, work: Callable[..., Outcome]) -> Outcome:
    """Run a trial in ``order.workers`` processes and return how it ended. Called inside a Tune trial.

    Args:
        order: of the trial.
        sweep_folder: the sweep's.
        work: ``(report, team, device) -> outcome``, called in each process.
    """
    import ray
    from ray import tune

    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    post = ray.remote(num_cpus=0)(Post).remote()
    processes = _Running(_trainer(order, sweep_folder, post, work).fit)
    outcomes: list[tuple[int, Outcome]] = []
    try:
        while True:
            over = processes.over
            letter = ray.get(post.next.remote(0 if over else LOOK_SECONDS))
            if letter is None and over:
                break
            if letter and "outcome" in letter:
                outcomes.append((letter["rank"], Outcome(**letter["outcome"])))
            elif letter:
                tune.report(letter["report"])
                ray.get(post.answer.remote())
    finally:  # where Tune stops the trial, a SystemExit comes out of its report
        ray.get(post.close.remote())
        processes.wait(PATIENCE_SECONDS)
    return verdict(outcomes, processes.error)


def verdict(outcomes: list[tuple[int, Outcome]], error: Exception | None) -> Outcome:
    """Return how a trial ended from how its processes did, in the order in which they said so.

    The first that failed has met the cause; one that only lost another process may say so before it. Where
    none failed, the first process speaks for all.

    Args:
        outcomes: with the number of the process.
        error: that Ray Train raised.
    """
    told = [(rank, outcome) for rank, outcome in outcomes if not outcome.lost_teammate]
    for _, outcome in told:
        if outcome.state not in ("complete", INTERRUPTED):
            return outcome
    for rank, outcome in told:
        if rank == 0:
            return outcome
    for _, outcome in outcomes:
        if outcome.lost_teammate:
            return outcome
    return Outcome("failed", message=f"its processes died: {error}", fault=MACHINE)


class Post:
    """An actor that carries word between a trial's processes and its function."""

    def __init__(self) -> None:
        self._letters: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._answers: asyncio.Queue[bool] = asyncio.Queue()
        self._closed = False

    async def tell(self, report: dict[str, Any]) -> bool:
        """Pass on a report and return whether the trial goes on."""
        if self._closed:
            return False
        await self._letters.put({"report": report})
        return await self._answers.get()

    async def end(self, rank: int, outcome: dict[str, Any]) -> None:
        """Pass on how a process ended."""
        await self._letters.put({"rank": rank, "outcome": outcome})

    async def next(self, seconds: float) -> dict[str, Any] | None:
        """Return what was sent first, waiting for it as long; None if nothing comes."""
        if not seconds and self._letters.empty():
            return None
        try:
            return await asyncio.wait_for(self._letters.get(), seconds or None)
        except TimeoutError:
            return None

    async def answer(self) -> None:
        """Let the trial go on."""
        await self._answers.put(True)

    async def close(self) -> None:
        """Let the trial end."""
        self._closed = True
        await self._answers.put(False)


class _Running:
    """A call in a thread of its own."""

    def __init__(self, call: Callable[[], object]) -> None:
        self.error: Exception | None = None
        self._call = call
        self._thread = threading.Thread(target=self._run, name="ray train", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._call()
        except Exception as error:
            self.error = error

    @property
    def over(self) -> bool:
        return not self._thread.is_alive()

    def wait(self, seconds: float) -> None:
        self._thread.join(seconds)


def _trainer(order: Order, sweep_folder: Path, post: Any, work: Callable[..., Outcome]) -> Any:
    from ray import tune
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer

    def process() -> None:
        _take_part(order, post, work)

    context = tune.get_context()
    each = {"CPU": order.cpu} | ({"GPU": order.gpu} if order.gpu else {})
    return TorchTrainer(
        process,
        scaling_config=ScalingConfig(
            num_workers=order.workers, use_gpu=order.gpu > 0, resources_per_worker=each
        ),
        run_config=RunConfig(
            name=f"{context.get_trial_id()}-{time.time_ns()}",
            storage_path=str(sweep_folder / "ray" / context.get_experiment_name()),
            failure_config=FailureConfig(max_failures=0),  # the sweep hands the trial out again, and counts
        ),
    )


def _take_part(order: Order, post: Any, work: Callable[..., Outcome]) -> None:
    """Do one process's part of the trial. Raises RuntimeError where it failed, so that Train ends all."""
    import ray
    from ray.train.torch import get_device

    from shapeft_tune.errors import Interrupted
    from shapeft_tune.train.parallel import Team

    def report(progress: dict[str, Any]) -> None:
        if not ray.get(post.tell.remote(progress)):
            raise Interrupted("stopped by the sweep; the checkpoint is written")

    team = Team.joined()
    outcome = work(report, team, str(get_device()) if order.gpu else None)
    ray.get(post.end.remote(team.rank, asdict(outcome)))
    if outcome.state not in ("complete", INTERRUPTED):
        if outcome.lost_teammate:
            time.sleep(LAST_WORD_SECONDS)
        raise RuntimeError(f"process {team.rank} failed: {outcome.message}")
