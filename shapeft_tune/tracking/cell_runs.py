"""The runs in MLflow that stand for cells: each is the parent of its trials, and where its summary hangs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from shapeft_tune.tracking.connection import all_runs
from shapeft_tune.tracking.facts import TrialFacts
from shapeft_tune.tracking.wire import (
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
    run_id: str
    running: bool


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
            cell_key(run.data.tags): _CellRun(run.info.run_id, run.info.status == "RUNNING")
            for run in runs
            if run.data.tags.get("role") == CELL_ROLE
        }

    def of(self, facts: TrialFacts, now_ms: int) -> str:
        """Return the id of the run of a trial's cell, made now if there is none."""
        key = cell_key_of(facts)
        if key not in self._known:
            # Not known, yet perhaps made: a request may have arrived although its answer was lost.
            run_id = cell_run_id(self._client, self._experiment_id, *_plain(facts))
            self._known[key] = _CellRun(run_id or self._made(facts, now_ms), running=True)
        return self._known[key].run_id

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

    def _made(self, facts: TrialFacts, now_ms: int) -> str:
        from mlflow.entities import Metric, Param

        title = f"{facts.strategy} labels={facts.label_fraction:g} dates={facts.temporal_length}"
        tags = cell_tags_of(facts) | {PARENT: self._sweep_run_id}
        run_id = str(self._client.create_run(self._experiment_id, now_ms, tags, title).info.run_id)
        axes = [Metric(name, value, now_ms, 0) for name, value in cell_axes_of(facts).items()]
        params = [Param(name, text) for name, text in cell_params_of(facts).items()]
        self._client.log_batch(run_id, axes, params)
        return run_id


def cell_run_ids(client: MlflowClient, experiment_id: str) -> dict[CellKey, str]:
    """Return the ids of all cells' runs of a sweep; keys are made by ``wire.cell_key``."""
    found = all_runs(client, experiment_id, f"tags.role = '{CELL_ROLE}'")
    return {cell_key(run.data.tags): str(run.info.run_id) for run in found}


def cell_run_id(
    client: MlflowClient, experiment_id: str, strategy: str, label_fraction: float, temporal_length: int
) -> str | None:
    """Return the id of one cell's run, if there is one."""
    query = (
        f"tags.role = '{CELL_ROLE}' and tags.strategy = '{strategy}'"
        f" and tags.label_fraction = '{float(label_fraction)!r}'"
        f" and tags.temporal_length = '{temporal_length}'"
    )
    found = client.search_runs([experiment_id], query, max_results=1)
    return str(found[0].info.run_id) if found else None


def _plain(facts: TrialFacts) -> tuple[str, float, int]:
    return facts.strategy, facts.label_fraction, facts.temporal_length
