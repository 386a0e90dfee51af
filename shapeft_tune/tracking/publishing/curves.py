"""Test mIoU over labels as curves: a run for each strategy and number of dates, which MLflow draws as a line.

MLflow's line charts draw the history of a metric within a run, so the results of several cells can only be
joined to a line by a run that holds them all.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from shapeft_tune.tracking.connection import all_runs
from shapeft_tune.tracking.publishing.results import Curve
from shapeft_tune.tracking.wire import PARENT

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient

CURVE_ROLE = "curve"
"""Tag ``role`` of a run that is a line over several cells."""
RUN_COLOUR = "mlflow.runColor"
OVER_LABELS, LABEL_PERCENT = "over_labels/test_miou", "over_labels/label_percent"


def write_curves(
    client: MlflowClient, experiment_id: str, parent_id: str, curves: Iterable[Curve], now_ms: int
) -> None:
    """Make the curves' runs; one whose points have changed is replaced, for MLflow can take back no point."""
    stored = {
        (run.data.tags["strategy"], int(run.data.tags["temporal_length"])): run
        for run in all_runs(client, experiment_id, f"tags.role = '{CURVE_ROLE}'")
    }
    for curve in curves:
        run = stored.pop((curve.strategy, curve.temporal_length), None)
        if run is None or _points_of(client, run) != steps_of(curve.points):
            _make(client, experiment_id, parent_id, curve, now_ms)
            if run is not None:
                client.delete_run(run.info.run_id)
    for run in stored.values():  # of strategies or dates that the sweep no longer has
        client.delete_run(run.info.run_id)


def steps_of(points: Mapping[float, float]) -> dict[int, float]:
    """Return the points by MLflow's steps, which are whole numbers.

    They are per cent of the labels or, where one of these is not whole, hundredths of a per cent.
    """
    whole = all(_whole(100 * fraction) for fraction in points)
    return {round((100 if whole else 10_000) * fraction): score for fraction, score in sorted(points.items())}


def _make(client: MlflowClient, experiment_id: str, parent_id: str, curve: Curve, now_ms: int) -> None:
    from mlflow.entities import Metric, Param

    tags = {
        "role": CURVE_ROLE,
        "strategy": curve.strategy,
        "temporal_length": str(curve.temporal_length),
        RUN_COLOUR: curve.colour,
        PARENT: parent_id,
    }
    run_id = client.create_run(experiment_id, now_ms, tags, curve.title).info.run_id
    points = [
        Metric(name, value, now_ms, step)
        for (step, score), fraction in zip(steps_of(curve.points).items(), sorted(curve.points), strict=True)
        for name, value in ((OVER_LABELS, score), (LABEL_PERCENT, 100 * fraction))
    ]
    client.log_batch(run_id, points, [Param("strategy", curve.strategy)])
    client.set_terminated(run_id, "FINISHED", now_ms)


def _points_of(client: MlflowClient, run: Run) -> dict[int, float]:
    return {point.step: point.value for point in client.get_metric_history(run.info.run_id, OVER_LABELS)}


def _whole(value: float) -> bool:
    return abs(value - round(value)) < 1e-9
