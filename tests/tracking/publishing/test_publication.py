"""Results in the record: once each, and again only where they have changed."""

from __future__ import annotations

import base64
import json
import logging
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from mlflow.entities import LoggedModel, Run
from mlflow.tracking import MlflowClient

from shapeft_tune.errors import TrackingError
from shapeft_tune.tracking import TrialFacts
from shapeft_tune.tracking.connection import connect
from shapeft_tune.tracking.publishing.publication import fitting, publish
from shapeft_tune.tracking.publishing.results import CellPublication, Curve, SweepPublication, Winner
from shapeft_tune.tracking.publishing.views import TAG, comparison, ready_comparisons, save_views
from shapeft_tune.tracking.wire import LONGEST_TAG, NOTE
from shapeft_tune.tracking.writer import SweepWriter

NOW = 1_700_000_000_000
TEST = "result/test_miou"


@pytest.fixture
def recorded(store: str, tmp_path: Path, trial: Callable[..., TrialFacts]) -> MlflowClient:
    """Return a client of a store that holds a sweep with two search trials of one cell."""
    client = connect(store, create=False)
    writer = SweepWriter.open(client, "demo", f"file://{tmp_path / 'artifacts'}", "Why?", ("miou", 1))
    for lr in (1e-3, 2e-3):
        writer.start(trial(lr), NOW)
    return client


def publication(facts: TrialFacts, checkpoint: Path | None = None, **metrics: float) -> SweepPublication:
    """Return the results of the trial's cell, won by the trial."""
    winner = Winner(facts.fingerprint, dict(facts.config), {"training.optimiser.lr": "0.001"}, checkpoint)
    named = {f"result/{name}": value for name, value in metrics.items()}
    cell = CellPublication("utae", 0.1, 6, named, "#0072b2", winner)
    return SweepPublication("demo", "The note.", (cell,))


def cells(client: MlflowClient) -> list[Run]:
    return list(client.search_runs(["1"], "tags.role = 'cell'"))


def models(client: MlflowClient) -> dict[str, LoggedModel]:
    return {model.tags["fingerprint"]: model for model in client.search_logged_models(["1"])}


def test_a_report_that_is_published_again_adds_nothing(
    store: str, recorded: MlflowClient, trial: Callable[..., TrialFacts], tmp_path: Path
) -> None:
    (tmp_path / "best.pt").write_bytes(b"weights")
    told = publication(trial(), tmp_path / "best.pt", test_miou=0.5, val_miou=0.6)
    publish(store, told)
    tags = recorded.get_experiment("1").tags
    publish(store, told)
    (cell,) = cells(recorded)
    assert cell.data.metrics[TEST] == 0.5
    assert len(recorded.get_metric_history(cell.info.run_id, TEST)) == 1
    assert len(models(recorded)) == 1
    assert recorded.get_experiment("1").tags == tags


def test_a_changed_number_is_written_once_and_the_others_are_left(
    store: str, recorded: MlflowClient, trial: Callable[..., TrialFacts]
) -> None:
    publish(store, publication(trial(), test_miou=0.5, val_miou=0.6))
    publish(store, publication(trial(), test_miou=0.55, val_miou=0.6))
    (cell,) = cells(recorded)
    history = recorded.get_metric_history(cell.info.run_id, TEST)
    assert [point.value for point in history] == [0.5, 0.55]
    assert len(recorded.get_metric_history(cell.info.run_id, "result/val_miou")) == 1


def test_a_cell_without_a_run_gets_one_under_the_sweep(
    store: str, recorded: MlflowClient, trial: Callable[..., TrialFacts]
) -> None:
    told = publication(trial(), test_miou=0.5)
    other = replace(told.cells[0], strategy="new", winner=None)
    publish(store, replace(told, cells=(*told.cells, other)))
    (run,) = [run for run in cells(recorded) if run.data.tags["strategy"] == "new"]
    sweep_run = recorded.get_run(run.data.tags["mlflow.parentRunId"])
    assert sweep_run.data.tags["role"] == "sweep"
    assert run.data.metrics["cell/temporal_length"] == 6
    assert len(cells(recorded)) == 2


def test_a_winner_is_a_model_of_its_trial_with_the_cells_scores_and_its_weights(
    store: str, recorded: MlflowClient, trial: Callable[..., TrialFacts], tmp_path: Path
) -> None:
    (tmp_path / "best.pt").write_bytes(b"weights")
    publish(store, publication(trial(), tmp_path / "best.pt", test_miou=0.5))
    (model,) = models(recorded).values()
    source = recorded.get_run(str(model.source_run_id))
    assert source.data.tags["fingerprint"] == trial().fingerprint
    assert model.status == "READY"
    assert {metric.key: metric.value for metric in model.metrics or ()} == {TEST: 0.5}
    assert model.params["training.optimiser.lr"] == "0.001"
    kept = {file.path for file in recorded.list_logged_model_artifacts(model.model_id)}
    assert kept == {"best.pt", "config.json"}
    (tmp_path / "best.pt").unlink()  # as the sweep replaces it: another file of the same name
    (tmp_path / "best.pt").write_bytes(b"others")
    assert (Path(model.artifact_location.removeprefix("file://")) / "best.pt").read_bytes() == b"weights"


