"""What a worker does with its orders, one after another."""

from __future__ import annotations

import gc
import json
import os
import sys
from pathlib import Path

import torch

from shapeft_tune.config.places import Places
from shapeft_tune.config.protocol import Role
from shapeft_tune.models import Segmenter
from shapeft_tune.tune.cluster.cluster import ClusterOptions, cluster
from shapeft_tune.tune.trainable import Order, trial_function
from tests.train.tiny import tiny


def order(seed: int) -> Order:
    config = tiny(seed=seed)
    return Order("utae", config.fingerprint(), Role.SEARCH, config.canonical(), cpu=1, gpu=0)


def test_a_stopped_trial_leaves_nothing_to_the_next_one_in_its_process(tmp_path: Path) -> None:
    """Ray's stop comes as an exception, which holds model and optimiser for as long as somebody holds it."""
    notes = tmp_path / "notes"
    run = trial_function(tmp_path / "sweep", Places(tmp_path / "home"))

    def noting(ray_config: dict[str, str]) -> None:
        there = [type(each) for each in gc.get_objects()]
        left = [each.__name__ for each in there if issubclass(each, Segmenter | torch.optim.Optimizer)]
        with notes.open("a") as file:
            file.write(json.dumps([os.getpid(), left]) + "\n")
        try:
            run(ray_config)
        except BaseException as error:
            vars(sys).setdefault("kept", []).append(error)  # the worst that Ray could do
            raise

    with cluster(ClusterOptions(cpus=1, gpus=0), tmp_path / "ray.log") as cluster_is_there:
        cluster_is_there()
        from ray import tune

        results = tune.Tuner(
            tune.with_resources(noting, {"cpu": 1}),
            param_space=tune.grid_search([order(seed).to_ray() for seed in (0, 1, 2)]),
            tune_config=tune.TuneConfig(reuse_actors=True, max_concurrent_trials=1),
            run_config=tune.RunConfig(
                name="stopped", storage_path=str(tmp_path / "ray"), stop={"step": 4}, verbose=0
            ),
        ).fit()
    assert [result.metrics["step"] for result in results] == [4, 4, 4]
    pids, left = zip(*map(json.loads, notes.read_text().splitlines()), strict=True)
    assert len(pids) == 3
    assert len(set(pids)) == 1
    assert left == ([], [], [])
