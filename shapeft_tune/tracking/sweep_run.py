"""The run in MLflow that stands for a whole sweep: the parent of its cells, and where its report hangs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shapeft_tune.tracking.wire import ENDED_BY, NOTE, SWEEP_ROLE

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient


def sweep_run_id(client: MlflowClient, experiment_id: str) -> str | None:
    """Return the id of the sweep's own run, if there is one."""
    run = _sweep_run(client, experiment_id)
    return str(run.info.run_id) if run else None


def open_sweep_run(
    client: MlflowClient,
    experiment_id: str,
    sweep: str,
    question: str,
    began_ms: int | None = None,
    *,
    reopen: bool = True,
) -> str:
    """Return the id of the sweep's own run; made on the first call, found and running again on later ones.

    Without ``reopen`` one that has ended is left as it is.
    """
    run = _sweep_run(client, experiment_id)
    if run is None:
        tags = {"role": SWEEP_ROLE, "sweep": sweep} | ({NOTE: question} if question else {})
        return str(client.create_run(experiment_id, began_ms, tags, sweep).info.run_id)
    if not reopen:
        return str(run.info.run_id)
    client.update_run(run.info.run_id, status="RUNNING")
    if ENDED_BY in run.data.tags:  # of an earlier call, with a smaller budget
        client.delete_tag(run.info.run_id, ENDED_BY)
    return str(run.info.run_id)


def _sweep_run(client: MlflowClient, experiment_id: str) -> Run | None:
    found = client.search_runs([experiment_id], f"tags.role = '{SWEEP_ROLE}'", max_results=1)
    return found[0] if found else None
