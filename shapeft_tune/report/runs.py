"""Reading a sweep's trials back from the record."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shapeft_tune.errors import TrackingError
from shapeft_tune.tracking.connection import all_runs, connect, find_experiment, talking_to
from shapeft_tune.tracking.facts import TrialFacts
from shapeft_tune.tracking.wire import CONFIG_FILE, METRIC_NAME, METRIC_VERSION, STATE, TRIAL_CONFIG, facts_of

if TYPE_CHECKING:
    from mlflow.entities import Run as MlflowRun
    from mlflow.tracking import MlflowClient


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

    def score(self, name: str) -> float | None:
        """Return a metric's value, or None where there is none or it is not a number."""
        value = self.metrics.get(name)
        return value if value is not None and math.isfinite(value) else None


def read_runs(tracking_uri: str, sweep: str) -> tuple[Run, ...]:
    """Return all trials of a sweep, oldest first, however many they are.

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
        found = all_runs(client, experiment.experiment_id)
        return tuple(_run(client, run) for run in found if "fingerprint" in run.data.tags)


def _run(client: MlflowClient, run: MlflowRun) -> Run:
    tags = run.data.tags
    return Run(
        facts=facts_of(tags, run.data.params, _config(client, run)),
        state=tags[STATE],
        metrics=dict(run.data.metrics),
        metric=(tags[METRIC_NAME], int(tags[METRIC_VERSION])),
    )


def _config(client: MlflowClient, run: MlflowRun) -> Any:
    if TRIAL_CONFIG in run.data.tags:
        return json.loads(run.data.tags[TRIAL_CONFIG])
    return json.loads(Path(client.download_artifacts(run.info.run_id, CONFIG_FILE)).read_text())
