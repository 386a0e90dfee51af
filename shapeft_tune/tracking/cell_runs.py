"""The runs in MLflow that stand for cells: each is the parent of its trials, and where its summary hangs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from shapeft_tune.tracking.connection import all_runs
from shapeft_tune.tracking.facts import TrialFacts, cell_title
from shapeft_tune.tracking.wire import (
    CELL_KEY_TAGS,
    CELL_ROLE,
    PARENT,
    cell_axes_of,
    cell_key,
    cell_key_of,
    cell_params_of,
    cell_tags_of,
)

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient

CellKey = tuple[str, str, str]
"""Strategy, label fraction and number of dates, as their tags have them."""


@dataclass
class _CellRun:
    stored: Run
    """As it was when it was found or made."""
    running: bool
    is_described: bool = False
    """Whether this process has seen to it that nothing is missing of what never changes."""

    @property
    def run_id(self) -> str:
        return str(self.stored.info.run_id)


class CellRuns:
    """The cells' runs of one sweep, made when the first of their trials is told. Not for several threads."""

    def __init__(
        self, client: MlflowClient, experiment_id: str, sweep_run_id: str, runs: Iterable[Run]
    ) -> None:
        """Take over those that are among ``runs``, all of the experiment's."""
        self._client = client
        self._experiment_id = experiment_id
        self._sweep_run_id = sweep_run_id
        self._known = {
            cell_key(run.data.tags): _taken_over(run)
            for run in runs
            if run.data.tags.get("role") == CELL_ROLE
        }

    def of(self, facts: TrialFacts, now_ms: int) -> str:
        """Return the id of the run of a trial's cell, made now if there is none."""
        key = cell_key_of(facts)
        if key not in self._known:
            # Not known, yet perhaps made: a request may have arrived although its answer was lost.
            found = self._find(key)
            self._known[key] = _taken_over(found if found else self._made(facts, now_ms))
        cell = self._known[key]
        if not cell.is_described:
            self._describe(cell, facts, now_ms)
        return cell.run_id

    def reopen(self, facts: TrialFacts, now_ms: int) -> str:
        """Do as :meth:`of` does, and say in MLflow that the cell has work again."""
        run_id = self.of(facts, now_ms)
        cell = self._known[cell_key_of(facts)]
        if not cell.running:
            self._client.update_run(run_id, status="RUNNING")
            cell.running = True
        return run_id

    def close(self, status: str, unfinished: Iterable[CellKey], now_ms: int | None = None) -> None:
        """End all that run: the cells with ``unfinished`` trials with this status, the others well."""
        left = set(unfinished)
        for key, cell in self._known.items():
            if cell.running:
                self._client.set_terminated(cell.run_id, status if key in left else "FINISHED", now_ms)
                cell.running = False

    def _find(self, key: CellKey) -> Run | None:
        named = zip(CELL_KEY_TAGS, key, strict=True)
        query = " and ".join(
            [f"tags.role = '{CELL_ROLE}'", *(f"tags.{tag} = '{text}'" for tag, text in named)]
        )
        found = self._client.search_runs([self._experiment_id], query, max_results=1)
        return found[0] if found else None

    def _made(self, facts: TrialFacts, now_ms: int) -> Run:
        title = cell_title(facts.strategy, facts.label_fraction, facts.temporal_length)
        tags = cell_tags_of(facts) | {PARENT: self._sweep_run_id}
        return self._client.create_run(self._experiment_id, now_ms, tags, title)

    def _describe(self, cell: _CellRun, facts: TrialFacts, now_ms: int) -> None:
        """Write what is missing of what never changes."""
        from mlflow.entities import Metric, Param, RunTag

        there = cell.stored.data
        axes = [
            Metric(name, value, now_ms, 0)
            for name, value in cell_axes_of(facts).items()
            if name not in there.metrics
        ]
        words = [
            Param(name, text) for name, text in cell_params_of(facts).items() if name not in there.params
        ]
        tags = [RunTag(name, text) for name, text in cell_tags_of(facts).items() if name not in there.tags]
        if axes or words or tags:
            self._client.log_batch(cell.run_id, axes, words, tags)
        cell.is_described = True


def cell_runs(client: MlflowClient, experiment_id: str) -> dict[CellKey, Run]:
    """Return the runs of all cells of a sweep; keys are made by ``wire.cell_key``."""
    found = all_runs(client, experiment_id, f"tags.role = '{CELL_ROLE}'")
    return {cell_key(run.data.tags): run for run in found}


def _taken_over(run: Run) -> _CellRun:
    return _CellRun(run, running=run.info.status == "RUNNING")
