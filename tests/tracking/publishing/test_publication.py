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
from shapeft_tune.tracking.publishing.curves import steps_of
from shapeft_tune.tracking.publishing.publication import fitting, publish
from shapeft_tune.tracking.publishing.results import CellPublication, Curve, SweepPublication, Winner
from shapeft_tune.tracking.publishing.views import TAG, View, ready_comparisons, save_views, views_of
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


def test_a_cell_with_a_winner_but_no_run_gets_one_as_a_writer_makes_it(
    store: str, recorded: MlflowClient, trial: Callable[..., TrialFacts]
) -> None:
    (made,) = cells(recorded)
    recorded.delete_run(made.info.run_id)  # a record of before has none
    publish(store, publication(trial(), test_miou=0.5))
    (run,) = cells(recorded)
    colour = {"mlflow.runColor": "#0072b2"}
    assert run.data.tags | {"mlflow.user": ""} == made.data.tags | colour | {"mlflow.user": ""}
    assert run.data.params == made.data.params
    assert run.data.metrics == made.data.metrics | {TEST: 0.5}
    assert (run.info.run_name, run.info.status) == (made.info.run_name, "FINISHED")


def test_a_cell_that_nothing_was_tried_for_gets_no_run_and_a_later_trial_a_whole_one(
    store: str, recorded: MlflowClient, trial: Callable[..., TrialFacts], tmp_path: Path
) -> None:
    told = publication(trial(), test_miou=0.5)
    other = replace(told.cells[0], strategy="utae_again", metrics={"result/device_hours": 0.0}, winner=None)
    publish(store, replace(told, cells=(*told.cells, other)))
    assert [run.data.tags["strategy"] for run in cells(recorded)] == ["utae"]
    writer = SweepWriter.open(recorded, "demo", None, "Why?", ("miou", 1))
    writer.start(trial(strategy="utae_again"), NOW)
    (run,) = [run for run in cells(recorded) if run.data.tags["strategy"] == "utae_again"]
    assert run.info.status == "RUNNING"
    assert run.data.tags["encoder"] == "utae"


def test_a_report_leaves_running_cells_running(
    store: str, recorded: MlflowClient, trial: Callable[..., TrialFacts]
) -> None:
    publish(store, publication(trial(), test_miou=0.5))
    assert [run.info.status for run in cells(recorded)] == ["RUNNING"]


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


@pytest.mark.parametrize(
    ("fractions", "steps"),
    [((0.005, 0.01), [50, 100]), ((0.00001, 0.00002, 1.0), [10, 20, 1_000_000]), ((1 / 3, 0.3334), None)],
)
def test_two_label_fractions_never_share_a_step(
    fractions: tuple[float, ...], steps: list[int] | None
) -> None:
    found = steps_of(dict.fromkeys(fractions, 0.5))
    assert len(found) == len(fractions)
    assert steps is None or list(found) == steps


def test_the_axis_under_a_curve_is_per_cent_whatever_its_steps_are(
    store: str, recorded: MlflowClient, trial: Callable[..., TrialFacts]
) -> None:
    curve = Curve("utae", 1, {0.005: 0.1, 0.01: 0.2}, "#0072b2")
    publish(store, replace(publication(trial()), curves=(curve,)))
    (run,) = recorded.search_runs(["1"], "tags.role = 'curve'")
    axis = recorded.get_metric_history(run.info.run_id, "over_labels/label_percent")
    assert {point.step: point.value for point in axis} == {50: 0.5, 100: 1.0}
    assert (
        next(iter(comparison_of(recorded, "LINE")))["selectedXAxisMetricKey"] == "over_labels/label_percent"
    )


def test_a_curve_that_was_broken_off_is_made_again(
    store: str, recorded: MlflowClient, trial: Callable[..., TrialFacts]
) -> None:
    told = publication(trial(), test_miou=0.5)
    told = replace(told, curves=(Curve("utae", 6, {0.01: 0.2, 1.0: 0.4}, "#0072b2"),))
    tags = {"role": "curve", "strategy": "utae", "temporal_length": "6"}
    recorded.create_run("1", NOW, tags, "utae, 6 dates")
    publish(store, told)
    assert curves(recorded) == {"utae, 6 dates": [(1, 0.2), (100, 0.4)]}


def unpacked(client: MlflowClient, key: str = "comparison") -> dict[str, Any]:
    """Return a view as MLflow's page reads it: JSON around "deflate;" and base64 of zlib's format."""
    envelope = json.loads(client.get_experiment("1").tags[f"mlflow.sharedViewState.{key}"])
    kind, packed = envelope["state"].split(";")
    assert kind == "deflate"
    state: dict[str, Any] = json.loads(zlib.decompress(base64.b64decode(packed, validate=True)))
    return state


def comparison_of(client: MlflowClient, kind: str) -> list[dict[str, Any]]:
    charts = unpacked(client)["compareRunCharts"]
    return [chart for chart in charts if chart["type"] == kind and not chart["deleted"]]


