"""Ready views of MLflow's experiment page: charts that compare cells, and a table of all trials in groups.

MLflow keeps a view that somebody saved in a tag of the experiment. Its content is not documented; this is
what MLflow 3.17 reads. A version that reads something else shows its usual page.
"""

from __future__ import annotations

import base64
import hashlib
import json
import logging
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shapeft_tune.tracking.connection import connect, talking_to
from shapeft_tune.tracking.publishing.curves import LABEL_PERCENT, LISTED_BY, OVER_LABELS
from shapeft_tune.tracking.wire import LONGEST_TAG, REFUSED_CHARACTERS

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

logger = logging.getLogger(__name__)

TAG = "mlflow.sharedViewState."
"""How the tags of views begin; the rest is the view's key, as in its address."""
COMPARISON, TRIALS = "comparison", "trials"
MOST_RUNS = 100
"""MLflow's page loads so many runs and draws no others, unless somebody asks for more."""

LABELS, DATES = "cell/label_fraction", "cell/temporal_length"
TEST_MIOU, HOURS = "result/test_miou", "result/device_hours"
WITHOUT_CHART = (
    LABEL_PERCENT,
    LISTED_BY,
    "result/test_miou_low",
    "result/test_miou_high",
    "result/test_miou_seed20",
    "result/val_miou",
    "result/trainable_parameters",
)
"""Metrics that get no chart of their own, which MLflow would otherwise add."""
UNDRAWN = {"isGenerated": True, "deleted": True}
RUN_NAME, CREATED = "attributes.`Run Name`", "runDateAndNestInfo"
"""Columns that every table has; MLflow's own widths cut off the names of runs."""
NO_TRIALS = "tags.role != 'search' and tags.role != 'confirmation' and tags.role != 'sweep'"
"""Filter that leaves cells and curves; MLflow knows no ``IN`` for tags."""
CURVES_ONLY = "tags.role = 'curve'"
TRIALS_ONLY = "tags.role != 'sweep' and tags.role != 'cell' and tags.role != 'curve'"


def address_of_view(experiment_id: str, key: str = COMPARISON) -> str:
    """Return the place of a view, to be put behind a server's address."""
    mode = "" if key == TRIALS else "&compareRunsMode=CHART"
    return f"#/experiments/{experiment_id}/runs?viewStateShareKey={key}{mode}&workflowType=machine_learning"


def ready_comparisons(tracking_uri: str) -> dict[str, str]:
    """Return where the ready comparison of each sweep in a store is, the youngest sweep first.

    Raises:
        TrackingError: the store does not answer.
    """
    client = connect(tracking_uri, create=False)
    with talking_to(tracking_uri):
        found = client.search_experiments(order_by=["creation_time DESC"])
        return {
            each.name: address_of_view(each.experiment_id) for each in found if TAG + COMPARISON in each.tags
        }


@dataclass(frozen=True)
class View:
    """A page of MLflow's with its filter, columns and charts."""

    key: str
    """In its address and its tag."""
    name: str
    state: Mapping[str, Any]


def views_of(cells: Sequence[str], curves: int) -> tuple[View, ...]:
    """Return the views of a sweep, that which a visitor wants first at the front.

    One page compares all cells, where MLflow draws so many runs. Of a larger sweep it has the curves of all
    strategies, and each strategy has a page of its own.

    Args:
        cells: the strategy of each cell.
        curves: how many there are.
    """
    strategies = list(dict.fromkeys(cells))
    table = View(TRIALS, "Trials by strategy and labels", trials())
    if len(cells) + curves <= MOST_RUNS:
        return (View(COMPARISON, "Comparison of the sweep", comparison(strategies)), table)
    alone = [
        View(
            f"{COMPARISON}-{number}",
            f"Comparison within {strategy}",
            comparison([strategy], f"{NO_TRIALS} and tags.strategy = '{strategy}'"),
        )
        for number, strategy in enumerate(strategies, 1)
    ]
    return (View(COMPARISON, "Curves of all strategies", comparison([], CURVES_ONLY)), *alone, table)


def save_views(client: MlflowClient, experiment_id: str, views: Iterable[View], now_ms: int) -> None:
    """Keep the views with the experiment; a store that refuses them loses nothing else."""
    from mlflow.exceptions import MlflowException

    tags = client.get_experiment(experiment_id).tags
    for view in views:
        stored = tags.get(TAG + view.key, "")
        text = view_text(view.name, view.state, _made_at(stored) or now_ms)
        if len(text) > LONGEST_TAG:
            logger.warning("MLflow's view %r is left out: it has %d characters", view.name, len(text))
        elif text != stored:
            try:
                client.set_experiment_tag(experiment_id, TAG + view.key, text)
            except MlflowException as error:
                logger.warning("the store does not take MLflow's view %r: %s", view.name, error)


def view_text(name: str, state: Mapping[str, Any], made_at_ms: int) -> str:
    """Return a view as MLflow's pages read it: an envelope in JSON around the packed state."""
    text = json.dumps(state, separators=(",", ":"))
    packed = "deflate;" + base64.b64encode(zlib.compress(text.encode(), 9)).decode()
    envelope = {"name": name, "createdAt": made_at_ms, "updatedAt": made_at_ms, "state": packed}
    return json.dumps(envelope, separators=(",", ":"))


