"""Reading a sweep's trials back from the record."""

from __future__ import annotations

import json
import logging
import math
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shapeft_tune.config.protocol import Role
from shapeft_tune.errors import TrackingError
from shapeft_tune.report.counts import RESULT_FILE, PatchCounts, is_of_trial, patches_in
from shapeft_tune.scores import CONFUSION_FILE, Counts
from shapeft_tune.tracking.connection import all_runs, connect, find_experiment, talking_to
from shapeft_tune.tracking.facts import Ending, TrialFacts
from shapeft_tune.tracking.wire import (
    CONFIG_FILE,
    METRIC_NAME,
    METRIC_VERSION,
    STATE,
    TRIAL_CONFIG,
    counts_of,
    environment_tags_of,
    facts_of,
)

if TYPE_CHECKING:
    from mlflow.entities import Run as MlflowRun
    from mlflow.tracking import MlflowClient

logger = logging.getLogger(__name__)

FETCHES = 8
"""Files that are fetched at a time."""


@dataclass(frozen=True)
class Run:
    """One trial as the record has it."""

    facts: TrialFacts
    state: str
    """``running`` or an ``Ending``."""
    metrics: Mapping[str, float]
    """Latest value by name."""
    metric: tuple[str, int]
    """Name and version of the convention behind the scores."""
    test_counts_KK: Counts | None = field(default=None, compare=False)
    """Confusion matrix of all test patches, rows are targets; None where there is none."""
    test_patches: PatchCounts | None = field(default=None, compare=False)
    """Each of them by itself; None where they were not read or are not to be had."""
    environment: Mapping[str, str] = field(default_factory=dict, compare=False)
    """What it was computed with, by name: ``device``, ``version.torch``, ...; empty in old records."""

    def score(self, name: str) -> float | None:
        """Return a metric's value, or None where there is none or it is not a number."""
        value = self.metrics.get(name)
        return value if value is not None and math.isfinite(value) else None


def read_runs(
    tracking_uri: str, sweep: str, trials_folder: Path | None = None, with_patches: bool = False
) -> tuple[Run, ...]:
    """Return all trials of a sweep, oldest first, however many they are.

    Args:
        tracking_uri: the store that the sweep was recorded in.
        sweep: its name.
        trials_folder: ``HOME/<sweep>/trials``, where a trial's files need not be fetched from the record;
            None or a folder that is not there: they are fetched.
        with_patches: whether the confusion matrix of every test patch is wanted, for every complete
            confirmation.

    Raises:
        TrackingError: the store does not answer, or nothing of the sweep was ever recorded in it.
    """
    client = connect(tracking_uri, create=False)
    with talking_to(tracking_uri):
        experiment = find_experiment(client, sweep)
        if experiment is None:
            raise TrackingError(
                f"sweep {sweep!r}: expected an experiment of this name in the tracking store; got none - "
                f"run the sweep first, or check that this is the store it was recorded in"
            )
        found = [run for run in all_runs(client, experiment.experiment_id) if "fingerprint" in run.data.tags]
        runs = tuple(_run(client, run) for run in found)
        return tuple(_with_patches(client, runs, found, trials_folder)) if with_patches else runs


def _run(client: MlflowClient, run: MlflowRun) -> Run:
    tags = run.data.tags
    return Run(
        facts=facts_of(tags, run.data.params, _config(client, run)),
        state=tags[STATE],
        metrics=dict(run.data.metrics),
        metric=(tags[METRIC_NAME], int(tags[METRIC_VERSION])),
        test_counts_KK=counts_of(tags),
        environment=environment_tags_of(tags),
    )


def _with_patches(
    client: MlflowClient, runs: Iterable[Run], stored: Iterable[MlflowRun], trials_folder: Path | None
) -> Iterator[Run]:
    """Yield the runs, the complete confirmations among them with the matrices of their test patches.

    Those of old records have no tag with the matrix of all patches; it is made from these.
    """

    def completed(run: Run, run_id: str) -> Run:
        if run.facts.role != Role.CONFIRMATION or run.state != Ending.COMPLETE:
            return run
        patches = _patches_of(client, run, run_id, trials_folder)
        return replace(run, test_counts_KK=patches.pooled_KK, test_patches=patches) if patches else run

    with ThreadPoolExecutor(FETCHES) as pool:
        yield from pool.map(completed, runs, [run.info.run_id for run in stored])


def _patches_of(
    client: MlflowClient, run: Run, run_id: str, trials_folder: Path | None
) -> PatchCounts | None:
    """Return the matrices from the trial's own folder or, where they are not there or no good, the record."""
    miou = run.score("test/miou")
    if trials_folder is not None:
        folder = trials_folder / run.facts.strategy / run.facts.fingerprint
        if is_of_trial(folder, run.facts.fingerprint) and (patches := patches_in(folder, miou)):
            return patches
    there = {file.path for file in client.list_artifacts(run_id)}
    if CONFUSION_FILE not in there:
        logger.warning("%s: no %s in the record", run.facts.title, CONFUSION_FILE)
        return None
    with tempfile.TemporaryDirectory() as fetched:
        for name in there & {CONFUSION_FILE, RESULT_FILE}:
            client.download_artifacts(run_id, name, fetched)
        return patches_in(Path(fetched), miou)


def _config(client: MlflowClient, run: MlflowRun) -> Any:
    if TRIAL_CONFIG in run.data.tags:
        return json.loads(run.data.tags[TRIAL_CONFIG])
    return json.loads(Path(client.download_artifacts(run.info.run_id, CONFIG_FILE)).read_text())
