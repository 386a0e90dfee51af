"""What runs inside a Ray worker: one order in, one trial out. Faults of a trial are results, not exceptions.

Ray repeats a trial whose worker died; it goes on from its checkpoint. An exception would be repeated too,
though it would only happen again, so it is reported as the trial's end instead.
"""

from __future__ import annotations

import errno
import json
import traceback
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from shapeft_tune.config.places import Places
from shapeft_tune.config.protocol import Role

STOP_FILE = "stop"
"""While this file is in the sweep's folder, trials write their checkpoint and end."""


@dataclass(frozen=True)
class Order:
    """What a worker is told; small, because Ray copies it many times."""

    strategy: str
    fingerprint: str
    role: Role
    config: Mapping[str, Any]
    cpu: float
    gpu: float

    def to_ray(self) -> dict[str, str]:
        """Return the configuration that Ray carries: one string, which Ray does not look into."""
        return {"order": json.dumps(asdict(self))}

    @classmethod
    def from_ray(cls, config: Mapping[str, str]) -> Order:
        """Read what :meth:`to_ray` wrote."""
        return cls(**json.loads(config["order"]))


@dataclass(frozen=True)
class Outcome:
    """How a worker left a trial; ``state`` is a ledger state, or one of the two below: it can go on later."""

    state: str
    score: float | None = None
    message: str = ""

    def to_ray(self) -> dict[str, Any]:
        """Return the last result that Ray is told."""
        return {"outcome": asdict(self)}


INTERRUPTED = "interrupted"
"""It was asked to stop."""
OBSTRUCTED = "obstructed"
"""It met what every other trial would meet as well."""
OBSTACLES = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
"""A disk that is full or cannot be written to: no fault of the trial, so it must not cost its place."""


def trial_function(sweep_folder: Path, places: Places) -> Callable[..., None]:
    """Return the function that Ray runs for every order."""

    def run(ray_config: dict[str, str]) -> None:
        from ray import tune

        tune.report(_work(Order.from_ray(ray_config), sweep_folder, places).to_ray())

    return run


def trial_folder(sweep_folder: Path, strategy: str, fingerprint: str) -> Path:
    """Return the folder that holds everything about one trial.

    Two strategies may meet in the same experiment; each has a folder of its own, or both would write there.
    """
    return sweep_folder / "trials" / strategy / fingerprint


def _work(order: Order, sweep_folder: Path, places: Places) -> Outcome:
    import torch
    from ray import tune

    from shapeft_tune.config import TrialConfig
    from shapeft_tune.errors import Interrupted, ShapeftError
    from shapeft_tune.train import Progress, run_trial

    def tell(progress: Progress) -> None:
        tune.report({"step": progress.step, "steps": progress.steps, "metrics": progress.metrics()})

    should_stop = (sweep_folder / STOP_FILE).exists
    if should_stop():  # it waited for its place while the sweep was told to end
        return Outcome(INTERRUPTED, message="not begun")
    torch.set_num_threads(max(int(order.cpu), 1))
    if 0 < order.gpu < 1 and torch.cuda.is_available():
        torch.cuda.set_per_process_memory_fraction(order.gpu)
    try:
        result = run_trial(
            TrialConfig.model_validate(order.config),
            places,
            trial_folder(sweep_folder, order.strategy, order.fingerprint),
            role=Role(order.role),
            on_progress=tell,
            should_stop=should_stop,
            device=None if order.gpu else "cpu",
        )
    except Interrupted as stop:
        return Outcome(INTERRUPTED, message=str(stop))
    except OSError as error:
        if error.errno in OBSTACLES:
            return Outcome(OBSTRUCTED, message=str(error))
        return Outcome("failed", message=traceback.format_exc())
    except ShapeftError as error:
        return Outcome("failed", message=str(error))
    except Exception:  # a fault of this project or of a library: keep all that is known of it
        return Outcome("failed", message=traceback.format_exc())
    scores = result.validation if result.role is Role.SEARCH else result.test
    assert scores is not None, "a confirmation trial is scored on the test folds"
    return Outcome("complete", score=scores.miou)
