"""What a report adds to the record, so that MLflow's own pages show results and not only trials."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from shapeft_tune.errors import TrackingError
from shapeft_tune.tracking.connection import connect, find_experiment, talking_to
from shapeft_tune.tracking.publishing.cell_results import write_cells
from shapeft_tune.tracking.publishing.curves import write_curves
from shapeft_tune.tracking.publishing.results import SweepPublication
from shapeft_tune.tracking.publishing.views import TRIALS, View, address_of_view, save_views, views_of
from shapeft_tune.tracking.sweep_run import sweep_run_id
from shapeft_tune.tracking.wire import LONGEST_TAG, NOTE

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

SHORTENED = "\n\n(Shortened: the whole of it is in the report.)"


def publish(tracking_uri: str, publication: SweepPublication) -> None:
    """Write results into the record: numbers of cells, winners, curves, files, a note and a ready comparison.

    May be called again at any time: what has not changed is not written again.

    Raises:
        TrackingError: the store does not answer or holds no such sweep.
    """
    client = connect(tracking_uri, create=False)
    with talking_to(tracking_uri):
        experiment = find_experiment(client, publication.sweep)
        parent_id = experiment and sweep_run_id(client, experiment.experiment_id)
        if not experiment or not parent_id:
            raise TrackingError(
                f"sweep {publication.sweep!r}: expected a record of it; got none - run the sweep first"
            )
        experiment_id, now_ms = str(experiment.experiment_id), int(time.time() * 1000)
        for path, folder in publication.files.items():
            client.log_artifact(parent_id, str(path), folder)
        write_cells(client, experiment_id, parent_id, publication.sweep, publication.cells, now_ms)
        write_curves(client, experiment_id, parent_id, publication.curves, now_ms)
        views = views_of([cell.strategy for cell in publication.cells], len(publication.curves))
        save_views(client, experiment_id, views, now_ms)
        _write_note(client, experiment_id, parent_id, publication, views)


def fitting(note: str, before: str = "") -> str:
    """Return a note that MLflow keeps whole: one that is too long loses lines at its end, and says so."""
    if len(before) + len(note) <= LONGEST_TAG:
        return before + note
    room = LONGEST_TAG - len(before) - len(SHORTENED)
    return before + note[: note.rfind("\n", 0, room)] + SHORTENED


def _write_note(
    client: MlflowClient,
    experiment_id: str,
    parent_id: str,
    publication: SweepPublication,
    views: Sequence[View],
) -> None:
    """Write the note above the experiment and above the sweep's own run, with ways to more."""
    first, *others = [view for view in views if view.key != TRIALS]
    links = [
        f"[Open the comparison]({address_of_view(experiment_id, first.key)})",
        *(f"[{view.name}]({address_of_view(experiment_id, view.key)})" for view in others),
    ]
    if publication.page:
        place = f"#/experiments/{experiment_id}/runs/{parent_id}/artifacts/{publication.page}"
        links.append(f"[read the report]({place})")
    note = fitting(publication.note, f"**{' · '.join(links)}**\n\n")
    if client.get_experiment(experiment_id).tags.get(NOTE) != note:
        client.set_experiment_tag(experiment_id, NOTE, note)
    if client.get_run(parent_id).data.tags.get(NOTE) != note:
        client.set_tag(parent_id, NOTE, note)
