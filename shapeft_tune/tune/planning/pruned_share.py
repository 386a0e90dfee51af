"""What share of its steps a search trial is expected to take under a pruner.

Only halving fixes in advance how many trials go on. Optuna's asynchronous kind is followed here for trials
whose scores come in random order and keep that order from rung to rung: the i-th that comes to a rung goes on
where it is among the best ``max(1, i // reduction)`` so far. A sampler that becomes better lets more go on.
"""

from __future__ import annotations

import math
from bisect import insort
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from random import Random
from typing import Literal

from shapeft_tune.config.optimisation import (
    Hyperband,
    NoPruner,
    Pruner,
    SuccessiveHalving,
)

DRAWS, LEAST_ROUNDS = 8000, 40
"""Random scores that a share is the mean over: of so many trials, in so many cells at least."""

Words = Literal["", "about", "at most"]


@dataclass(frozen=True)
class Share:
    """A share of a trial's steps."""

    value: float
    """Between 0 and 1."""
    words: Words = ""
    """How sure that is; empty for exact."""


WHOLE = Share(1.0)
AT_MOST_WHOLE = Share(1.0, "at most")


def expected_share(pruner: Pruner, steps: int, every: int, trials: int) -> Share:
    """Return the mean over the search trials of a cell.

    Args:
        pruner: of the sweep.
        steps: of a trial that runs to its end.
        every: steps between validations; only then a trial is stopped.
        trials: search trials of the cell.
    """
    match pruner:
        case NoPruner():
            return WHOLE
        case SuccessiveHalving(min_steps=least, reduction=reduction):
            value = _halved(steps, every, trials, least, reduction)
        case Hyperband(min_steps=least, reduction=reduction):
            value = _over_brackets(steps, every, trials, least, reduction)
        case _:  # how many fall below a median or lose patience depends on the scores
            return AT_MOST_WHOLE
    return Share(value, "about" if value < 1 else "")


@cache
def _halved(steps: int, every: int, trials: int, least: int, reduction: int) -> float:
    """Return the share under successive halving whose first rung is at ``least`` steps."""
    stops = _stops(steps, every, least, reduction)
    if not stops:
        return 1.0
    chance, taken = Random(0), 0
    rounds = max(LEAST_ROUNDS, DRAWS // trials)
    for _ in range(rounds):
        rungs: list[list[float]] = [[] for _ in stops]
        taken += sum(_steps_of(chance.random(), rungs, stops, reduction, steps) for _ in range(trials))
    return taken / (rounds * trials * steps)


def _stops(steps: int, every: int, least: int, reduction: int) -> list[int]:
    """Return the validation at which each rung is decided; several may be decided at one."""
    stops = []
    while (stop := math.ceil(least / every) * every) < steps:
        stops.append(stop)
        least *= reduction
    return stops


def _steps_of(
    score: float, rungs: Sequence[list[float]], stops: Sequence[int], reduction: int, steps: int
) -> int:
    """Let one more trial climb the rungs, which hold the scores so far, and return where it stops."""
    for rung, stop in zip(rungs, stops, strict=True):
        insort(rung, score)
        if score < rung[-max(1, len(rung) // reduction)]:
            return stop
    return steps


def _over_brackets(steps: int, every: int, trials: int, least: int, reduction: int) -> float:
    """Return the share under Hyperband: trials are dealt to brackets, each with a later first rung."""
    brackets = math.floor(math.log((steps + 1) / least, reduction)) + 1 if steps >= least else 1
    budgets = [
        math.ceil(brackets * reduction**place / (place + 1)) for place in reversed(range(brackets))
    ]  # as Optuna deals them, the most eager bracket first
    value = 0.0
    for place, budget in enumerate(budgets):
        part = budget / sum(budgets)
        first_rung = least * int(reduction**place)
        value += part * _halved(steps, every, max(1, round(trials * part)), first_rung, reduction)
    return value
