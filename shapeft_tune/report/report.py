"""Everything that a report shows, put together once for tables, figures and the page."""

from __future__ import annotations

from dataclasses import dataclass

from shapeft_tune.config import SweepConfig
from shapeft_tune.report.comparison import Comparison
from shapeft_tune.report.hyperparameters import StrategySearch


@dataclass(frozen=True)
class Reproduction:
    """What a reader types to get the numbers again."""

    sweep: str
    """The sweep file's name."""
    commands: tuple[str, ...]
    """That run the whole sweep and its report."""


@dataclass(frozen=True)
class Report:
    """A sweep as its record has it at one moment, compared."""

    sweep: SweepConfig
    comparison: Comparison
    searches: tuple[StrategySearch, ...]
    reproduction: Reproduction
    published: bool = False
    """Whether published numbers of the field are shown beside the sweep's own."""
