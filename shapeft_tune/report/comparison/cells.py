"""From a cell's trials to one line of numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from shapeft_tune.config import Cell, SweepConfig
from shapeft_tune.config.protocol import Role
from shapeft_tune.report.comparison.cost import device_hours, training_device_hours, training_steps
from shapeft_tune.report.comparison.pareto import COST, Point, front_of
from shapeft_tune.report.comparison.seeds import confirmations_of, failed_seeds, seeds_begun
from shapeft_tune.report.comparison.spent import left_out_by_budget, retries_of
from shapeft_tune.report.comparison.tested import ClassScore, TestScores
from shapeft_tune.report.runs import Run
from shapeft_tune.report.statistics.scored import ScoredPatches
from shapeft_tune.tracking.facts import Ending


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
    """Lower end of the 95 % interval over seeds and, where they are known, patches; None with fewer than two
    seeds."""
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
    test_macro_f1_mean: float | None = None
    test_iou: Mapping[str, ClassScore] = field(default_factory=dict)
    """By class, in the data set's order; empty while nothing was tested."""
    miou_by_seed: Mapping[int, float] = field(default_factory=dict)
    """Test mIoU of each seed, ascending by seed."""
    device_hours: float = 0.0
    """What all trials of the cell took: seconds times GPUs, or CPU cores, over 3600; failed tries too."""
    training_device_hours: float | None = None
    """What one training of the best configuration takes: the mean over its confirmations, or the search
    trial's own where there are none."""
    trainable_parameters: int | None = None
    steps: int | None = None
    """Optimiser steps of one training of the best configuration."""
    interval_over: str = ""
    """What the interval of the test mIoU is over: ``seeds and patches``, or ``seeds`` alone where matrices of
    the patches are not to be had; empty where there is none."""
    best_fingerprint: str = ""
    """Of the best search trial; empty where there is none."""
    failed_confirmations: int = 0
    """Seeds without test scores for good, because a trial of theirs failed; none is missing."""
    scored: ScoredPatches | None = field(default=None, compare=False, repr=False)
    """What intervals are computed from; None where matrices of the patches are not to be had."""

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


def summary_of(cell: Cell, runs: Sequence[Run], sweep: SweepConfig) -> CellSummary:
    """Return what a cell's trials, and no others, came to."""
    ended = [run for run in runs if run.facts.role == Role.SEARCH and run.state in tuple(Ending)]
    best = best_search_run(runs)
    confirmations = confirmations_of(best, runs) if best else []
    test = TestScores.of(cell, confirmations)
    seeds = len(test.miou_by_seed)
    failed = failed_seeds(best, runs, test.miou_by_seed) if best else set()
    low, high, interval_over = test.interval()
    left_out = left_out_by_budget(cell, runs, sweep.budget)
    return CellSummary(
        strategy=cell.strategy,
        label_fraction=cell.label_fraction,
        temporal_length=cell.temporal_length,
        search_trials=len(ended),
        pruned_trials=sum(run.state == Ending.PRUNED for run in ended),
        failed_trials=sum(run.state == Ending.FAILED for run in ended),
        confirmation_trials=seeds,
        val_miou_best=best.score("best/val_miou") if best else None,
        test_miou_mean=test.mean("miou"),
        test_miou_low=low,
        test_miou_high=high,
        test_miou_seed20_mean=test.mean("miou_seed20"),
        test_overall_accuracy_mean=test.mean("overall_accuracy"),
        best_config=best.facts.sampled if best else None,
        best_trial=best.facts.config if best else None,
        missing_search_trials=max(0, cell.trials - len(ended) - left_out),
        missing_confirmations=max(0, sweep.budget.confirmation_seeds - seeds - len(failed)),
        incomplete_seeds=len(seeds_begun(confirmations) - set(test.miou_by_seed) - failed),
        failed_confirmations=len(failed),
        left_out_trials=left_out,
        retries=retries_of(runs),
        front=front_of(runs) if sweep.optimisation.objective == "miou_and_cost" else (),
        test_macro_f1_mean=test.mean("macro_f1"),
        test_iou=test.iou_by_class(),
        miou_by_seed=test.miou_by_seed,
        device_hours=device_hours(runs),
        training_device_hours=training_device_hours(best, confirmations),
        trainable_parameters=_whole(best, "cost/trainable_parameters"),
        steps=training_steps(best, confirmations),
        interval_over=interval_over,
        best_fingerprint=best.facts.fingerprint if best else "",
        scored=test.scored,
    )


def best_search_run(runs: Sequence[Run]) -> Run | None:
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


def _whole(best: Run | None, name: str) -> int | None:
    value = best.score(name) if best else None
    return None if value is None else round(value)
