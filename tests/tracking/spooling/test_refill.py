from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from shapeft_tune.tracking import Ending, TrialEnd, TrialFacts
from shapeft_tune.tracking.connection import connect
from shapeft_tune.tracking.spooling.fact_lines import key_of
from shapeft_tune.tracking.spooling.refill import Point, Refiller

Trial = Callable[..., TrialFacts]


@pytest.fixture
def client(store: str) -> MlflowClient:
    return connect(store, create=True)


def opened(client: MlflowClient, folder: Path) -> Refiller:
    return Refiller.open(client, "demo", (folder / "artifacts").as_uri(), "", ("miou", 1))


def test_a_run_is_complete_that_ended_as_told_and_when_told(
    client: MlflowClient, trial: Trial, tmp_path: Path
) -> None:
    facts, key = trial(), key_of(trial())
    writer = opened(client, tmp_path)
    writer.start(facts, 1)
    assert not writer.is_complete(key, Ending.COMPLETE, 9)
    assert not writer.ended_after(key, 0)
    writer.end(facts, TrialEnd(Ending.COMPLETE), 9)
    for each in (writer, opened(client, tmp_path)):
        assert each.is_complete(key, Ending.COMPLETE, 9)
        assert not each.is_complete(key, Ending.COMPLETE, 8)
        assert not each.is_complete(key, Ending.FAILED, 9)
        assert (each.ended_after(key, 8), each.ended_after(key, 9)) == (True, False)
    writer.start(facts, 10)
    assert not writer.is_complete(key, Ending.COMPLETE, 9)
    assert not writer.ended_after(key, 8)


def test_points_that_are_there_are_not_added_again(
    client: MlflowClient, trial: Trial, tmp_path: Path
) -> None:
    points = [Point(step, {"val/miou": step / 100}, 100 + step) for step in (10, 20, 20, 30)]
    later = [Point(step, {"val/miou": step / 100}, 200 + step) for step in (20, 30, 40)]
    writer = opened(client, tmp_path)
    writer.fill(trial(), points)
    writer.fill(trial(), later)
    opened(client, tmp_path).fill(trial(), later)
    (run,) = client.search_runs(["1"], "tags.role = 'search'")
    history = client.get_metric_history(run.info.run_id, "val/miou")
    found = sorted((point.step, point.timestamp) for point in history)
    assert found == [(10, 110), (20, 120), (30, 130), (40, 240)]
