"""The expected share of steps, held against Optuna's own pruners on trials with random scores."""

from __future__ import annotations

import random

import optuna
import pytest

from shapeft_tune.config.optimisation import (
    Hyperband,
    Median,
    NoPruner,
    Patience,
    Pruner,
    Search,
    SuccessiveHalving,
)
from shapeft_tune.tune.ledger.samplers import pruner_of
from shapeft_tune.tune.planning.pruned_share import expected_share


def simulated(pruner: Pruner, steps: int, every: int, trials: int, cells: int) -> float:
    """Return the mean share of steps that Optuna lets trials run whose scores are random and constant."""
    chance, taken = random.Random(0), 0
    for _ in range(cells):
        study = optuna.create_study(direction="maximize", pruner=pruner_of(Search(pruner=pruner)))
        for _ in range(trials):
            trial, score = study.ask(), chance.random()
            for step in [*range(every, steps, every), steps]:
                trial.report(score, step)
                if step < steps and trial.should_prune():
                    break
            taken += step
            pruned = step < steps
            study.tell(trial, None if pruned else score, state=optuna.trial.TrialState(2 if pruned else 1))
    return taken / (cells * trials * steps)


@pytest.mark.parametrize("every", [50, 400])
def test_successive_halving_takes_the_share_that_optuna_lets_it(every: int) -> None:
    pruner = SuccessiveHalving(min_steps=100, reduction=3)
    share = expected_share(pruner, 1000, every, 20)
    assert share.words == "about"
    assert share.value == pytest.approx(simulated(pruner, 1000, every, 20, cells=30), rel=0.06)


def test_hyperband_takes_about_the_share_that_optuna_lets_it() -> None:
    pruner = Hyperband(min_steps=100, reduction=3)
    share = expected_share(pruner, 1000, 100, 40)
    assert share.value == pytest.approx(simulated(pruner, 1000, 100, 40, cells=12), rel=0.15)


def test_two_trials_and_one_rung_by_hand() -> None:
    # The first goes on from step 100, the second with a chance of one half: (200 + 150) of 2 x 200 steps.
    share = expected_share(SuccessiveHalving(min_steps=100), 200, 100, 2)
    assert share.value == pytest.approx(350 / 400, rel=0.01)


def test_what_never_stops_a_trial_takes_all_of_its_steps_exactly() -> None:
    for pruner in (NoPruner(), SuccessiveHalving(min_steps=1000)):
        share = expected_share(pruner, 1000, 100, 20)
        assert (share.value, share.words) == (1.0, "")


@pytest.mark.parametrize("pruner", [Median(), Patience()])
def test_what_depends_on_scores_is_an_upper_limit(pruner: Pruner) -> None:
    share = expected_share(pruner, 1000, 100, 20)
    assert (share.value, share.words) == (1.0, "at most")
