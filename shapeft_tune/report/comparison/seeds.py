"""The scores of each seed that repeated a cell's best configuration.

Where folds rotate, a seed was trained five times, each time tested on another fold. Its scores are those of
the five confusion matrices' sum, and there are none before all five are there: a mean of five mIoUs would be
another number, in which a rare class counts as much where it hardly occurs as where it is common.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from shapeft_tune.config import Cell
from shapeft_tune.config.protocol import Role
from shapeft_tune.report.runs import Run
from shapeft_tune.scores import Counts, Scores
from shapeft_tune.tracking.facts import Ending


def confirmations_of(best: Run, runs: Sequence[Run]) -> list[Run]:
    """Return the complete confirmations of exactly this configuration, not those of an earlier best one."""
    return [
        run
        for run in runs
        if run.facts.role == Role.CONFIRMATION
        and run.state == Ending.COMPLETE
        and run.score("test/miou") is not None
        and run.facts.configuration == best.facts.configuration
    ]


def scores_of_seeds(cell: Cell, confirmations: Sequence[Run]) -> list[Mapping[str, float]]:
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


def seeds_begun(confirmations: Sequence[Run]) -> int:
    """Return how many seeds have any of their folds tested."""
    return len({run.facts.seed for run in confirmations})
