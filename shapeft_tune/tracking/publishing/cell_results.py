"""The results of cells, as metrics of the cells' runs and of the models that won them."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from shapeft_tune.config.protocol import Role
from shapeft_tune.tracking.cell_runs import CellKey, CellRuns, cell_runs
from shapeft_tune.tracking.facts import TrialFacts
from shapeft_tune.tracking.publishing.curves import RUN_COLOUR
from shapeft_tune.tracking.publishing.results import CellPublication, Winner
from shapeft_tune.tracking.publishing.winners import all_models, data_sets_of, keep_weights, keep_winner
from shapeft_tune.tracking.wire import storable

if TYPE_CHECKING:
    from mlflow.entities import LoggedModel, Run
    from mlflow.tracking import MlflowClient

logger = logging.getLogger(__name__)

SERVED = {"result/val_miou": "validation", "result/test_miou": "test", "result/test_miou_seed20": "test"}
"""The split that a score is of."""


def write_cells(
    client: MlflowClient,
    experiment_id: str,
    parent_id: str,
    sweep: str,
    cells: Sequence[CellPublication],
    now_ms: int,
) -> None:
    """Write what cells came to; what has not changed is not written again.

    Cells that nothing was tried for yet have no run, and get none here.
    """
    runs = _runs_of(client, experiment_id, parent_id, sweep, cells, now_ms)
    models = _models_if_known(client, experiment_id)
    without_weights = 0
    for cell in cells:
        run = runs.get(cell.key)
        if run is None:
            continue
        winner = cell.winner if models is not None else None
        model = keep_winner(client, models or (), run, winner) if winner else None
        _write_results(client, run, cell, model, now_ms)
        if model and winner:
            without_weights += not keep_weights(client, model, winner)
    if without_weights:
        logger.info("weights of %d winners are not in this home; the record is without them", without_weights)


def _models_if_known(client: MlflowClient, experiment_id: str) -> list[LoggedModel] | None:
    """Return all models of the experiment; None where the server is older than MLflow 3, which has them."""
    from mlflow.exceptions import MlflowException

    try:
        return list(all_models(client, experiment_id))
    except MlflowException as error:
        logger.warning("the store keeps no models; winners are left out: %s", error)
        return None


def _write_results(
    client: MlflowClient, run: Run, cell: CellPublication, model: LoggedModel | None, now_ms: int
) -> None:
    """Write what is new to the run or to its model: a report a day must not make a history of repeats."""
    from mlflow.entities import Metric, RunTag

    tags = [] if run.data.tags.get(RUN_COLOUR) == cell.colour else [RunTag(RUN_COLOUR, cell.colour)]
    metrics = storable(cell.metrics)
    of_model = {metric.key: metric.value for metric in (model.metrics or ())} if model else metrics
    new = {
        name: value
        for name, value in metrics.items()
        if not run.data.metrics.get(name) == of_model.get(name) == value
    }
    if not new and not tags:
        return
    data_sets = data_sets_of(client, run, cell.winner) if cell.winner and new else {}
    told = {name: data_sets.get(SERVED.get(name, "")) for name in new}
    points = [
        Metric(
            name,
            value,
            now_ms,
            0,
            model_id=model.model_id if model else None,
            dataset_name=data_set.name if (data_set := told[name]) else None,
            dataset_digest=data_set.digest if data_set else None,
        )
        for name, value in new.items()
    ]
    client.log_batch(run.info.run_id, points, tags=tags)


def _runs_of(
    client: MlflowClient,
    experiment_id: str,
    parent_id: str,
    sweep: str,
    cells: Sequence[CellPublication],
    now_ms: int,
) -> Mapping[CellKey, Run]:
    """Return the runs of the cells; in a record that is older than such runs, those with a winner get one."""
    runs = cell_runs(client, experiment_id)
    won = [(cell, cell.winner) for cell in cells if cell.winner and cell.key not in runs]
    if not won:
        return runs
    made = CellRuns(client, experiment_id, parent_id, ())
    for cell, winner in won:
        made.of(_facts_of(sweep, cell, winner), now_ms)
    made.close("FINISHED", (), now_ms)
    return cell_runs(client, experiment_id)


def _facts_of(sweep: str, cell: CellPublication, winner: Winner) -> TrialFacts:
    return TrialFacts(
        sweep=sweep,
        strategy=cell.strategy,
        label_fraction=cell.label_fraction,
        temporal_length=cell.temporal_length,
        role=Role.SEARCH,
        seed=int(winner.config["seed"]),
        fingerprint=winner.fingerprint,
        config=winner.config,
        sampled=winner.searched,
    )
