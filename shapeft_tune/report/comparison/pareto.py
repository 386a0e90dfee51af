"""What is best for its cost: the trials of a cell than which no other is both as good and as cheap."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from shapeft_tune.config.protocol import Role
from shapeft_tune.report.runs import Run
from shapeft_tune.tracking.facts import Ending

COST = "cost/device_seconds"
"""Metric of what a trial took: seconds times its GPUs, or times its CPU cores where it has no GPU."""


@dataclass(frozen=True)
class Point:
    """One trial on the front of its cell."""

    val_miou: float
    """Its best validation mIoU, a fraction of 1."""
    device_seconds: float
    config: Mapping[str, Any]
    """The searched values, by dotted path."""


def front_of(runs: Iterable[Run]) -> tuple[Point, ...]:
    """Return the Pareto front of a cell's complete search trials, the cheapest first, so the best last.

    Of trials that are the same in both, the oldest stands for all.
    """
    tried = [
        Point(score, cost, run.facts.sampled)
        for run in runs
        if run.facts.role == Role.SEARCH
        and run.state == Ending.COMPLETE
        and (score := run.score("best/val_miou")) is not None
        and (cost := run.score(COST)) is not None
    ]
    front: list[Point] = []
    for point in sorted(tried, key=lambda each: (each.device_seconds, -each.val_miou)):
        if not front or point.val_miou > front[-1].val_miou:
            front.append(point)
    return tuple(front)


def published(front: Iterable[Point]) -> list[dict[str, Any]]:
    """Return a front as JSON holds it."""
    return [
        {"val_miou": point.val_miou, "device_seconds": point.device_seconds, "config": dict(point.config)}
        for point in front
    ]


def in_words(config: Mapping[str, Any]) -> str:
    """Return searched values on one line: ``training.optimiser.lr=0.001, model.heads=4``."""
    return ", ".join(f"{path}={_value(value)}" for path, value in config.items())


def _value(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else json.dumps(value)
