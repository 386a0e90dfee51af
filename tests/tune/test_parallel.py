"""Trials that two processes share, on a real cluster of two slots."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shapeft_tune.config import TrialConfig
from shapeft_tune.config.places import Places
from shapeft_tune.config.protocol import Role
from shapeft_tune.train import TrialResult
from shapeft_tune.train.parallel import TeammateLost
from shapeft_tune.tune.cluster.cluster import QUIET, ClusterOptions, cluster
from shapeft_tune.tune.faults import MACHINE, OWN
from shapeft_tune.tune.orders import INTERRUPTED, OBSTRUCTED, Order, Outcome, trial_folder
from shapeft_tune.tune.parallel import COORDINATOR, PATIENCE_SECONDS, SETTINGS, verdict
from shapeft_tune.tune.storage.stored_files import StorageFailed
from shapeft_tune.tune.trainable import failed, trial_function
from tests.tune.small import SMALL


def order(**training: Any) -> Order:
    base = SMALL["base"] | {
        "model": {"name": "utae", "encoder_widths": [8, 8], "decoder_widths": [8, 8], "heads": 2, "width": 8},
        "training": SMALL["base"]["training"] | training,
    }
    config = TrialConfig.model_validate(base)
    return Order("utae", config.fingerprint(), Role.SEARCH, config.canonical(), cpu=1.0, gpu=0.0, workers=2)


@pytest.fixture
def two_slots(tmp_path: Path) -> Iterator[None]:
    with cluster(ClusterOptions(cpus=2, gpus=0), tmp_path / "ray.log") as cluster_is_there:
        cluster_is_there()
        yield


def run(orders: list[Order], pruned: Order, folder: Path, places: Places) -> dict[str, dict[str, Any]]:
    """Run orders one after another; stop one of them at its first validation. Last results by fingerprint."""
    from ray import tune
    from ray.tune.schedulers import FIFOScheduler

    class StopOne(FIFOScheduler):
        def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
            stop = trial.config["order"] == pruned.to_ray()["order"] and "step" in result
            return str(self.STOP if stop else self.CONTINUE)

    tuner = tune.Tuner(
        tune.with_resources(
            trial_function(folder, places), lambda config: tune.PlacementGroupFactory([COORDINATOR])
        ),
        param_space={"order": tune.grid_search([each.to_ray()["order"] for each in orders])},
        tune_config=tune.TuneConfig(scheduler=StopOne(), max_concurrent_trials=1, reuse_actors=True),
        run_config=tune.RunConfig(name="test", storage_path=str(folder / "ray"), verbose=0),
    )
    results = tuner.fit()
    assert not results.errors
    return {Order.from_ray(each.config).fingerprint: each.metrics for each in results}


@pytest.mark.usefixtures("two_slots")
def test_a_trial_of_two_processes_completes_after_one_that_was_pruned(tmp_path: Path) -> None:
    """The pruned one has to give back both slots, or the next would wait for ever."""
    pruned, whole = order(batch_size=2), order(batch_size=3)
    told = run([pruned, whole], pruned, tmp_path, Places(tmp_path / "home"))

    assert told[pruned.fingerprint]["step"] == 4
    assert "outcome" not in told[pruned.fingerprint]
    assert (trial_folder(tmp_path, "utae", pruned.fingerprint) / "last.pt").exists()

    outcome = Outcome(**told[whole.fingerprint]["outcome"])
    folder = trial_folder(tmp_path, "utae", whole.fingerprint)
    result = TrialResult.load(folder)
    assert result is not None
    assert (outcome.state, outcome.score, outcome.steps) == ("complete", result.validation.miou, 8)
    assert len(np.load(folder / "confusion.npz")["validation_ids"]) == 2


def test_a_process_that_only_lost_another_never_hides_what_the_other_says() -> None:
    lost = failed(TeammateLost("the first process ended by StorageFailed: no answer"))
    cause = failed(StorageFailed("no answer"))
    assert verdict([(1, lost), (0, cause)], None) == cause
    assert verdict([(1, lost), (0, Outcome(INTERRUPTED))], None).state == INTERRUPTED
    assert verdict([(1, lost), (2, Outcome("complete"))], None) == lost


def test_tune_waits_longer_for_a_shared_trial_than_its_processes_may_take_to_end() -> None:
    assert int(QUIET["TUNE_FUNCTION_THREAD_TIMEOUT_S"]) >= 2 * PATIENCE_SECONDS
    assert "TUNE_FUNCTION_THREAD_TIMEOUT_S" not in SETTINGS  # workers have it from the cluster already


@pytest.mark.parametrize(
    ("outcomes", "expected"),
    [
        ([(1, "complete", ""), (0, "complete", "")], "complete"),
        ([(1, INTERRUPTED, ""), (0, INTERRUPTED, "")], INTERRUPTED),
        ([(1, "failed", OWN), (0, "failed", MACHINE)], f"failed {OWN}"),
        ([(0, "complete", ""), (1, OBSTRUCTED, "")], OBSTRUCTED),
        ([(1, "complete", "")], f"failed {MACHINE}"),
        ([], f"failed {MACHINE}"),
    ],
)
def test_the_first_failure_speaks_for_all_and_else_the_first_process(
    outcomes: list[tuple[int, str, str]], expected: str
) -> None:
    said = verdict([(rank, Outcome(state, fault=fault)) for rank, state, fault in outcomes], None)
    assert f"{said.state} {said.fault}".strip() == expected
