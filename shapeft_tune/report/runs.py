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
from shapeft_tune.report.counts import PatchCounts
from shapeft_tune.scores import CONFUSION_FILE, Counts, pooled_test_counts
from shapeft_tune.tracking.connection import all_runs, connect, find_experiment, talking_to
from shapeft_tune.tracking.facts import Ending, TrialFacts
from shapeft_tune.tracking.wire import (
    CONFIG_FILE,
    METRIC_NAME,
    METRIC_VERSION,
    STATE,
    TRIAL_CONFIG,
    counts_of,
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
    """Those of each of them; None where they were not read or are not to be had."""

    def score(self, name: str) -> float | None:
        """Return a metric's value, or None where there is none or it is not a number."""
        value = self.metrics.get(name)
        return value if value is not None and math.isfinite(value) else None


def read_runs(tracking_uri: str, sweep: str, *, with_counts: bool = False) -> tuple[Run, ...]:
    """Return all trials of a sweep, oldest first, however many they are.

    Args:
        tracking_uri: the store that the sweep was recorded in.
        sweep: its name.
        with_counts: whether the confusion matrix of every complete confirmation is wanted, also where it
            has to be fetched as a file.

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
        return tuple(_with_counts(client, runs, found)) if with_counts else runs


def _run(client: MlflowClient, run: MlflowRun) -> Run:
    tags = run.data.tags
    return Run(
        facts=facts_of(tags, run.data.params, _config(client, run)),
        state=tags[STATE],
        metrics=dict(run.data.metrics),
        metric=(tags[METRIC_NAME], int(tags[METRIC_VERSION])),
        test_counts_KK=counts_of(tags),
    )


def _with_counts(client: MlflowClient, runs: Iterable[Run], stored: Iterable[MlflowRun]) -> Iterator[Run]:
    """Yield the runs, those that lack a confusion matrix with the one of their file.

    The tag with it is younger than the file, and is left out where there are many classes.
    """

    def completed(run: Run, run_id: str) -> Run:
        confirmed = run.facts.role == Role.CONFIRMATION and run.state == Ending.COMPLETE
        if run.test_counts_KK is not None or not confirmed:
            return run
        return replace(run, test_counts_KK=_fetched_counts(client, run_id))

    with ThreadPoolExecutor(FETCHES) as pool:
        yield from pool.map(completed, runs, [run.info.run_id for run in stored])


def _fetched_counts(client: MlflowClient, run_id: str) -> Counts | None:
    if not any(file.path == CONFUSION_FILE for file in client.list_artifacts(run_id)):
        logger.warning("run %s: no %s in the record; its seed is left out", run_id, CONFUSION_FILE)
        return None
    with tempfile.TemporaryDirectory() as folder:
        return pooled_test_counts(Path(client.download_artifacts(run_id, CONFUSION_FILE, folder)))


def _config(client: MlflowClient, run: MlflowRun) -> Any:
    if TRIAL_CONFIG in run.data.tags:
        return json.loads(run.data.tags[TRIAL_CONFIG])
    return json.loads(Path(client.download_artifacts(run.info.run_id, CONFIG_FILE)).read_text())
