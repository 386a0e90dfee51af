"""A real MLflow store on SQLite, made once (its tables take seconds) and copied for every test."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from shapeft_tune.config import SweepConfig
from shapeft_tune.config.protocol import Role
from shapeft_tune.tracking import TrialFacts
from shapeft_tune.tracking.connection import connect
from tests.object_store import _object_store as _object_store
from tests.object_store import object_store as object_store
from tests.postgres import postgres as postgres
from tests.tracking.mlflow_server import Gate, MlflowServer

SWEEP = SweepConfig.model_validate(
    {
        "name": "demo",
        "base": {"data": {"dataset": "sample"}, "training": {"optimiser": "adamw"}},
        "settings": {"label_fractions": [0.1], "temporal_lengths": [6]},
        "strategies": {"utae": {"config": {"model": "utae"}}, "utae_again": {"config": {"model": "utae"}}},
        "search": {"training.optimiser.lr": {"log_uniform": [1e-4, 1e-2]}},
    }
)


@pytest.fixture(autouse=True)
def no_telemetry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.setenv("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("store") / "mlflow.db"
    connect(f"sqlite:///{file}", create=True)
    return file


@pytest.fixture
def store(empty_store: Path, tmp_path: Path) -> str:
    """Return the address of an empty store of this test's own."""
    return f"sqlite:///{shutil.copy(empty_store, tmp_path / 'mlflow.db')}"


@pytest.fixture(scope="session")
def _mlflow_server(empty_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    folder = tmp_path_factory.mktemp("server")
    database = shutil.copy(empty_store, folder / "mlflow.db")
    server = MlflowServer(f"sqlite:///{database}", folder / "artifacts")
    server.start()
    yield server
    server.stop()


@pytest.fixture
def server(_mlflow_server: MlflowServer, empty_store: Path) -> Iterator[Gate]:
    """Return a server that is away and can be started and stopped at once; its database is empty."""
    served = _mlflow_server.database.removeprefix("sqlite:///")
    with closing(sqlite3.connect(empty_store)) as empty, closing(sqlite3.connect(served)) as database:
        empty.backup(database)
    gate = Gate(_mlflow_server)
    yield gate
    gate.stop()


def facts(
    lr: float = 1e-3,
    role: Role = Role.SEARCH,
    seed: int = 0,
    strategy: str = "utae",
    config: dict[str, Any] | None = None,
) -> TrialFacts:
    """Return the facts of one trial of ``SWEEP``; ``config`` replaces sections of its configuration."""
    cell = next(cell for cell in SWEEP.cells if cell.strategy == strategy)
    sampled = {"training.optimiser.lr": lr}
    trial = cell.trial(sampled, seed)
    return TrialFacts(
        sweep=SWEEP.name,
        strategy=strategy,
        label_fraction=cell.label_fraction,
        temporal_length=cell.temporal_length,
        role=role,
        seed=seed,
        fingerprint=trial.fingerprint(),
        config=trial.canonical() | (config or {}),
        sampled=sampled,
    )


@pytest.fixture
def trial() -> Callable[..., TrialFacts]:
    return facts
