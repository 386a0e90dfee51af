"""Writes facts about a sweep's trials into MLflow, each of them once, however often it is told them."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from shapeft_tune.config.protocol import Role
from shapeft_tune.scores import CONFUSION_FILE
from shapeft_tune.tracking.cell_runs import CellRuns
from shapeft_tune.tracking.confusion_picture import PICTURE_FILE, draw_confusion
from shapeft_tune.tracking.connection import all_runs, find_experiment
from shapeft_tune.tracking.data_sets import LABELS_FILE, data_parts, inputs_of, labels_in
from shapeft_tune.tracking.facts import Ending, Key, Place, SweepEnding, TrialEnd, TrialFacts
from shapeft_tune.tracking.sweep_run import open_sweep_run
from shapeft_tune.tracking.wire import (
    CONFIG_FILE,
    ENDED_BY,
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
    cell_key,
    counts_text,
    environment_tags_of,
    params_of,
    place_tags_of,
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
CURVES = ("train/", "val/", "speed/", "system/")
"""Metrics with these prefixes are curves over optimiser steps; all others are single numbers."""
MOST_METRICS = 800
"""In one request, together with everything else that belongs in it: MLflow takes 1000 entries."""


@dataclass
class _Known:
    """What is known of a run in the store, so that nothing is written twice."""

    run_id: str
    state: str
    parent_id: str
    """Of its cell; in a record of before, of the sweep."""
    cell: tuple[str, str, str]
    values: dict[str, float] = field(default_factory=dict)
    """Latest value of every metric."""
    has_data_sets: bool = False
    config_attached: bool = False
    """By this process."""
    place: Place | None = None
    """As this process was told last."""
    last_steps: dict[str, int] | None = None
    """Last step of every curve; None while nobody has looked."""
    ended_ms: int | None = None
    """When it ended, the last time that it did."""


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
        runs = list(all_runs(client, experiment_id))
        self._cells = CellRuns(client, experiment_id, parent_id, runs)
        self._known = {
            _key(run.data.tags): _known(run)
            for run in runs
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
        began_ms: int | None = None,
        *,
        reopen: bool = True,
    ) -> Self:
        """Find or make the sweep's experiment and its own run, which began then, by default now.

        With ``reopen`` the run is running again where it had ended.
        """
        experiment = find_experiment(client, sweep)
        if experiment:
            experiment_id = experiment.experiment_id
        else:
            tags = {NOTE: question} if question else None
            experiment_id = client.create_experiment(sweep, artifact_uri, tags)
        run_id = open_sweep_run(client, experiment_id, sweep, question, began_ms, reopen=reopen)
        return cls(client, experiment_id, run_id, metric)

    def has_ended(self, strategy: str, role: str, fingerprint: str) -> bool:
        """Return whether the trial's end is written down."""
        run = self._known.get((strategy, role, fingerprint))
        return run is not None and run.state != RUNNING

    def start(self, facts: TrialFacts, now_ms: int) -> None:
        """Make the trial's run, or go on with the one that is there."""
        run, tags = self._stored_run(facts), self._tags(facts, now_ms)
        if run is None:
            run = self._client.create_run(self._experiment_id, now_ms, tags, facts.title)
        elif run.data.tags[STATE] != RUNNING or run.info.status != "RUNNING":
            self._client.update_run(run.info.run_id, status="RUNNING")
            if FAILURE in run.data.tags:
                self._client.delete_tag(run.info.run_id, FAILURE)
        self._describe(run, facts, tags, now_ms)
        known = self._known[_key(tags)] = _known(run)
        known.state, known.parent_id = RUNNING, tags[PARENT]
        known.last_steps = self._last_steps(known)

    def began(self, facts: TrialFacts, place: Place, now_ms: int) -> None:
        """Note where a running trial got its slot."""
        run = self._run_of(facts, now_ms)
        if run.state == RUNNING and run.place != place:
            self._log(run.run_id, {}, now_ms, tags=place_tags_of(place))
            run.place = place

    def progress(self, facts: TrialFacts, step: int, metrics: Mapping[str, float], now_ms: int) -> None:
        """Add a point to each curve that does not reach this step yet.

        A trial that goes on from a checkpoint comes past some steps again; their points are there already.
        """
        run = self._run_of(facts, now_ms)
        reached = self._last_steps(run)
        new = {name: value for name, value in storable(metrics).items() if step > reached.get(name, -1)}
        self._log(run.run_id, new, now_ms, step=step)
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
        """Name the data that a trial opened and draw a confirmation's confusion matrix, before :meth:`end`.

        The matrix itself goes with the end. Nothing of this may hide an ending, so it is a write of its own.
        """
        run = self._run_of(facts, now_ms)
        labels = None if run.has_data_sets else labels_in(end.artifacts.get(LABELS_FILE))
        if labels:
            self._client.log_inputs(run.run_id, inputs_of(data_parts(facts, labels)))
            run.has_data_sets = True
        counts = end.artifacts.get(CONFUSION_FILE)
        if run.state != end.ending and counts and facts.role is Role.CONFIRMATION:
            with tempfile.TemporaryDirectory() as folder:
                picture = Path(folder) / PICTURE_FILE
                if draw_confusion(counts, picture, facts.title):
                    self._client.log_artifact(run.run_id, str(picture))

    def end(self, facts: TrialFacts, end: TrialEnd, now_ms: int) -> None:
        """Write down how the trial ended; the state comes last, and is there only when all else is."""
        run = self._run_of(facts, now_ms)
        if run.state == end.ending:
            self._adopt(run, facts, now_ms)
            return
        if run.state != RUNNING:  # it had ended otherwise, and nobody told that it was run again
            self.start(facts, now_ms)
            run = self._run_of(facts, now_ms)
        new = {name: value for name, value in storable(end.metrics).items() if run.values.get(name) != value}
        self._client.set_terminated(run.run_id, RUN_STATUS[end.ending], now_ms)
        self._log(run.run_id, new, now_ms, tags=_ending_tags(end))
        run.values.update(new)
        run.state, run.ended_ms = str(end.ending), now_ms

    def close(self, ending: SweepEnding, ended_by: str = "", now_ms: int | None = None) -> None:
        """End the runs of the cells and the sweep's own.

        Args:
            ending: how the sweep ended; cells that have all that was begun ended well.
            ended_by: what ended the sweep early although nothing went wrong, such as a used-up budget.
            now_ms: when; by default now.
        """
        unfinished = {run.cell for run in self._known.values() if run.state == RUNNING}
        self._cells.close(SWEEP_STATUS[ending], unfinished, now_ms)
        if ended_by:
            self._client.set_tag(self._parent_id, ENDED_BY, ended_by)
        self._client.set_terminated(self._parent_id, SWEEP_STATUS[ending], now_ms)

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

    def _tags(self, facts: TrialFacts, now_ms: int) -> dict[str, str]:
        """Return all tags of a trial that runs."""
        return tags_of(facts) | {
            PARENT: self._cells.reopen(facts, now_ms),
            METRIC_NAME: self._metric[0],
            METRIC_VERSION: str(self._metric[1]),
            STATE: RUNNING,
        }

    def _describe(self, run: Run, facts: TrialFacts, tags: Mapping[str, str], now_ms: int) -> None:
        """Write what never changes and the tags, unless they are there."""
        known = run.data
        self._log(
            run.info.run_id,
            {name: value for name, value in axes_of(facts).items() if name not in known.metrics},
            now_ms,
            params={name: text for name, text in params_of(facts).items() if name not in known.params},
            tags={name: text for name, text in tags.items() if known.tags.get(name) != text},
        )

    def _adopt(self, run: _Known, facts: TrialFacts, now_ms: int) -> None:
        """Put an ended trial of a record of before under its cell, and give it the tags that it lacks."""
        parent_id = self._cells.of(facts, now_ms)
        if run.parent_id != parent_id:
            self._log(run.run_id, {}, now_ms, tags=tags_of(facts) | {PARENT: parent_id})
            run.parent_id = parent_id

    def _last_steps(self, run: _Known) -> dict[str, int]:
        if run.last_steps is None:
            run.last_steps = {
                name: max(point.step for point in self._client.get_metric_history(run.run_id, name))
                for name in run.values
                if name.startswith(CURVES)
            }
        return run.last_steps

    def _log(
        self,
        run_id: str,
        metrics: Mapping[str, float],
        now_ms: int,
        *,
        step: int = 0,
        params: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Write all in one request, or metrics in more where they are very many; tags come last."""
        from mlflow.entities import Metric, Param, RunTag

        points = [Metric(name, value, now_ms, step) for name, value in metrics.items()]
        while len(points) > MOST_METRICS:
            self._client.log_batch(run_id, points[:MOST_METRICS])
            points = points[MOST_METRICS:]
        words = [Param(name, text) for name, text in (params or {}).items()]
        labels = [RunTag(name, text) for name, text in (tags or {}).items()]
        if points or words or labels:
            self._client.log_batch(run_id, points, words, labels)


def _ending_tags(end: TrialEnd) -> dict[str, str]:
    """Return the tags of an end. MLflow writes a request's tags after its metrics, in one transaction."""
    text = None if end.test_counts_KK is None else counts_text(end.test_counts_KK)
    failure = end.message[-LONGEST_MESSAGE:]
    found = environment_tags_of(end.environment) | ({TEST_COUNTS: text} if text else {})
    return found | ({FAILURE: failure} if failure else {}) | {STATE: str(end.ending)}


def _key(tags: Mapping[str, Any]) -> Key:
    return tags["strategy"], tags["role"], tags["fingerprint"]


def _known(run: Run) -> _Known:
    return _Known(
        run_id=run.info.run_id,
        state=run.data.tags[STATE],
        parent_id=run.data.tags.get(PARENT, ""),
        cell=cell_key(run.data.tags),
        values=dict(run.data.metrics),
        has_data_sets=bool(run.inputs and run.inputs.dataset_inputs),
        ended_ms=run.info.end_time,
    )
