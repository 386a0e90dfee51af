"""The connection to Ray, with a Ray that is not there."""

from __future__ import annotations

from pathlib import Path

import pytest
import ray

from shapeft_tune.tune.cluster import cluster as module
from shapeft_tune.tune.cluster.cluster import ClusterOptions, cluster


def test_a_ray_that_was_started_ends_also_when_its_log_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr(module, "_connect", lambda options: said.append("connected"))
    monkeypatch.setattr(ray, "shutdown", lambda: said.append("shut down"))
    (tmp_path / "file").touch()
    with (
        pytest.raises(OSError, match="file"),
        cluster(ClusterOptions(cpus=1), tmp_path / "file" / "ray.log") as cluster_is_there,
    ):
        cluster_is_there()
    assert said == ["connected", "shut down"]
