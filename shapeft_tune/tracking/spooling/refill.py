"""A sweep's writer for many facts at a time: whole curves in few requests, and what a complete run lacks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from shapeft_tune.scores import CONFUSION_FILE
from shapeft_tune.tracking.confusion_picture import PICTURE_FILE
from shapeft_tune.tracking.facts import Ending, Key, SweepEnding, TrialEnd, TrialFacts
from shapeft_tune.tracking.spooling.fact_lines import key_of
from shapeft_tune.tracking.wire import CONFIG_FILE, ENDED_BY, PARENT, RUNNING, storable, tags_of
from shapeft_tune.tracking.writer import MOST_METRICS, SweepWriter

if TYPE_CHECKING:
    from mlflow.entities import Metric
    from mlflow.tracking import MlflowClient


@dataclass(frozen=True)
class Point:
    """What a trial told after a validation."""

    step: int
    metrics: Mapping[str, float]
    time_ms: int


class Refiller(SweepWriter):
    """Writes what a :class:`SweepWriter` writes, and brings runs up to date whose story is known in full."""

    def __init__(
        self, client: MlflowClient, experiment_id: str, parent_id: str, metric: tuple[str, int]
    ) -> None:
        super().__init__(client, experiment_id, parent_id, metric)
        self._files: dict[Key, set[str]] = {}
        """Names of the artifacts of runs that are looked at again."""

    @property
    def place(self) -> tuple[str, str]:
        """The ids of the experiment and of the sweep's own run: what the record is known by in its store."""
        return self._experiment_id, self._parent_id

    def is_complete(self, key: Key, ending: Ending, time_ms: int) -> bool:
        """Return whether a trial's run ended like this at this time: then all before is written, too."""
        return self.has_ended_as(key, ending) and self._known[key].ended_ms == time_ms

    def has_ended_as(self, key: Key, ending: Ending) -> bool:
        """Return whether a trial's run ended like this."""
        return key in self._known and self._known[key].state == str(ending)

    def ended_after(self, key: Key, time_ms: int) -> bool:
        """Return whether a trial's run has ended, and after this time."""
        return self.has_ended(*key) and (self._known[key].ended_ms or 0) > time_ms

    def fill(self, facts: TrialFacts, points: Sequence[Point]) -> None:
        """Add those of a trial's points that its curves do not have; of points at one step the first counts.

        A curve goes on after its last step, as it does for a trial that runs. After :meth:`look_again` gaps
        in it are filled, too.
        """
        run = self._run_of(facts, points[0].time_ms)
        reached = self._last_steps(run)
        stored = self._stored_steps(run.run_id, points) if key_of(facts) in self._files else None
        new: dict[tuple[str, int], Metric] = {}
        for metric in (metric for point in points for metric in _metrics_of(point)):
            there = (
                metric.step <= reached.get(metric.key, -1)
                if stored is None
                else metric.step in stored[metric.key]
            )
            if not there:
                new.setdefault((metric.key, metric.step), metric)
        for part in _batched(new.values(), MOST_METRICS):
            self._client.log_batch(run.run_id, part)
            for metric in part:
                if metric.step > reached.get(metric.key, -1):
                    reached[metric.key], run.values[metric.key] = metric.step, metric.value

    def look_again(self, facts: TrialFacts, now_ms: int) -> None:
        """Take a complete run for one that still runs, without touching it, so that what it lacks is written.

        To be called before its points and its end are told again.
        """
        run = self._run_of(facts, now_ms)
        stored = self._client.get_run(run.run_id)
        self._describe(stored, facts, tags_of(facts) | {PARENT: self._cells.of(facts, now_ms)}, now_ms)
        names = {file.path for file in self._client.list_artifacts(run.run_id)}
        self._files[key_of(facts)] = names
        run.config_attached = CONFIG_FILE in names
        run.state = RUNNING

    def attach(self, facts: TrialFacts, ending: Ending, name: str, path: Path, now_ms: int) -> None:
        """Copy a file to a trial's run, unless :meth:`look_again` found it there."""
        if name not in self._files.get(key_of(facts), ()):
            super().attach(facts, ending, name, path, now_ms)

    def keep_counts(self, facts: TrialFacts, end: TrialEnd, now_ms: int) -> None:
        """Name the data and draw the confusion matrix, unless :meth:`look_again` found its picture there."""
        if PICTURE_FILE in self._files.get(key_of(facts), ()):
            others = {name: path for name, path in end.artifacts.items() if name != CONFUSION_FILE}
            end = replace(end, artifacts=others)
        super().keep_counts(facts, end, now_ms)

    def end(self, facts: TrialFacts, end: TrialEnd, now_ms: int) -> None:
        """Write down how a trial ended."""
        super().end(facts, end, now_ms)
        self._files.pop(key_of(facts), None)

    def close_again(self, ending: SweepEnding, ended_by: str, now_ms: int) -> None:
        """End the sweep's own run as a driver told then, unless it ended later, from another home."""
        run = self._client.get_run(self._parent_id)
        if run.info.status != "RUNNING" and (run.info.end_time or 0) > now_ms:
            return
        if ENDED_BY in run.data.tags and not ended_by:
            self._client.delete_tag(self._parent_id, ENDED_BY)
        self.close(ending, ended_by, now_ms)

    def _stored_steps(self, run_id: str, points: Sequence[Point]) -> dict[str, set[int]]:
        names = {metric.key for point in points for metric in _metrics_of(point)}
        return {
            name: {point.step for point in self._client.get_metric_history(run_id, name)} for name in names
        }


def _metrics_of(point: Point) -> list[Metric]:
    from mlflow.entities import Metric

    return [Metric(name, value, point.time_ms, point.step) for name, value in storable(point.metrics).items()]


def _batched(metrics: Iterable[Metric], size: int) -> Iterator[list[Metric]]:
    """Yield lists of up to this many."""
    left = iter(metrics)
    while part := list(islice(left, size)):
        yield part
