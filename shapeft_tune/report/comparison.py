"""From a sweep's trials to one line of numbers per cell.

Where folds rotate, a seed was trained five times, each time tested on another fold. Its scores are those of
the five confusion matrices' sum, and there are none before all five are there: a mean of five mIoUs would be
another number, in which a rare class counts as much where it hardly occurs as where it is common.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydantic import ValidationError

from shapeft_tune.config import Cell, SweepConfig
from shapeft_tune.config.protocol import Role
from shapeft_tune.errors import TrackingError
from shapeft_tune.report.pareto import COST, Point, front_of
from shapeft_tune.report.runs import Run
from shapeft_tune.report.spent import left_out_by_budget, retries_of
from shapeft_tune.scores import Counts, Scores
from shapeft_tune.tracking.facts import Ending

CONFIDENCE = 0.95


@dataclass(frozen=True)
class CellSummary:
    """What is known of one cell. Scores are fractions of 1, and None where there is none (yet)."""

    strategy: str
    label_fraction: float
    temporal_length: int
    search_trials: int
    """Search trials that ended: complete, pruned or failed."""
    pruned_trials: int
    failed_trials: int
    confirmation_trials: int
    """Seeds behind the test scores."""
    val_miou_best: float | None
    test_miou_mean: float | None
    test_miou_low: float | None
    """Lower end of the 95 % interval over the seeds; None with fewer than two."""
    test_miou_high: float | None
    test_miou_seed20_mean: float | None
    test_overall_accuracy_mean: float | None
    best_config: Mapping[str, Any] | None
    """The searched values of the best search trial, by dotted path."""
    best_trial: Mapping[str, Any] | None
    """The best search trial's whole configuration."""
    missing_search_trials: int
    missing_confirmations: int
    """Seeds without test scores. Where folds rotate, one of five trials too few is enough."""
    incomplete_seeds: int = 0
    """Those of them that some, but not all, folds were tested with."""
    left_out_trials: int = 0
    """Search trials that there will not be, because the cell's budget ended the search; none is missing."""
    retries: int = 0
    """Times that a trial of either kind was tried again after a fault of the machine."""
    front: tuple[Point, ...] = ()
    """Search trials that are the best for their cost, cheapest first; empty where cost is no objective."""

    @property
    def setting(self) -> tuple[float, int]:
        """Label fraction and number of dates."""
        return self.label_fraction, self.temporal_length

    @property
    def score(self) -> float | None:
        """The mean on the test folds or, where there is none, the best on the validation folds."""
        return self.test_miou_mean if self.is_tested else self.val_miou_best

    @property
    def is_tested(self) -> bool:
        """Whether the score is one of the test folds."""
        return self.test_miou_mean is not None


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

    def cell(self, strategy: str, label_fraction: float, temporal_length: int) -> CellSummary:
        """Return one cell."""
        wanted = (strategy, label_fraction, temporal_length)
        return next(cell for cell in self.cells if (cell.strategy, *cell.setting) == wanted)


def compare(sweep: SweepConfig, runs: Iterable[Run]) -> Comparison:
    """Summarise every cell of the sweep; trials of cells that it does not have (any more) are left out.

    Raises:
        TrackingError: the trials were scored by different conventions.
    """
    cells_by_place = {_place(cell): cell for cell in sweep.cells}
    runs_by_cell: dict[tuple[str, float, int], list[Run]] = {place: [] for place in cells_by_place}
    for run in runs:
        cell = cells_by_place.get(_place(run.facts))
        if cell and _is_trial_of(cell, run):
            runs_by_cell[_place(cell)].append(run)
    cells = tuple(_summary(cell, runs_by_cell[_place(cell)], sweep) for cell in sweep.cells)
    metric = _one_metric(sweep.name, [run for group in runs_by_cell.values() for run in group])
    by_cost = sweep.optimisation.objective == "miou_and_cost"
    return Comparison(sweep.name, sweep.question, metric, cells, sweep.folds == "rotate", by_cost)


def interval(values: Sequence[float]) -> tuple[float, float] | None:
    """Return Student's 95 % interval of the mean, clipped to 0 and 1; None with fewer than two values."""
    if len(values) < 2:
        return None
    from scipy.special import stdtrit  # type: ignore[import-untyped]  # here: it takes half a second

    mean = math.fsum(values) / len(values)
    variance = math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1)
    quantile = float(stdtrit(len(values) - 1, (1 + CONFIDENCE) / 2))
    reach = quantile * math.sqrt(variance / len(values))
    return max(0.0, mean - reach), min(1.0, mean + reach)


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


