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
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import AfterValidator, BaseModel, ValidationError

from shapeft_tune.scores import Counts
from shapeft_tune.tracking.facts import Ending, Key, Place, SweepEnding, TrialEnd, TrialFacts

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


UNTOLD_METRIC = ("miou", 1)
"""The convention behind numbers where no line names one."""
OF_TRIALS = (Kind.STARTED, Kind.BEGAN, Kind.PROGRESS, Kind.ENDED)


def _counts(told: Any) -> Counts | None:
    """Return a confusion matrix that stands in a line. Raises ValueError where it is none."""
    counts_KK = None if told is None else np.array(told, dtype=np.int64)
    if counts_KK is not None and counts_KK.ndim != 2:
        raise ValueError("expected rows of counts")
    return counts_KK


class _Told(BaseModel):
    """What every line says; what is not named here or below is of a later version, and left out."""

    time: int
    trial: Key | None = None


class _Opened(_Told):
    metric: tuple[str, int] = UNTOLD_METRIC


class _OfTrial(_Told):
    trial: Key
    facts: TrialFacts | None = None


class _Began(_OfTrial):
    place: Place


class _Progress(_OfTrial):
    step: int
    metrics: dict[str, float]


class _End(BaseModel):
    ending: Ending
    metrics: dict[str, float] = {}
    message: str = ""
    artifacts: dict[str, str] = {}
    environment: dict[str, str] = {}
    test_counts_KK: Annotated[Any, AfterValidator(_counts)] = None


class _Ended(_OfTrial):
    end: _End


class _Closed(_Told):
    ending: SweepEnding
    ended_by: str = ""


FORMS: Mapping[Kind, type[_Told]] = {
    Kind.OPENED: _Opened,
    Kind.STARTED: _OfTrial,
    Kind.BEGAN: _Began,
    Kind.PROGRESS: _Progress,
    Kind.ENDED: _Ended,
    Kind.CLOSED: _Closed,
}


class UnreadableLine(ValueError):
    """A line that was torn by a crash, damaged, or written by a version that tells what this one cannot."""


@dataclass(frozen=True)
class Line:
    """One line of the spool."""

    kind: Kind
    told: Any
    """What it says, in the form of its kind."""

    @property
    def time_ms(self) -> int:
        """When it was told."""
        return int(self.told.time)

    @property
    def key(self) -> Key | None:
        """Of the trial that it is about; None where it is about the sweep."""
        return self.told.trial if self.kind in OF_TRIALS else None

    @property
    def facts(self) -> TrialFacts | None:
        """What is known of the trial, where this line says it."""
        return self.told.facts if self.kind in OF_TRIALS else None

    @property
    def metric(self) -> tuple[str, int]:
        """Name and version of the convention behind the numbers; of a line that tells that a driver began."""
        return self.told.metric  # type: ignore[no-any-return]

    @property
    def place(self) -> Place:
        """Where the trial runs; of a line that tells that it began."""
        return self.told.place  # type: ignore[no-any-return]

    @property
    def step(self) -> int:
        """After how many optimiser steps; of a line that tells of progress."""
        return int(self.told.step)

    @property
    def metrics(self) -> dict[str, float]:
        """What was measured then; of a line that tells of progress."""
        return dict(self.told.metrics)

    @property
    def ending(self) -> Ending:
        """How the trial ended; of a line that tells its end."""
        return Ending(self.told.end.ending)

    def end(self, folder: Path) -> TrialEnd:
        """Return what the trial came to; of a line that tells its end. ``folder`` is the sweep's."""
        told = dict(self.told.end)
        artifacts = {name: folder / path for name, path in told["artifacts"].items()}
        return TrialEnd(**told | {"artifacts": artifacts})

    @property
    def closing(self) -> dict[str, Any]:
        """What ``SweepWriter.close`` takes; of a line that tells that a driver told its last fact."""
        return {"ending": self.told.ending, "ended_by": self.told.ended_by, "now_ms": self.time_ms}


def key_of(facts: TrialFacts) -> Key:
    """Return what names a trial."""
    return facts.strategy, str(facts.role), facts.fingerprint


def text_of(kind: Kind, time_ms: int, key: Key | None = None, **content: Any) -> bytes:
    """Return a line with its end; what the content holds must be JSON already."""
    told = {"kind": str(kind), "time": time_ms} | ({"trial": key} if key else {}) | content
    return json.dumps(told, separators=(",", ":"), allow_nan=False).encode() + b"\n"


def line_of(text: bytes) -> Line:
    """Return the line that was written.

    Raises:
        UnreadableLine: it says nothing that this version knows; with what is wrong.
    """
    try:
        told = json.loads(text)
        kind = Kind(told["kind"])
        return Line(kind, FORMS[kind].model_validate(told))
    except ValidationError as error:
        first = error.errors()[0]
        reason = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
        reason = f"{type(error).__name__}: {error}"
    shown = text[:40].decode(errors="replace").rstrip()
    raise UnreadableLine(f"expected a fact; got {shown!r}, a line that cannot be read ({reason})")


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