def comparison(strategies: Sequence[str], search_filter: str = NO_TRIALS) -> dict[str, Any]:
    """Return the view that compares cells: all of them, then strategy by strategy, then their cost.

    Args:
        strategies: those that get maps; without any, only curves are drawn.
        search_filter: of the runs that are drawn. Every chart takes all of them, and leaves out those that
            lack its metrics everywhere but in its legend.
    """
    hidden = (LABELS, DATES, *WITHOUT_CHART)
    metrics = [_column("metrics", name) for name in (TEST_MIOU, LABELS, DATES)]
    sections = [_section("all", "All cells, by labels and dates")]
    charts = [_lines()]
    if strategies:
        charts = [
            _parallel(),
            *charts,
            *(chart for strategy in strategies for chart in _of_strategy(strategy)),
            *(_chart("BAR", "cells", metricKey=metric) for metric in (TEST_MIOU, HOURS)),
        ]
        sections += [
            *(_section(_place(strategy), f"{strategy}, by labels and dates") for strategy in strategies),
            _section("cells", "All cells: test mIoU and cost"),
        ]
    return {
        "searchFilter": search_filter,
        "orderByKey": _column("metrics", LISTED_BY),
        "orderByAsc": False,
        "selectedColumns": [*metrics, _column("tags", "strategy")],
        "runsHiddenMode": "SHOWALL",
        "hideEmptyCharts": True,
        "isAccordionReordered": True,
        "groupBy": None,
        "compareRunCharts": [
            *charts,
            *(_chart("BAR", "all", metricKey=metric) | UNDRAWN for metric in hidden),
        ],
        "compareRunSections": sections,
    }


def trials() -> dict[str, Any]:
    """Return the view of all trials as a table, grouped by strategy and label fraction."""
    metrics = ("test/miou", "best/val_miou", "cost/device_seconds", DATES)
    columns = [*(_column("metrics", name) for name in metrics), _column("tags", "role")]
    keys = [{"mode": "tag", "groupByData": tag} for tag in ("strategy", "label_fraction")]
    return {
        "searchFilter": TRIALS_ONLY,
        "orderByKey": _column("metrics", "best/val_miou"),
        "orderByAsc": False,
        "selectedColumns": columns,
        "columnOrder": [RUN_NAME, CREATED, *columns],
        "columnWidths": {RUN_NAME: 360, CREATED: 120, **dict.fromkeys(columns, 150)},
        "runsHiddenMode": "SHOWALL",
        "groupBy": {"aggregateFunction": "average", "groupByKeys": keys},
    }


def map_metric(strategy: str) -> str:
    """Return the metric with the test mIoU of this strategy alone: a contour is drawn of whatever has it."""
    return REFUSED_CHARACTERS.sub("", f"map/{strategy}")


def _parallel() -> dict[str, Any]:
    axes = [LABELS, DATES, TEST_MIOU]
    return _chart("PARALLEL", "all", selectedParams=["strategy"], selectedMetrics=axes)


def _lines() -> dict[str, Any]:
    return _chart(
        "LINE",
        "all",
        metricKey=OVER_LABELS,
        selectedMetricKeys=[OVER_LABELS],
        xAxisKey="metric",
        selectedXAxisMetricKey=LABEL_PERCENT,
        useGlobalXaxisKey=False,
        xAxisScaleType="linear",
        scaleType="linear",
        range={},
        lineSmoothness=0,
        useGlobalLineSmoothing=False,
        displayPoints=True,
        yAxisKey="metric",
        yAxisExpressions=[],
        ignoreOutliers=False,
    )


def _of_strategy(strategy: str) -> Iterator[dict[str, Any]]:
    metric = map_metric(strategy)
    axes = {"xaxis": LABELS, "yaxis": DATES, "zaxis": metric}
    yield _chart(
        "CONTOUR", _place(strategy), **{axis: {"key": key, "type": "METRIC"} for axis, key in axes.items()}
    )
    yield _chart("BAR", _place(strategy), metricKey=metric)


def _place(strategy: str) -> str:
    return f"strategy {strategy}"


def _chart(kind: str, section: str, **fields: Any) -> dict[str, Any]:
    text = json.dumps([kind, section, fields], sort_keys=True)
    fixed = {
        "uuid": hashlib.sha256(text.encode()).hexdigest()[:12],
        "type": kind,
        "metricSectionId": section,
        "runsCountToCompare": MOST_RUNS,
        "deleted": False,
        "isGenerated": False,
    }
    return fixed | fields


def _section(key: str, name: str) -> dict[str, Any]:
    return {
        "uuid": key,
        "name": name,
        "columns": 2,
        "display": True,
        "isReordered": True,
        "deleted": False,
        "isGenerated": False,
    }


def _column(kind: str, name: str) -> str:
    return f"{kind}.`{name}`"


def _made_at(text: str) -> int | None:
    """Return when a view was first made, so that writing it again changes nothing."""
    try:
        return int(json.loads(text)["createdAt"])
    except (ValueError, KeyError, TypeError):
        return None