def _summary(cell: Cell, runs: Sequence[Run], sweep: SweepConfig) -> CellSummary:
    ended = [run for run in runs if run.facts.role == Role.SEARCH and run.state in tuple(Ending)]
    best = _best(runs)
    confirmations = _confirmations(best, runs) if best else []
    seeds = _scores_of_seeds(cell, confirmations)
    test = _values(seeds, "miou")
    low, high = interval(test) or (None, None)
    left_out = left_out_by_budget(cell, runs, sweep.budget)
    return CellSummary(
        strategy=cell.strategy,
        label_fraction=cell.label_fraction,
        temporal_length=cell.temporal_length,
        search_trials=len(ended),
        pruned_trials=sum(run.state == Ending.PRUNED for run in ended),
        failed_trials=sum(run.state == Ending.FAILED for run in ended),
        confirmation_trials=len(test),
        val_miou_best=best.score("best/val_miou") if best else None,
        test_miou_mean=_mean(test),
        test_miou_low=low,
        test_miou_high=high,
        test_miou_seed20_mean=_mean(_values(seeds, "miou_seed20")),
        test_overall_accuracy_mean=_mean(_values(seeds, "overall_accuracy")),
        best_config=best.facts.sampled if best else None,
        best_trial=best.facts.config if best else None,
        missing_search_trials=max(0, cell.trials - len(ended) - left_out),
        missing_confirmations=max(0, sweep.budget.confirmation_seeds - len(test)),
        incomplete_seeds=_seeds_begun(confirmations) - len(seeds) if cell.rotations > 1 else 0,
        left_out_trials=left_out,
        retries=retries_of(runs),
        front=front_of(runs) if sweep.optimisation.objective == "miou_and_cost" else (),
    )


def _best(runs: Sequence[Run]) -> Run | None:
    """Return the search trial with the best validation score among those that ran to their end.

    Among equals it is the cheapest, and then the oldest, as in the ledger.
    """
    scored = [
        (score, -(run.score(COST) or 0.0), run)
        for run in runs
        if run.facts.role == Role.SEARCH
        and run.state == Ending.COMPLETE
        and (score := run.score("best/val_miou")) is not None
    ]
    return max(scored, key=lambda each: each[:2], default=(None, None, None))[2]


def _confirmations(best: Run, runs: Sequence[Run]) -> list[Run]:
    """Return the complete confirmations of exactly this configuration, not those of an earlier best one."""
    return [
        run
        for run in runs
        if run.facts.role == Role.CONFIRMATION
        and run.state == Ending.COMPLETE
        and run.score("test/miou") is not None
        and _repeated(run.facts.config) == _repeated(best.facts.config)
    ]


def _repeated(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a confirmation shares with the trial that it confirms: all but the seed and the folds."""
    data = {key: value for key, value in config["data"].items() if key != "folds"}
    return {key: value for key, value in config.items() if key != "seed"} | {"data": data}


def _scores_of_seeds(cell: Cell, confirmations: Sequence[Run]) -> list[Mapping[str, float]]:
    """Return the test scores of each seed by name."""
    if cell.rotations == 1:
        names = ("miou", "miou_seed20", "overall_accuracy")
        scores = [{name: run.score(f"test/{name}") for name in names} for run in confirmations]
        return [{name: value for name, value in seed.items() if value is not None} for seed in scores]
    counts_by_seed: dict[int, dict[str, Counts]] = {}
    for run in confirmations:
        if run.test_counts_KK is not None:
            counts_by_seed.setdefault(run.facts.seed, {})[run.facts.test_folds] = run.test_counts_KK
    whole = [folds.values() for folds in counts_by_seed.values() if len(folds) == cell.rotations]
    return [Scores.of(np.sum(list(counts), axis=0)).summary() for counts in whole]


def _seeds_begun(confirmations: Sequence[Run]) -> int:
    return len({run.facts.seed for run in confirmations})


def _values(seeds: Sequence[Mapping[str, float]], name: str) -> list[float]:
    return [scores[name] for scores in seeds if name in scores]


def _mean(values: Sequence[float]) -> float | None:
    return math.fsum(values) / len(values) if values else None
