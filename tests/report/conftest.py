"""A sweep of two strategies in two settings, and trials of it as the record would give them back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from shapeft_tune.config import SweepConfig
from shapeft_tune.config.protocol import Role
from shapeft_tune.report import Run
from shapeft_tune.scores import Counts
from shapeft_tune.tracking import TrialFacts


@pytest.fixture(autouse=True)
def no_telemetry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")


@pytest.fixture(scope="session")
def sweep() -> SweepConfig:
    return SweepConfig.model_validate(
        {
            "name": "demo",
            "question": "Do more dates help?",
            "base": {"data": {"dataset": "sample"}, "training": {"optimiser": "adamw"}},
            "settings": {"label_fractions": [0.1], "temporal_lengths": [6, 1]},
            "strategies": {
                "utae": {"config": {"model": "utae"}},
                "croma": {
                    "config": {
                        "model": {"name": "croma_optical", "tuning": {"mode": "frozen", "weights": "none"}}
                    }
                },
            },
            "search": {"training.optimiser.lr": {"log_uniform": [1e-4, 1e-2]}},
            "budget": {"trials": 3, "confirmation_seeds": 2},
        }
    )


@pytest.fixture(scope="session")
def rotating(sweep: SweepConfig) -> SweepConfig:
    """Return the same sweep with five folds and three seeds."""
    fields = {name: getattr(sweep, name) for name in type(sweep).model_fields}
    return SweepConfig.model_validate(
        fields | {"folds": "rotate", "budget": {"trials": 3, "confirmation_seeds": 3}}
    )


@pytest.fixture(scope="session")
def run(sweep: SweepConfig) -> Callable[..., Run]:
    """Return a maker of trials: ``run(lr, seed, dates=1, state="complete", **{"test/miou": 0.4})``.

    Seed 0 makes a search trial, any other a confirmation, with folds moved on by ``rotation``; metrics'
    slashes are written as double underscores.
    """

    def make(
        lr: float,
        seed: int = 0,
        strategy: str = "utae",
        dates: int = 6,
        state: str = "complete",
        metric: tuple[str, int] = ("miou", 1),
        rotation: int = 0,
        counts_KK: Counts | None = None,
        **metrics: float,
    ) -> Run:
        cell = next(
            cell for cell in sweep.cells if (cell.strategy, cell.temporal_length) == (strategy, dates)
        )
        sampled = {"training.optimiser.lr": lr}
        trial = cell.trial(sampled, seed, rotation)
        role = Role.CONFIRMATION if seed else Role.SEARCH
        config: dict[str, Any] = trial.canonical()
        facts = TrialFacts(sweep.name, strategy, 0.1, dates, role, seed, trial.fingerprint(), config, sampled)
        values = {name.replace("__", "/"): value for name, value in metrics.items()}
        return Run(facts, state, values, metric, counts_KK)

    return make
