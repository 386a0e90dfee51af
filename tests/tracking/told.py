"""Trials of every kind, told to a recorder, and everything that a store then has of them, for comparing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from mlflow.entities import Run
from mlflow.tracking import MlflowClient

from shapeft_tune.config.protocol import Role
from shapeft_tune.scores import CONFUSION_FILE
from shapeft_tune.tracking import Ending, Place, Recorder, TrialEnd, TrialFacts
from shapeft_tune.tracking.connection import all_runs
from tests.tracking.conftest import facts

SEARCHED, RETRIED, PRUNED, OPEN = facts(lr=1e-3), facts(lr=2e-3), facts(lr=3e-3), facts(lr=4e-3)
CONFIRMED = facts(lr=1e-3, role=Role.CONFIRMATION, seed=1)
TRIALS = (SEARCHED, RETRIED, PRUNED, OPEN, CONFIRMED)
PLACE = Place("node", "gpu 1")


def points(record: Recorder, trial: TrialFacts, *steps: int) -> None:
    """Tell of validations after these steps, with numbers that only depend on them."""
    for step in steps:
        record.trial_progress(trial, step, {"train/loss": 10 / step, "val/miou": step / 1000})


def tell_all(record: Recorder, folder: Path) -> None:
    """Tell of five trials: complete, failed and then complete, pruned, confirmed, and one that runs on."""
    for trial in (SEARCHED, RETRIED, PRUNED, OPEN):
        record.trial_started(trial)
        record.trial_began(trial, PLACE)
    for step in (10, 20, 30):
        for trial in (SEARCHED, RETRIED, PRUNED, OPEN):
            points(record, trial, step)
    record.trial_ended(RETRIED, TrialEnd(Ending.FAILED, {"cost/seconds": 3.0}, "out of memory"))
    record.trial_ended(PRUNED, TrialEnd(Ending.PRUNED, {"best/val_miou": 0.03}))
    record.trial_started(RETRIED)
    points(record, RETRIED, 20, 30, 40)
    record.trial_ended(RETRIED, completed(RETRIED, folder))
    points(record, SEARCHED, 40)
    record.trial_ended(SEARCHED, completed(SEARCHED, folder))
    record.trial_ended(SEARCHED, completed(SEARCHED, folder))
    record.trial_ended(CONFIRMED, completed(CONFIRMED, folder))


def completed(trial: TrialFacts, folder: Path) -> TrialEnd:
    """Return an end with files, which lie in the trial's own folder."""
    place = folder / "trials" / trial.strategy / f"{trial.role}-{trial.fingerprint}"
    place.mkdir(parents=True, exist_ok=True)
    (place / "result.json").write_text(json.dumps({"trial": trial.title}))
    (place / "labels.json").write_text(json.dumps({"labelled_patches": [1, 2, 3]}))
    files = {name: place / name for name in ("result.json", "labels.json")}
    counts_NKK = np.random.default_rng(trial.seed).integers(1, 99, (4, 3, 3)).astype(np.int32)
    if trial.role is Role.CONFIRMATION:
        np.savez(place / CONFUSION_FILE, test_counts=counts_NKK, class_names=np.array(["a", "b", "c"]))
        files[CONFUSION_FILE] = place / CONFUSION_FILE
    return TrialEnd(
        Ending.COMPLETE,
        {"best/val_miou": 0.04, "cost/seconds": 9.0},
        artifacts=files,
        environment={"device": "gpu", "precision": "bf16"},
        test_counts_KK=counts_NKK.sum(axis=0) if trial.role is Role.CONFIRMATION else None,
    )


def everything(store: str, sweep: str = "demo", *, with_times: bool = True) -> dict[str, Any]:
    """Return all runs of a sweep by title: tags, parameters, every point of every metric, files, data sets.

    Ids of runs, which differ from store to store, are replaced by titles.
    """
    client = MlflowClient(store)
    experiment = client.get_experiment_by_name(sweep)
    assert experiment is not None
    runs = list(all_runs(client, experiment.experiment_id))
    titles = {run.info.run_id: run.info.run_name for run in runs}
    assert len(set(titles.values())) == len(runs), "a trial has two runs"
    return {run.info.run_name: _content(client, run, titles, with_times) for run in runs}


def differences(one: dict[str, Any], other: dict[str, Any]) -> list[tuple[str, str, Any, Any]]:
    """Return what is not the same in two records: the run, what of it, and both."""
    return [
        (title, name, one.get(title, {}).get(name), other.get(title, {}).get(name))
        for title in sorted(one.keys() | other.keys())
        for name in sorted(one.get(title, {}).keys() | other.get(title, {}).keys())
        if one.get(title, {}).get(name) != other.get(title, {}).get(name)
    ]


def _content(client: MlflowClient, run: Run, titles: dict[str, str], with_times: bool) -> dict[str, Any]:
    tags = {name: titles.get(text, text) for name, text in run.data.tags.items()}
    histories = {name: client.get_metric_history(run.info.run_id, name) for name in run.data.metrics}
    content: dict[str, Any] = {
        "status": run.info.status,
        "tags": tags,
        "params": run.data.params,
        "latest": run.data.metrics,
        "points": {
            name: sorted((point.step, point.value, point.timestamp) for point in history)
            for name, history in histories.items()
        },
        "files": dict(_files(client, run.info.run_id, "")),
        "data": sorted((each.dataset.name, each.dataset.digest) for each in run.inputs.dataset_inputs),
    }
    return content | ({"began": run.info.start_time, "ended": run.info.end_time} if with_times else {})


def _files(client: MlflowClient, run_id: str, folder: str) -> Iterator[tuple[str, bytes]]:
    for file in client.list_artifacts(run_id, folder or None):
        if file.is_dir:
            yield from _files(client, run_id, file.path)
        else:
            yield file.path, Path(client.download_artifacts(run_id, file.path)).read_bytes()
