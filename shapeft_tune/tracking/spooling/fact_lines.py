"""How a fact looks as one line of JSON in the spool, and the way back.

A line says what it is (``kind``), when it was told (``time``, in ms) and of which trial (``trial``: strategy,
role, fingerprint). Everything known of the trial itself stands in the first line about it and wherever it
starts; other lines name the trial alone. Paths inside the sweep's folder are written relative to it, so that
the home can be moved.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np

from shapeft_tune.config.protocol import Role
from shapeft_tune.tracking.facts import Ending, Place, SweepEnding, TrialEnd, TrialFacts

Key = tuple[str, str, str]
"""Strategy, role and fingerprint: what names a trial among all of its sweep."""
FACTS_MARK = b'"facts":'
"""In every line that holds a trial's facts, and in no other: in text a quotation mark is escaped."""


class Kind(StrEnum):
    """What a line tells."""

    OPENED = "opened"
    """A driver began to record."""
    STARTED = "started"
    BEGAN = "began"
    PROGRESS = "progress"
    ENDED = "ended"
    CLOSED = "closed"
    """A driver recorded its last fact."""


OF_TRIALS = (Kind.STARTED, Kind.BEGAN, Kind.PROGRESS, Kind.ENDED)


@dataclass(frozen=True)
class Line:
    """One line of the spool."""

    kind: Kind
    time_ms: int
    """When it was told."""
    key: Key | None
    """Of the trial that it is about; None where it is about the sweep."""
    content: Mapping[str, Any]
    """The rest of it, as JSON has it."""

    @property
    def facts(self) -> TrialFacts | None:
        """What is known of the trial, where this line says it."""
        told = self.content.get("facts")
        return None if told is None else _facts_of(told)

    @property
    def place(self) -> Place:
        """Where the trial runs; of a line that tells that it began."""
        return Place(**_known_fields(Place, self.content["place"]))

    @property
    def step(self) -> int:
        """After how many optimiser steps; of a line that tells of progress."""
        return int(self.content["step"])

    @property
    def metrics(self) -> dict[str, float]:
        """What was measured then; of a line that tells of progress."""
        return dict(self.content["metrics"])

    @property
    def ending(self) -> Ending:
        """How the trial ended; of a line that tells its end."""
        return Ending(self.content["end"]["ending"])

    def end(self, folder: Path) -> TrialEnd:
        """Return what the trial came to; of a line that tells its end. ``folder`` is the sweep's."""
        told = _known_fields(TrialEnd, self.content["end"])
        counts_KK = told.get("test_counts_KK")
        return TrialEnd(
            **told
            | {
                "ending": Ending(told["ending"]),
                "artifacts": {name: folder / path for name, path in told.get("artifacts", {}).items()},
                "test_counts_KK": None if counts_KK is None else np.array(counts_KK, dtype=np.int64),
            }
        )


def key_of(facts: TrialFacts) -> Key:
    """Return what names a trial."""
    return facts.strategy, str(facts.role), facts.fingerprint


def text_of(kind: Kind, time_ms: int, key: Key | None = None, **content: Any) -> bytes:
    """Return a line with its end; what the content holds must be JSON already."""
    told = {"kind": str(kind), "time": time_ms} | ({"trial": key} if key else {}) | content
    return json.dumps(told, separators=(",", ":"), allow_nan=False).encode() + b"\n"


def line_of(text: bytes) -> Line | None:
    """Return the line that was written; None for one that was torn by a crash or that nobody knows."""
    try:
        told = json.loads(text)
        trial = told.pop("trial", None)
        return Line(Kind(told.pop("kind")), int(told.pop("time")), tuple(trial) if trial else None, told)
    except (ValueError, TypeError, AttributeError, KeyError):
        return None


def closing_of(line: Line) -> dict[str, Any]:
    """Return what a line that closes says, as ``SweepWriter.close`` takes it."""
    ending, ended_by = SweepEnding(line.content["ending"]), str(line.content.get("ended_by", ""))
    return {"ending": ending, "ended_by": ended_by, "now_ms": line.time_ms}


def facts_content(facts: TrialFacts) -> dict[str, Any]:
    """Return the facts as JSON has them."""
    return {name: dict(value) if isinstance(value, Mapping) else value for name, value in vars(facts).items()}


def numbers(metrics: Mapping[str, float]) -> dict[str, float]:
    """Return what JSON has a word for, which is also all that MLflow takes: no infinity, no NaN."""
    return {name: float(value) for name, value in metrics.items() if math.isfinite(value)}


def end_content(end: TrialEnd, folder: Path) -> dict[str, Any]:
    """Return an end as JSON has it, with paths relative to the sweep's folder where they lie in it."""
    return vars(end) | {
        "metrics": numbers(end.metrics),
        "artifacts": {name: _relative(path, folder) for name, path in end.artifacts.items()},
        "environment": dict(end.environment),
        "test_counts_KK": None if end.test_counts_KK is None else end.test_counts_KK.tolist(),
    }


def _relative(path: Path, folder: Path) -> str:
    absolute, inside = os.path.abspath(path), os.path.abspath(folder) + os.sep
    return absolute.removeprefix(inside)


def _facts_of(told: Mapping[str, Any]) -> TrialFacts:
    return TrialFacts(**_known_fields(TrialFacts, told) | {"role": Role(told["role"])})


def _known_fields(kind: type[Any], told: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what a later version of this program may have written."""
    names = {field.name for field in fields(kind)}
    return {name: value for name, value in told.items() if name in names}
