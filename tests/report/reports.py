"""Reports of the simulated record, whole and in part."""

from __future__ import annotations

from shapeft_tune.report.report import Report, report_of
from tests.report.synthetic import synthetic_runs, synthetic_sweep


def simulated(strategies: tuple[str, ...] = (), keep: float = 1.0, published: bool = False) -> Report:
    """Return a report on a simulated sweep, or on the first part of what was recorded of it."""
    sweep = synthetic_sweep(strategies) if strategies else synthetic_sweep()
    runs = synthetic_runs(sweep)
    return report_of(sweep, runs[: round(keep * len(runs))], published=published)
