"""From a sweep's trials to a comparison of its cells."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

from pydantic import ValidationError

from shapeft_tune.config import Cell, SweepConfig
from shapeft_tune.config.protocol import Role
from shapeft_tune.errors import TrackingError
from shapeft_tune.report.comparison.baseline import baseline_of
from shapeft_tune.report.comparison.cells import CellSummary, summary_of
from shapeft_tune.report.comparison.differences import Difference
from shapeft_tune.report.comparison.family import Family
from shapeft_tune.report.comparison.ranks import RankStability, rank_stability
from shapeft_tune.report.comparison.recommendations import Recommendation, recommended
from shapeft_tune.report.runs import Run


@dataclass(frozen=True)
class Comparison:
    """All cells of a sweep, in the sweep's order."""

    sweep: str
    question: str
    metric: tuple[str, int] | None
    """Name and version of the convention behind all scores; None while there is no trial."""
    cells: tuple[CellSummary, ...]
    rotated: bool = False
    """Whether test scores are those of five folds, confusions summed."""
    by_cost: bool = False
    """Whether the search had two objectives: mIoU and cost."""
    baseline: str | None = None
    """The strategy that others are compared with; None where there is no other."""
    differences: tuple[Difference, ...] = ()
    """Every tested strategy against the baseline in every setting. They and those of the recommendations are
    corrected together: for the number of distinct pairs among them."""
    recommendations: tuple[Recommendation, ...] = ()
    """One for each setting with test scores."""
    ranks: tuple[RankStability, ...] = ()
    """One for each setting in which two strategies or more are tested with a common seed."""

    @property
    def strategies(self) -> tuple[str, ...]:
        """The strategies, in the sweep's order."""
        return tuple(dict.fromkeys(cell.strategy for cell in self.cells))

    @property
    def label_fractions(self) -> tuple[float, ...]:
        """The label fractions, ascending."""
        return tuple(sorted({cell.label_fraction for cell in self.cells}))

    @property
    def temporal_lengths(self) -> tuple[int, ...]:
        """The numbers of dates, ascending."""
        return tuple(sorted({cell.temporal_length for cell in self.cells}))

    @property
    def settings(self) -> tuple[tuple[float, int], ...]:
        """Label fraction and number of dates of every setting, in the sweep's order."""
        return tuple(dict.fromkeys(cell.setting for cell in self.cells))

    @property
    def is_unfinished(self) -> bool:
        """Whether trials are still to come."""
        return any(cell.missing_search_trials or cell.missing_confirmations for cell in self.cells)

    def cell(self, strategy: str, label_fraction: float, temporal_length: int) -> CellSummary:
        """Return one cell."""
        wanted = (strategy, label_fraction, temporal_length)
        return next(cell for cell in self.cells if (cell.strategy, *cell.setting) == wanted)

    def difference(self, strategy: str, label_fraction: float, temporal_length: int) -> Difference | None:
        """Return a strategy's difference to the baseline in a setting; None where it was not computed."""
        wanted = (strategy, label_fraction, temporal_length)
        return next((each for each in self.differences if (each.strategy, *each.setting) == wanted), None)


def compare(sweep: SweepConfig, runs: Iterable[Run], baseline: str | None = None) -> Comparison:
    """Summarise every cell of the sweep and compare them; trials of cells that it has not are left out.

    Args:
        sweep: the cells.
        runs: trials as recorded.
        baseline: the strategy that others are compared with; None: U-TAE from scratch, or else the first.

    Raises:
        UserError: the sweep has no strategy of the baseline's name.
        TrackingError: the trials were scored by different conventions.
    """
    against = baseline_of(sweep, baseline)
    found = trials_by_cell(sweep, runs)
    metric = _one_metric(sweep.name, [run for _, of_cell in found for run in of_cell])
    cells = tuple(summary_of(cell, of_cell, sweep) for cell, of_cell in found)
    return with_conclusions(
        Comparison(
            sweep.name,
            sweep.question,
            metric,
            cells,
            rotated=sweep.folds == "rotate",
            by_cost=sweep.optimisation.objective == "miou_and_cost",
            baseline=against,
        )
    )


def with_conclusions(cells_alone: Comparison) -> Comparison:
    """Add what follows from the cells: differences, recommendations and ranks."""
    by_setting = _by_setting(cells_alone.cells)
    baseline = cells_alone.baseline
    family = Family.of(by_setting, baseline)
    return replace(
        cells_alone,
        differences=() if baseline is None else family.less(baseline, chain.from_iterable(by_setting)),
        recommendations=tuple(filter(None, (recommended(cells, family) for cells in by_setting))),
        ranks=tuple(filter(None, map(rank_stability, by_setting))),
    )


def _by_setting(cells: Sequence[CellSummary]) -> list[list[CellSummary]]:
    groups: dict[tuple[float, int], list[CellSummary]] = {}
    for cell in cells:
        groups.setdefault(cell.setting, []).append(cell)
    return list(groups.values())


def trials_by_cell(sweep: SweepConfig, runs: Iterable[Run]) -> tuple[tuple[Cell, tuple[Run, ...]], ...]:
    """Return every cell of the sweep with its trials, in the order of the runs.

    Trials that the sweep, as it is, would not make are left out.
    """
    cells = {_place(cell): cell for cell in sweep.cells}
    found: dict[tuple[str, float, int], list[Run]] = {place: [] for place in cells}
    for run in runs:
        cell = cells.get(_place(run.facts))
        if cell and _is_trial_of(cell, run):
            found[_place(cell)].append(run)
    return tuple((cell, tuple(found[place])) for place, cell in cells.items())


def _place(thing: Any) -> tuple[str, float, int]:
    return thing.strategy, thing.label_fraction, thing.temporal_length


def _is_trial_of(cell: Cell, run: Run) -> bool:
    """Whether the file would make this very trial; an older sweep of the same name may have meant another."""
    rotations = cell.rotations if run.facts.role == Role.CONFIRMATION else 1
    try:
        trials = (cell.trial(run.facts.sampled, run.facts.seed, rotation) for rotation in range(rotations))
        return any(trial.fingerprint() == run.facts.fingerprint for trial in trials)
    except ValidationError:
        return False


def _one_metric(sweep: str, runs: Sequence[Run]) -> tuple[str, int] | None:
    metrics = sorted({run.metric for run in runs})
    if len(metrics) > 1:
        names = " and ".join(f"{name} version {version}" for name, version in metrics)
        raise TrackingError(
            f"sweep {sweep!r}: expected trials scored by one convention; got {names} - "
            f"delete the older runs in MLflow, or run the sweep again under another name"
        )
    return metrics[0] if metrics else None
