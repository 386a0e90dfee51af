"""The scores of each seed that repeated a cell's best configuration.

Where folds rotate, a seed was trained five times, each time tested on another fold. Its scores are those of
the five confusion matrices' sum, and there are none before all five are there: a mean of five mIoUs would be
another number, in which a rare class counts as much where it hardly occurs as where it is common.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from shapeft_tune.config import Cell
from shapeft_tune.config.protocol import Role
from shapeft_tune.report.runs import Run
from shapeft_tune.report.statistics.scored import ScoredPatches, scored_patches
from shapeft_tune.scores import Scores
from shapeft_tune.tracking.facts import Ending

SCORES = ("miou", "miou_seed20", "macro_f1", "overall_accuracy")
CLASS_IOU = "test/iou/"


@dataclass(frozen=True)
class SeedScores:
    """What one seed scored on the test folds."""

    seed: int
    values: Mapping[str, float]
    """By name, as far as they are recorded."""
    iou: Mapping[str, float] = field(default_factory=dict)
    """By class, of those that occur."""


def confirmations_of(best: Run, runs: Sequence[Run]) -> list[Run]:
    """Return the complete confirmations of exactly this configuration, not those of an earlier best one."""
    return [
        run
        for run in _repeats_of(best, runs)
        if run.state == Ending.COMPLETE and run.score("test/miou") is not None
    ]


def failed_seeds(best: Run, runs: Sequence[Run], scored: Collection[int]) -> set[int]:
    """Return the seeds that will have no scores, because a trial of theirs failed for good."""
    failed = {run.facts.seed for run in _repeats_of(best, runs) if run.state == Ending.FAILED}
    return failed - set(scored)


def seeds_begun(confirmations: Sequence[Run]) -> set[int]:
    """Return the seeds that have any of their folds tested."""
    return {run.facts.seed for run in confirmations}


def scores_of_seeds(cell: Cell, confirmations: Sequence[Run]) -> tuple[SeedScores, ...]:
    """Return the test scores of each seed with all of its folds, ascending by seed."""
    patches = (run.test_patches for run in confirmations)
    classes = next((each.class_names for each in patches if each), ())
    if cell.rotations == 1:
        found = [_recorded(run, classes) for run in confirmations]
    else:
        with_counts = [run for run in confirmations if run.test_counts_KK is not None]
        whole = _whole_seeds(cell, with_counts)
        found = [_of_counts(seed, folds, classes) for seed, folds in whole.items()]
    return tuple(sorted(found, key=lambda each: each.seed))


def patches_of_seeds(cell: Cell, confirmations: Sequence[Run]) -> ScoredPatches | None:
    """Return the test patches of each seed that has all of its folds with patches; None of none."""
    with_patches = [run for run in confirmations if run.test_patches]
    whole = _whole_seeds(cell, with_patches)
    return scored_patches(
        {seed: [run.test_patches for run in folds if run.test_patches] for seed, folds in whole.items()}
    )


def _repeats_of(best: Run, runs: Sequence[Run]) -> list[Run]:
    return [
        run
        for run in runs
        if run.facts.role == Role.CONFIRMATION and run.facts.configuration == best.facts.configuration
    ]


def _whole_seeds(cell: Cell, confirmations: Sequence[Run]) -> dict[int, list[Run]]:
    """Return the trials of each seed that has one for every rotation."""
    by_seed: dict[int, dict[str, Run]] = {}
    for run in confirmations:
        by_seed.setdefault(run.facts.seed, {})[run.facts.test_folds] = run
    return {seed: list(folds.values()) for seed, folds in by_seed.items() if len(folds) == cell.rotations}


def _recorded(run: Run, classes: Sequence[str]) -> SeedScores:
    scores = {name: run.score(f"test/{name}") for name in SCORES}
    values = {name: value for name, value in scores.items() if value is not None}
    if classes and run.test_counts_KK is not None:
        return SeedScores(run.facts.seed, values, _of_counts(run.facts.seed, [run], classes).iou)
    # Names in the record lack the characters that MLflow refuses: they stand in where there are no others
    by_class = (
        {}
        if classes
        else {
            name.removeprefix(CLASS_IOU): value
            for name in run.metrics
            if name.startswith(CLASS_IOU) and (value := run.score(name)) is not None
        }
    )
    return SeedScores(run.facts.seed, values, by_class)


def _of_counts(seed: int, folds: Sequence[Run], classes: Sequence[str]) -> SeedScores:
    counts = [run.test_counts_KK for run in folds if run.test_counts_KK is not None]
    scores = Scores.of(np.sum(counts, axis=0))
    named = zip(classes, scores.iou, strict=False) if len(classes) == len(scores.iou) else ()
    return SeedScores(seed, scores.summary(), {name: iou for name, iou in named if iou is not None})
