"""Everything that a report shows, put together once for tables, figures and the page."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from shapeft_tune.config import SweepConfig
from shapeft_tune.report.comparison import Comparison, compare
from shapeft_tune.report.hyperparameters import StrategySearch, searches_of
from shapeft_tune.report.reproduction import Reproduction, reproduction_of
from shapeft_tune.report.runs import Run

__all__ = ["Report", "Reproduction", "report_of"]


@dataclass(frozen=True)
class Report:
    """A sweep as its record has it at one moment, compared."""

    sweep: SweepConfig
    comparison: Comparison
    searches: tuple[StrategySearch, ...]
    reproduction: Reproduction
    published: bool = False
    """Whether published numbers of the field are shown beside the sweep's own."""
    written: datetime | None = None
    """When the record was read."""
    driver: str = ""
    """Who ran the sweep on then, as far as its folder here says; empty for nobody."""


def report_of(
    sweep: SweepConfig,
    runs: Iterable[Run],
    *,
    baseline: str | None = None,
    published: bool = False,
    driver: str = "",
) -> Report:
    """Compare the cells of a sweep.

    Args:
        sweep: the cells to report on.
        runs: its trials.
        baseline: the strategy that others are compared with; by default as :func:`compare` chooses.
        published: whether published numbers of the field are shown too.
        driver: who runs the sweep now.

    Raises:
        TrackingError: the trials were scored by different conventions.
    """
    runs = tuple(runs)
    return Report(
        sweep,
        compare(sweep, runs, baseline=baseline),
        searches_of(sweep, runs),
        reproduction_of(sweep, runs),
        published,
        datetime.now(UTC),
        driver,
    )
