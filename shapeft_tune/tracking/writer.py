"""Writes facts about a sweep's trials into MLflow, each of them once, however often it is told them."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shapeft_tune.tracking.connection import all_runs, find_experiment
from shapeft_tune.tracking.facts import Ending, SweepEnding, TrialEnd, TrialFacts
from shapeft_tune.tracking.sweep_run import open_sweep_run
from shapeft_tune.tracking.wire import (
    CONFIG_FILE,
    FAILURE,
    LONGEST_MESSAGE,
    METRIC_NAME,
    METRIC_VERSION,
    NOTE,
    PARENT,
    RUNNING,
    STATE,
    TEST_COUNTS,
    axes_of,
    counts_text,
    params_of,
    storable,
    tags_of,
)

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient

RUN_STATUS = {Ending.COMPLETE: "FINISHED", Ending.PRUNED: "KILLED", Ending.FAILED: "FAILED"}
SWEEP_STATUS = {
    SweepEnding.FINISHED: "FINISHED",
    SweepEnding.STOPPED: "KILLED",
    SweepEnding.FAILED: "FAILED",
}
CURVES = ("train/", "val/")
"""Metrics with these prefixes are curves over optimiser steps; all others are single numbers."""

Key = tuple[str, str, str]
"""Strategy, role and fingerprint. Two strategies may arrive at the same experiment, and so may a search and
a confirmation; each has its own run."""


@dataclass
class _Known:
    """What is known of a run in the store, so that nothing is written twice."""

    run_id: str
    state: str
    values: dict[str, float] = field(default_factory=dict)
    """Latest value of every metric."""
    config_attached: bool = False
    """By this process."""
    last_steps: dict[str, int] | None = None
    """Last step of every curve; None while nobody has looked."""


class SweepWriter:
    """The runs of one sweep. Not for several threads, and only one process may write a sweep at a time.

    Every method may be called again after it failed or was interrupted: it then writes what is missing.
    """

    def __init__(
        self, client: MlflowClient, experiment_id: str, parent_id: str, metric: tuple[str, int]
    ) -> None:
        self._client = client
        self._experiment_id = experiment_id
        self._parent_id = parent_id
        self._metric = metric
        self._known = {
            _key(run.data.tags): _known(run)
            for run in all_runs(client, experiment_id)
            if "fingerprint" in run.data.tags  # people may put runs of their own beside the sweep's
        }

    @classmethod
    def open(
        cls,
        client: MlflowClient,
        sweep: str,
        artifact_uri: str | None,
        question: str,
        metric: tuple[str, int],
    ) -> SweepWriter:
        """Find or make the sweep's experiment and its own run."""
        experiment = find_experiment(client, sweep)
        if experiment:
            experiment_id = experiment.experiment_id
        else:
            tags = {NOTE: question} if question else None
            experiment_id = client.create_experiment(sweep, artifact_uri, tags)
        return cls(client, experiment_id, open_sweep_run(client, experiment_id, sweep, question), metric)

    def has_ended(self, strategy: str, role: str, fingerprint: str) -> bool:
        """Return whether the trial's end is written down."""
        run = self._known.get((strategy, role, fingerprint))
        return run is not None and run.state != RUNNING

    def start(self, facts: TrialFacts, now_ms: int) -> None:
        """Make the trial's run, or go on with the one that is there."""
        run = self._stored_run(facts)
        if run is None:
            tags = tags_of(facts) | {
                PARENT: self._parent_id,
                METRIC_NAME: self._metric[0],
                METRIC_VERSION: str(self._metric[1]),
                STATE: RUNNING,
            }
            run = self._client.create_run(self._experiment_id, now_ms, tags, facts.title)
        elif run.data.tags[STATE] != RUNNING or run.info.status != "RUNNING":
            self._client.update_run(run.info.run_id, status="RUNNING")
            self._client.set_tag(run.info.run_id, STATE, RUNNING)
            if FAILURE in run.data.tags:
                self._client.delete_tag(run.info.run_id, FAILURE)
        self._describe(run, facts, now_ms)
        known = self._known[_key(tags_of(facts))] = _known(run)
        known.state = RUNNING
        known.last_steps = self._last_steps(known)

    def progress(self, facts: TrialFacts, step: int, metrics: Mapping[str, float], now_ms: int) -> None:
        """Add a point to each curve that does not reach this step yet.

        A trial that goes on from a checkpoint comes past some steps again; their points are there already.
        """
        run = self._run_of(facts, now_ms)
        reached = self._last_steps(run)
        new = {name: value for name, value in storable(metrics).items() if step > reached.get(name, -1)}
        self._log(run.run_id, new, now_ms, step)
        run.values.update(new)
        reached.update(dict.fromkeys(new, step))

    def attach_config(self, facts: TrialFacts, now_ms: int) -> None:
        """Keep the trial's whole configuration as a file beside its open run."""
        run = self._run_of(facts, now_ms)
        if run.state == RUNNING and not run.config_attached:
            self._client.log_dict(run.run_id, dict(facts.config), CONFIG_FILE)
            run.config_attached = True

    def attach(self, facts: TrialFacts, ending: Ending, name: str, path: Path, now_ms: int) -> None:
        """Copy a file to a trial's run, to be called before :meth:`end` with the same ending."""
        run = self._run_of(facts, now_ms)
        if run.state == ending:
            return
        if path.name == name:
            self._client.log_artifact(run.run_id, str(path))
            return
        with tempfile.TemporaryDirectory() as folder:  # MLflow has no way to store a file under another name
            self._client.log_artifact(run.run_id, shutil.copy(path, Path(folder) / name))

    def keep_counts(self, facts: TrialFacts, end: TrialEnd, now_ms: int) -> None:
        """Keep the test folds' confusion matrix with a run, to be called before :meth:`end`."""
        text = None if end.test_counts_KK is None else counts_text(end.test_counts_KK)
        if text:
            run = self._run_of(facts, now_ms)
            if run.state != end.ending:
                self._client.set_tag(run.run_id, TEST_COUNTS, text)

    def end(self, facts: TrialFacts, end: TrialEnd, now_ms: int) -> None:
        """Write down how the trial ended; the state comes last, and is there only when all else is."""
        run = self._run_of(facts, now_ms)
        if run.state == end.ending:
            return
        if run.state != RUNNING:  # it had ended otherwise, and nobody told that it was run again
            self.start(facts, now_ms)
            run = self._run_of(facts, now_ms)
        new = {name: value for name, value in storable(end.metrics).items() if run.values.get(name) != value}
        self._log(run.run_id, new, now_ms)
        run.values.update(new)
        if end.message:
            self._client.set_tag(run.run_id, FAILURE, end.message[-LONGEST_MESSAGE:])
        self._client.set_terminated(run.run_id, RUN_STATUS[end.ending], now_ms)
        self._client.set_tag(run.run_id, STATE, str(end.ending))
        run.state = str(end.ending)

    def close(self, ending: SweepEnding) -> None:
        """End the sweep's own run."""
        self._client.set_terminated(self._parent_id, SWEEP_STATUS[ending])

    def _run_of(self, facts: TrialFacts, now_ms: int) -> _Known:
        """Return the trial's run, made now if its start was never told or never written."""
        key = _key(tags_of(facts))
        if key not in self._known:
            self.start(facts, now_ms)
        return self._known[key]

    def _stored_run(self, facts: TrialFacts) -> Run | None:
        known = self._known.get(_key(tags_of(facts)))
        if known:
            return self._client.get_run(known.run_id)
        # Not known, yet perhaps made: a request may have arrived although its answer was lost.
        query = " and ".join(
            f"tags.{name} = '{tags_of(facts)[name]}'" for name in ("strategy", "role", "fingerprint")
        )
        found = self._client.search_runs([self._experiment_id], query, max_results=1)
        return found[0] if found else None

    def _describe(self, run: Run, facts: TrialFacts, now_ms: int) -> None:
        """Write what never changes, unless it is there."""
        from mlflow.entities import Param

        missing = {name: text for name, text in params_of(facts).items() if name not in run.data.params}
        if missing:
            self._client.log_batch(run.info.run_id, params=[Param(*item) for item in missing.items()])
        axes = axes_of(facts)
        if axes.keys() - run.data.metrics.keys():
            self._log(run.info.run_id, axes, now_ms)

    def _last_steps(self, run: _Known) -> dict[str, int]:
        if run.last_steps is None:
            run.last_steps = {
                name: max(point.step for point in self._client.get_metric_history(run.run_id, name))
                for name in run.values
                if name.startswith(CURVES)
            }
        return run.last_steps

    def _log(self, run_id: str, metrics: Mapping[str, float], now_ms: int, step: int = 0) -> None:
        from mlflow.entities import Metric

        if metrics:
            points = [Metric(name, value, now_ms, step) for name, value in metrics.items()]
            self._client.log_batch(run_id, metrics=points)


def _key(tags: Mapping[str, Any]) -> Key:
    return tags["strategy"], tags["role"], tags["fingerprint"]


def _known(run: Run) -> _Known:
    return _Known(run.info.run_id, run.data.tags[STATE], dict(run.data.metrics))
