"""How much each searched field matters for the validation mIoU: Optuna's fANOVA over a cell's trials.

fANOVA (Hutter, Hoos and Leyton-Brown, 2014, proceedings.mlr.press/v32/hutter14.html) grows a forest that
predicts the score from the searched values, and asks what share of the predicted variance over the whole
space each field explains by itself. Four choices are ours:

- The evaluator. Optuna's default, PED-ANOVA, compares the best tenth of the trials with all of them: one or
  two trials of a usual budget. In simulated searches in which one of three fields decides, fANOVA named it
  in 9 of 10 with 8 to 10 complete trials and always with 20; PED-ANOVA in 5 to 6 of 10 and in 8 of 10 (told
  to look at the best quarter: in 7 to 8 of 10, and nearly always).
- The scale. Optuna's forest integrates over numbers as they are. A range that is searched by factors is
  handed over as exponents, so that a learning rate's lowest decade counts as much as its highest.
- Conditions. A forest needs every field in every trial. A field that is searched only where a condition holds
  is judged on the trials that have it, and its share of their variance counts with their share of the trials,
  as the law of total variance has it.
- Doubt. A forest finds something in any numbers. What a field gets is compared with what it gets once its
  values are shuffled among the trials, and a forest must predict the scores of trials it has not seen.

The truth in those simulations: 0.1 mIoU per decade of the learning rate, 0.01 by the loss, nothing by the
third field, noise with a deviation of 0.02.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from statistics import pvariance
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.study import Study

FEWEST_TRIALS = 8
"""Complete trials of a cell below which its importances are left open: with 8, nine of ten simulated searches
put the right field first, with 4 every second one."""
MOST_TREES, FEWEST_TREES, TREE_TRIALS = 32, 16, 3200
"""The forest has 32 trees where a cell has up to 100 trials, and fewer where it has more: walking a tree
takes time in proportion to its trials and more, and 60 cells of 200 trials must not take minutes."""
SEED = 0
"""Of forests and shuffles: the same trials have the same importances."""
ABSENT = -1e3
"""Below any exponent, any option's place and any number worth searching."""
SHUFFLES, MOST_SHUFFLED = 4, 50
"""How often what chance does is tried, and on how many trials at most: with fewer trials chance does more."""


@dataclass(frozen=True)
class Scored:
    """A complete trial as the ledger's sampler knows it."""

    parameters: Mapping[str, Any]
    """Optuna's parameters by range; those of a condition that does not hold are not there."""
    score: float