def metric(key: str) -> dict[str, str]:
    return {"key": key, "type": "METRIC"}


def test_the_comparison_is_kept_as_mlflow_reads_it_and_found_again(
    store: str, recorded: MlflowClient, trial: Callable[..., TrialFacts]
) -> None:
    assert ready_comparisons(store) == {}
    publish(store, publication(trial(), test_miou=0.5))
    (parallel,), (lines,), (contour,) = (
        comparison_of(recorded, kind) for kind in ("PARALLEL", "LINE", "CONTOUR")
    )
    assert parallel["selectedParams"] == ["strategy"]
    assert parallel["selectedMetrics"] == ["cell/label_fraction", "cell/temporal_length", "result/test_miou"]
    assert lines["selectedMetricKeys"] == ["over_labels/test_miou"]
    assert contour["xaxis"] == metric("cell/label_fraction")
    assert contour["yaxis"] == metric("cell/temporal_length")
    assert contour["zaxis"] == metric("map/utae")
    bars = [chart["metricKey"] for chart in comparison_of(recorded, "BAR")]
    assert bars == ["map/utae", "result/test_miou", "result/device_hours"]
    assert ready_comparisons(store).keys() == {"demo"}
    assert "/experiments/1/runs?viewStateShareKey=comparison" in ready_comparisons(store)["demo"]


def test_the_comparison_finds_cells_and_curves_alone_and_the_table_trials_alone(
    store: str, recorded: MlflowClient, trial: Callable[..., TrialFacts]
) -> None:
    told = publication(trial(), test_miou=0.5)
    publish(store, replace(told, curves=(Curve("utae", 6, {0.01: 0.2, 1.0: 0.4}, "#0072b2"),)))
    found = {
        key: {
            run.data.tags["role"]
            for run in recorded.search_runs(["1"], unpacked(recorded, key)["searchFilter"])
        }
        for key in ("comparison", "trials")
    }
    assert found == {"comparison": {"cell", "curve"}, "trials": {"search"}}


def test_the_list_begins_with_the_curves_and_goes_on_with_the_best_cell(
    store: str, recorded: MlflowClient, trial: Callable[..., TrialFacts]
) -> None:
    told = publication(trial(), test_miou=0.5, listed_by=0.5)
    publish(store, replace(told, curves=(Curve("utae", 6, {0.01: 0.2, 1.0: 0.4}, "#0072b2"),)))
    state = unpacked(recorded)
    order = f"{state['orderByKey']} {'ASC' if state['orderByAsc'] else 'DESC'}"
    listed = recorded.search_runs(["1"], state["searchFilter"], order_by=[order])
    assert [run.data.tags["role"] for run in listed] == ["curve", "cell"]


def test_a_sweep_of_more_cells_than_mlflow_draws_has_a_page_for_each_strategy(recorded: MlflowClient) -> None:
    few = {view.key for view in views_of(["a"] * 60 + ["b"] * 30, curves=10)}
    assert few == {"comparison", "trials"}
    views = views_of(["a"] * 60 + ["b"] * 30, curves=11)
    assert [view.key for view in views] == ["comparison", "comparison-1", "comparison-2", "trials"]
    save_views(recorded, "1", views, NOW)
    kinds = [chart["type"] for chart in unpacked(recorded)["compareRunCharts"] if not chart["deleted"]]
    assert kinds == ["LINE"]  # all of its runs are curves
    assert unpacked(recorded)["searchFilter"] == "tags.role = 'curve'"
    assert unpacked(recorded, "comparison-2")["searchFilter"].endswith("and tags.strategy = 'b'")
    maps = [chart for chart in unpacked(recorded, "comparison-2")["compareRunCharts"] if "zaxis" in chart]
    assert [chart["zaxis"]["key"] for chart in maps] == ["map/b"]


def test_the_note_leads_to_the_page_of_every_strategy_of_a_large_sweep(
    store: str, recorded: MlflowClient, trial: Callable[..., TrialFacts]
) -> None:
    told = publication(trial(), test_miou=0.5)
    many = [
        replace(told.cells[0], strategy=name, temporal_length=dates, winner=None)
        for name in ("frozen", "finetune")
        for dates in range(60)
    ]
    publish(store, replace(told, cells=tuple(many)))
    links = recorded.get_experiment("1").tags[NOTE].splitlines()[0]
    assert "[Comparison within finetune](#/experiments/1/runs?viewStateShareKey=comparison-2&" in links


def test_a_view_that_would_be_cut_off_is_left_out(
    recorded: MlflowClient, caplog: pytest.LogCaptureFixture
) -> None:
    long = View("long", "Too long", {"names": [f"{number**9}" for number in range(2000)]})
    save_views(recorded, "1", [long, *views_of(["utae"], 0)], NOW)
    tags = recorded.get_experiment("1").tags
    assert f"{TAG}long" not in tags
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