def test_a_new_winner_supersedes_the_old_one_and_an_old_one_can_come_back(
    store: str, recorded: MlflowClient, trial: Callable[..., TrialFacts]
) -> None:
    first, second = trial(1e-3), trial(2e-3)
    superseded = []
    for winner in (first, second, first):
        publish(store, publication(winner, test_miou=0.5))
        superseded.append({name: model.tags.get("superseded") for name, model in models(recorded).items()})
    assert superseded == [
        {first.fingerprint: None},
        {first.fingerprint: second.fingerprint, second.fingerprint: None},
        {first.fingerprint: None, second.fingerprint: first.fingerprint},
    ]


def test_weights_that_are_not_here_are_told_of_and_kept_when_they_come(
    store: str,
    recorded: MlflowClient,
    trial: Callable[..., TrialFacts],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    told = publication(trial(), tmp_path / "best.pt", test_miou=0.5)
    with caplog.at_level(logging.INFO, "shapeft_tune"):
        publish(store, told)
    assert "weights of 1 winners are not in this home" in caplog.text
    assert [model.status for model in models(recorded).values()] == ["PENDING"]
    (tmp_path / "best.pt").write_bytes(b"weights")
    publish(store, told)
    assert [model.status for model in models(recorded).values()] == ["READY"]


def curves(client: MlflowClient) -> dict[str, list[tuple[int, float]]]:
    return {
        str(run.info.run_name): sorted(
            (point.step, point.value)
            for point in client.get_metric_history(run.info.run_id, "over_labels/test_miou")
        )
        for run in client.search_runs(["1"], "tags.role = 'curve'")
    }


def test_a_curve_has_one_point_for_each_label_fraction_also_after_they_change(
    store: str, recorded: MlflowClient, trial: Callable[..., TrialFacts]
) -> None:
    told = publication(trial(), test_miou=0.5)
    for last in (0.4, 0.4, 0.6):
        curve = Curve("utae", 6, {0.01: 0.2, 1.0: last}, "#0072b2")
        publish(store, replace(told, curves=(curve,)))
        assert curves(recorded) == {"utae, 6 dates": [(1, 0.2), (100, last)]}
    publish(store, told)
    assert curves(recorded) == {}


def test_a_curve_of_less_than_a_per_cent_keeps_its_points_apart(
    store: str, recorded: MlflowClient, trial: Callable[..., TrialFacts]
) -> None:
    curve = Curve("utae", 1, {0.001: 0.1, 0.004: 0.2}, "#0072b2")
    publish(store, replace(publication(trial()), curves=(curve,)))
    assert curves(recorded) == {"utae, 1 date": [(10, 0.1), (40, 0.2)]}


def test_the_view_is_kept_as_mlflow_packs_it_and_found_again(
    store: str, recorded: MlflowClient, trial: Callable[..., TrialFacts]
) -> None:
    assert ready_comparisons(store) == {}
    publish(store, publication(trial(), test_miou=0.5))
    envelope = json.loads(recorded.get_experiment("1").tags[f"{TAG}comparison"])
    packed = envelope["state"].removeprefix("deflate;")
    state: dict[str, Any] = json.loads(zlib.decompress(base64.b64decode(packed)))
    assert state == comparison(["utae"])
    kinds = [chart["type"] for chart in state["compareRunCharts"] if not chart["deleted"]]
    assert kinds == ["PARALLEL", "LINE", "CONTOUR", "BAR", "BAR", "BAR"]
    assert ready_comparisons(store).keys() == {"demo"}
    assert "/experiments/1/runs?viewStateShareKey=comparison" in ready_comparisons(store)["demo"]


def test_a_view_that_would_be_cut_off_is_left_out(
    recorded: MlflowClient, caplog: pytest.LogCaptureFixture
) -> None:
    save_views(recorded, "1", [f"strategy {number}" for number in range(200)], NOW)
    tags = recorded.get_experiment("1").tags
    assert f"{TAG}comparison" not in tags
    assert f"{TAG}trials" in tags
    assert "is left out" in caplog.text


def test_the_note_stands_at_the_experiment_and_at_the_sweeps_run(
    store: str, recorded: MlflowClient, trial: Callable[..., TrialFacts], tmp_path: Path
) -> None:
    page = tmp_path / "report.html"
    page.write_text("page")
    told = publication(trial(), test_miou=0.5)
    publish(store, replace(told, files={page: "report"}, page="report/report.html"))
    (run,) = recorded.search_runs(["1"], "tags.role = 'sweep'")
    note = run.data.tags[NOTE]
    assert note == recorded.get_experiment("1").tags[NOTE]
    assert note.endswith("The note.")
    assert f"#/experiments/1/runs/{run.info.run_id}/artifacts/report/report.html" in note
    assert [file.path for file in recorded.list_artifacts(run.info.run_id, "report")] == [
        "report/report.html"
    ]


def test_a_note_that_is_too_long_ends_with_a_whole_line_and_says_so() -> None:
    lines = "\n".join(f"line {number:04}" for number in range(2000))
    note = fitting(lines, "before\n")
    assert len(note) <= LONGEST_TAG
    kept, rest = note.removeprefix("before\n").split("\n\n(")
    assert lines.startswith(f"{kept}\n")
    assert rest.startswith("Shortened")


def test_results_of_a_sweep_that_nobody_recorded_are_refused(
    store: str, trial: Callable[..., TrialFacts]
) -> None:
    with pytest.raises(TrackingError, match="expected a record of it; got none"):
        publish(store, publication(trial()))