def importances_of(
    distributions: Mapping[str, BaseDistribution], trials: Sequence[Scored]
) -> dict[str, float]:
    """Return each field's share of the variance that the fields explain one by one, the largest first.

    Empty where there are too few trials, a single field, or no difference in score. A field whose condition
    held in too few trials is left out.
    """
    if len(distributions) < 2 or not _enough(trials):
        return {}
    return _shares(distributions, trials, max(FEWEST_TREES, min(MOST_TREES, TREE_TRIALS // len(trials))))


def chance_levels(
    distributions: Mapping[str, BaseDistribution],
    trials: Sequence[Scored],
    importances: Mapping[str, float],
) -> dict[str, float]:
    """Return for each field the importance at or below which it cannot be said to matter.

    It is the most that the field got in a few forests in which the values of all fields but the most
    important one were shuffled among the trials that have them. The most important one has none: whether it
    matters is a question of whether anything does, which :func:`predictability` answers.
    """
    if not importances:
        return {}
    random = Random(SEED)
    some = trials if len(trials) <= MOST_SHUFFLED else random.sample(trials, MOST_SHUFFLED)
    levels = dict.fromkeys(list(importances)[1:], 0.0)
    for _ in range(SHUFFLES):
        shares = _shares(distributions, _with_shuffled_values(some, levels, random), FEWEST_TREES)
        levels = {name: max(level, shares.get(name, 0.0)) for name, level in levels.items()}
    return levels


def _with_shuffled_values(trials: Sequence[Scored], names: Iterable[str], random: Random) -> list[Scored]:
    parameters = [dict(trial.parameters) for trial in trials]
    for name in names:
        having = [each for each in parameters if name in each]
        values = random.sample([each[name] for each in having], len(having))
        for each, value in zip(having, values, strict=True):
            each[name] = value
    return [Scored(each, trial.score) for each, trial in zip(parameters, trials, strict=True)]


def _shares(
    distributions: Mapping[str, BaseDistribution], trials: Sequence[Scored], trees: int
) -> dict[str, float]:
    always = [name for name in distributions if all(name in trial.parameters for trial in trials)]
    explained = _explained(distributions, always, trials, trees)
    for name in distributions:
        having = [trial for trial in trials if name in trial.parameters]
        if name not in always and _enough(having):
            there = [each for each in distributions if all(each in trial.parameters for trial in having)]
            weight = len(having) / len(trials)
            explained[name] = weight * _explained(distributions, there, having, trees)[name]
    total = sum(explained.values())
    ranked = sorted(explained.items(), key=lambda item: -item[1])
    return {name: value / total for name, value in ranked} if total > 0 else {}


def predictability(distributions: Mapping[str, BaseDistribution], trials: Sequence[Scored]) -> float | None:
    """Return the share of the score's variance that a forest predicts of trials it has not seen; at most 1.

    Around 0 or below, no importance means anything. None where there are too few trials.
    """
    if not _enough(trials):
        return None
    from sklearn.ensemble import RandomForestRegressor  # type: ignore[import-untyped]

    rows = [
        [_number(each, trial.parameters.get(name)) for name, each in distributions.items()]
        for trial in trials
    ]
    forest = RandomForestRegressor(MOST_TREES, oob_score=True, min_samples_leaf=2, random_state=SEED)
    return float(forest.fit(rows, [trial.score for trial in trials]).oob_score_)


def _number(distribution: BaseDistribution, parameter: Any) -> float:
    """Return a parameter as a number that keeps its order; a field that is not there is below all others."""
    if parameter is None:
        return ABSENT
    inner = distribution.to_internal_repr(parameter)
    return _exponent(inner) if is_log(distribution) else float(inner)


def mean_importances(by_cell: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the mean over the cells that have any, the largest first; they still add up to 1.

    A field that a cell leaves out counts as 0 there.
    """
    cells = [importances for importances in by_cell if importances]
    names = dict.fromkeys(name for importances in cells for name in importances)
    means = {name: math.fsum(each.get(name, 0.0) for each in cells) / len(cells) for name in names}
    return dict(sorted(means.items(), key=lambda item: -item[1]))


def _enough(trials: Sequence[Scored]) -> bool:
    return len(trials) >= FEWEST_TRIALS and len({trial.score for trial in trials}) > 1


def _explained(
    distributions: Mapping[str, BaseDistribution],
    names: Sequence[str],
    trials: Sequence[Scored],
    trees: int,
) -> dict[str, float]:
    """Return the variance of the score that each of these fields explains by itself; all trials have them."""
    import warnings

    from optuna.exceptions import ExperimentalWarning
    from optuna.importance import FanovaImportanceEvaluator, get_param_importances

    if not names:
        return {}
    forest = FanovaImportanceEvaluator(n_trees=trees, seed=SEED)
    study = _study({name: distributions[name] for name in names}, trials)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)  # of shares that do not add up to 1
        shares = get_param_importances(study, evaluator=forest, normalize=False)
    variance = pvariance([trial.score for trial in trials])
    return {name: variance * shares[name] for name in names}


def _study(distributions: Mapping[str, BaseDistribution], trials: Sequence[Scored]) -> Study:
    """Return a study in memory that holds these fields of the trials."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(direction="maximize")
    even = {name: _even(distribution) for name, distribution in distributions.items()}
    study.add_trials(
        optuna.trial.create_trial(
            params={
                name: _exponent(trial.parameters[name]) if is_log(each) else trial.parameters[name]
                for name, each in distributions.items()
            },
            distributions=even,
            value=trial.score,
        )
        for trial in trials
    )
    return study


def is_log(distribution: BaseDistribution) -> bool:
    """Whether a range is searched by factors."""
    return bool(getattr(distribution, "log", False))


def _even(distribution: BaseDistribution) -> BaseDistribution:
    """Return the range on the scale on which it is searched evenly."""
    from optuna.distributions import FloatDistribution, IntDistribution

    if not is_log(distribution):
        return distribution
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    return FloatDistribution(_exponent(distribution.low), _exponent(distribution.high))


def _exponent(value: float) -> float:
    return math.log10(value)
