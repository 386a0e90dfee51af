"""What the record is told about results. Plain values: what compares cells need not know MLflow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Winner:
    """The best search trial of a cell, as a model to take away."""

    fingerprint: str
    config: Mapping[str, Any]
    """Its whole configuration."""
    searched: Mapping[str, str]
    """The searched values as text, by dotted path."""
    checkpoint: Path | None
    """Where its weights lie, if they are on this machine at all."""


@dataclass(frozen=True)
class CellPublication:
    """What a cell came to."""

    strategy: str
    label_fraction: float
    temporal_length: int
    metrics: Mapping[str, float]
    """By name: ``result/test_miou``, ...; scores are fractions of 1. What is not known is left out."""
    colour: str
    """Of all that MLflow draws of the cell, as ``#rrggbb``."""
    winner: Winner | None = None

    @property
    def key(self) -> tuple[str, str, str]:
        """Strategy, label fraction and number of dates, as the tags of the cell's run have them."""
        return self.strategy, repr(float(self.label_fraction)), str(self.temporal_length)


@dataclass(frozen=True)
class Curve:
    """A line of test mIoU over labels: of one strategy with one number of dates."""

    strategy: str
    temporal_length: int
    points: Mapping[float, float]
    """Test mIoU by label fraction, both fractions of 1."""
    colour: str
    """As ``#rrggbb``."""

    @property
    def title(self) -> str:
        """Name the line for people."""
        return f"{self.strategy}, {self.temporal_length} date{'s' if self.temporal_length > 1 else ''}"


@dataclass(frozen=True)
class SweepPublication:
    """What a sweep came to."""

    sweep: str
    note: str
    """Question, findings and table, in Markdown: what stands above the experiment's runs."""
    cells: tuple[CellPublication, ...]
    curves: tuple[Curve, ...] = ()
    files: Mapping[Path, str] = field(default_factory=dict)
    """The report's files, each with the folder among the artifacts that it goes to."""
    page: str = ""
    """Where among them the page to read is: ``report/report.html``; empty where there is none."""
