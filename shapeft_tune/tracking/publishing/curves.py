"""Test mIoU over labels as curves: a run for each strategy and number of dates, which MLflow draws as a line.

MLflow's line charts draw the history of a metric within a run, so the results of several cells can only be
joined to a line by a run that holds them all.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from shapeft_tune.tracking.connection import all_runs
from shapeft_tune.tracking.publishing.results import Curve
from shapeft_tune.tracking.wire import PARENT

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

CURVE_ROLE = "curve"
"""Tag ``role`` of a run that is a line over several cells."""
RUN_COLOUR = "mlflow.runColor"
POINTS = "points"
"""Tag: test mIoU by step as JSON, which tells whether a curve has changed without a request for each."""
PARTS = (100, 10_000, 1_000_000, 100_000_000)
"""Of all labels, that a step may be. The last one keeps apart the shares of any data set there is."""
LISTED_BY = "result/listed_by"
"""Metric that only says where a run stands in MLflow's list: cells by their test mIoU, and curves, which are
first, by 1 more than their best. The legend of the line chart then begins with curves, those of all other
charts, which begin at the end of the list, with cells."""
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
        run = stored.get((curve.strategy, curve.temporal_length))
        if run is not None and _tags(curve, parent_id).items() <= run.data.tags.items():
            del stored[curve.strategy, curve.temporal_length]
        else:
            _make(client, experiment_id, parent_id, curve, now_ms)
    for run in stored.values():  # with other points, or of strategies or dates that the sweep no longer has
        client.delete_run(run.info.run_id)


def steps_of(points: Mapping[float, float]) -> dict[int, float]:
    """Return the points by MLflow's steps, which are whole numbers.

    They are per cent of the labels or, where one of these is not whole, hundredths of a per cent, and so on.
    """
    whole = (parts for parts in PARTS if all(_whole(parts * fraction) for fraction in points))
    parts = next(whole, PARTS[-1])
    return {round(parts * fraction): score for fraction, score in sorted(points.items())}


def _make(client: MlflowClient, experiment_id: str, parent_id: str, curve: Curve, now_ms: int) -> None:
    """Make a curve's run; its points are in a tag only once they are all written."""
    from mlflow.entities import Metric, Param, RunTag

    tags = _tags(curve, parent_id)
    points_tag = RunTag(POINTS, tags.pop(POINTS))
    run_id = str(client.create_run(experiment_id, now_ms, tags, curve.title).info.run_id)
    points = [
        Metric(name, value, now_ms, step)
        for (step, score), fraction in zip(steps_of(curve.points).items(), sorted(curve.points), strict=True)
        for name, value in ((OVER_LABELS, score), (LABEL_PERCENT, 100 * fraction))
    ]
    points.append(Metric(LISTED_BY, 1 + max(curve.points.values()), now_ms, 0))
    client.log_batch(run_id, points, [Param("strategy", curve.strategy)], [points_tag])
    client.set_terminated(run_id, "FINISHED", now_ms)


def _tags(curve: Curve, parent_id: str) -> dict[str, str]:
    return {
        "role": CURVE_ROLE,
        "strategy": curve.strategy,
        "temporal_length": str(curve.temporal_length),
        RUN_COLOUR: curve.colour,
        PARENT: parent_id,
        POINTS: json.dumps(steps_of(curve.points)),
    }


def _whole(value: float) -> bool:
    return abs(value - round(value)) < 1e-9
