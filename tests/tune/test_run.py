"""Starting a sweep and ending it, without a cluster."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from shapeft_tune.config.places import Places
from shapeft_tune.errors import UserError
from shapeft_tune.tune import run as module
from shapeft_tune.tune.cluster.cluster import ClusterOptions
from shapeft_tune.tune.driver import Driver
from shapeft_tune.tune.run import RunOptions, run_sweep
from tests.tune.small import small


def test_a_first_signal_is_a_wish_also_where_a_used_up_budget_has_stopped_the_trials(tmp_path: Path) -> None:
    stop = tmp_path / "stop"
    with module._stop_on_signals(stop):
        stop.touch()  # by the driver
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_what_a_driver_keeps_in_memory_is_written_when_its_cluster_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise UserError("no cluster")

    @contextmanager
    def no_cluster(*arguments: Any) -> Iterator[Any]:
        yield fail

    closed: list[Driver] = []
    monkeypatch.setattr(module, "_cluster_for", no_cluster)
    monkeypatch.setattr(Driver, "close", lambda driver: closed.append(driver))
    options = RunOptions(f"sqlite:///{tmp_path / 'mlflow.db'}", ClusterOptions(cpus=1))
    with pytest.raises(UserError, match="no cluster"):
        run_sweep(small(), Places(tmp_path), options, lambda event, ledger: None)
    assert len(closed) == 1
