"""The winner of a cell as a model in MLflow: its weights, what made it, and how good it is."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from urllib.request import url2pathname

from shapeft_tune.config.protocol import Role
from shapeft_tune.tracking.data_sets import CONTEXT
from shapeft_tune.tracking.facts import cell_title
from shapeft_tune.tracking.publishing.results import Winner
from shapeft_tune.tracking.wire import CELL_KEY_TAGS, CONFIG_FILE

if TYPE_CHECKING:
    from mlflow.entities import Dataset, LoggedModel, Run
    from mlflow.tracking import MlflowClient

WINNER_ROLE = "winner"
FINGERPRINT = "fingerprint"
CELL_OF = "cell"
"""Tag of a model: id of the run of the cell that it won."""
SUPERSEDED = "superseded"
"""Tag of a model that was a cell's winner once: the fingerprint of the one that is now."""


def keep_winner(
    client: MlflowClient, models: Iterable[LoggedModel], cell: Run, winner: Winner
) -> LoggedModel:
    """Return a cell's winner as a model, made now if it is a new one; earlier ones are marked as superseded.

    Args:
        client: of the store.
        models: all of the experiment.
        cell: the cell's run.
        winner: what won.
    """
    of_cell = {
        model.tags[FINGERPRINT]: model for model in models if model.tags.get(CELL_OF) == cell.info.run_id
    }
    model = of_cell.pop(winner.fingerprint, None) or _made(client, cell, winner)
    for other in of_cell.values():
        if other.tags.get(SUPERSEDED) != winner.fingerprint:
            client.set_logged_model_tags(other.model_id, {SUPERSEDED: winner.fingerprint})
    if SUPERSEDED in model.tags:
        client.delete_logged_model_tag(model.model_id, SUPERSEDED)
    return model


def all_models(client: MlflowClient, experiment_id: str) -> Iterator[LoggedModel]:
    """Yield every model of an experiment."""
    token: str | None = None
    while True:
        page = client.search_logged_models([experiment_id], page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def keep_weights(client: MlflowClient, model: LoggedModel, winner: Winner) -> bool:
    """Put the weights and the configuration with the model, unless they are there.

    Returns:
        Whether they are; otherwise they are not on this machine, and the model stays pending.
    """
    if model.status == "READY":
        return True
    if winner.checkpoint is None or not winner.checkpoint.is_file():
        return False
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / CONFIG_FILE
        config.write_text(json.dumps(dict(winner.config), indent=2, sort_keys=True), encoding="utf-8")
        client.log_model_artifact(model.model_id, str(config))
    if not _linked(winner.checkpoint, model.artifact_location):
        client.log_model_artifact(model.model_id, str(winner.checkpoint))
    client.finalize_logged_model(model.model_id, "READY")
    return True


def data_sets_of(client: MlflowClient, cell: Run, winner: Winner) -> dict[str, Dataset]:
    """Return what a winner and one of its repeats were scored on, if recorded: ``validation``, ``test``."""
    trial = _trial_of(client, cell, winner)
    if trial is None:
        return {}
    runs = [trial]
    if configuration := trial.data.tags.get("configuration"):
        query = f"tags.role = '{Role.CONFIRMATION}' and tags.configuration = '{configuration}'"
        runs += client.search_runs([cell.info.experiment_id], query, max_results=1)
    inputs = [each for run in runs if run.inputs for each in run.inputs.dataset_inputs]
    return {tag.value: each.dataset for each in inputs for tag in each.tags if tag.key == CONTEXT}


def _made(client: MlflowClient, cell: Run, winner: Winner) -> LoggedModel:
    from mlflow.entities import LoggedModelOutput

    tags = {name: cell.data.tags[name] for name in CELL_KEY_TAGS}
    trial = _trial_of(client, cell, winner)
    title = cell_title(tags["strategy"], float(tags["label_fraction"]), int(tags["temporal_length"]))
    model = client.create_logged_model(
        cell.info.experiment_id,
        name=f"{title} #{winner.fingerprint[:6]}".replace(".", ","),  # MLflow allows no point in it
        source_run_id=(trial or cell).info.run_id,
        tags=tags | {"role": WINNER_ROLE, CELL_OF: cell.info.run_id, FINGERPRINT: winner.fingerprint},
        params={**tags, **winner.searched},
        model_type="segmentation",
    )
    for run in filter(None, (trial, cell)):
        client.log_outputs(run.info.run_id, [LoggedModelOutput(model.model_id, 0)])
    return model


def _trial_of(client: MlflowClient, cell: Run, winner: Winner) -> Run | None:
    query = (
        f"tags.role = '{Role.SEARCH}' and tags.strategy = '{cell.data.tags['strategy']}'"
        f" and tags.fingerprint = '{winner.fingerprint}'"
    )
    found = client.search_runs([cell.info.experiment_id], query, max_results=1)
    return found[0] if found else None


def _linked(checkpoint: Path, location: str) -> bool:
    """Give the weights a second name in the artifacts where that takes no disk: in the same file system.

    Checkpoints are replaced as a whole and never written into, so a second name keeps what it was made for.
    """
    parts = urlsplit(location)
    if parts.scheme not in ("", "file") or parts.netloc:
        return False
    folder = Path(url2pathname(parts.path))
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / checkpoint.name).unlink(missing_ok=True)
        os.link(checkpoint, folder / checkpoint.name)
        return True
    return False
