"""How often the report's 95 % intervals hold the truth, where the truth is known.

    python -m benchmarks.coverage

Worlds are simulated in which a score differs by the seed, by the patch of land, and by both together. In each
of many simulated studies, a mean mIoU and a difference of two strategies are estimated with the report's own
code, from a few seeds and some patches, and held against what all seeds and all of the land would give.

Legend: Z studies, G strategies, S seeds, N patches, K classes, B draws.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats  # type: ignore[import-untyped]

from shapeft_tune.report.statistics.estimate import Estimate, estimate
from shapeft_tune.report.statistics.holm import holm
from shapeft_tune.report.statistics.pooled import Floats, iou_of, mean_iou
from shapeft_tune.report.statistics.resampling import resampled

SHARES_K = (0.45, 0.25, 0.15, 0.10, 0.05)
"""Of the land, by class."""
CLUMPING = 4.0
"""Of the classes in patches: a Dirichlet distribution's sum; 4 leaves most patches without the rare ones."""
DRAWS = 400
"""Fewer than a report's, which only makes the intervals less exact."""
STUDIES_AT_A_TIME = 50
TRUE_PATCHES = 100_000
"""That all of the land is made of."""


@dataclass(frozen=True)
class World:
    """What scores depend on. Effects are deviations of the log-odds that a pixel's class is found."""

    name: str
    seed: float
    """By the training, for each strategy its own."""
    patch: float
    """By the patch, shared by all strategies and seeds."""
    taste: float = 0.3
    """By the patch, for each strategy its own: one copes with some land better than another."""
    seed_on_patch: float = 0.3
    """By the training on the patch."""
    subset: float = 0.05
    """By the seed, shared by all strategies: it chooses the labels that all learn from."""
    patches: int = 100
    better: float = 0.0
    """By how much the log-odds of each strategy exceed those of the one before it."""


WORLDS = (
    World("seeds vary most", seed=0.40, patch=0.3, taste=0.1, seed_on_patch=0.1),
    World("seeds and patches vary alike", seed=0.10, patch=0.8),
    World("patches vary most", seed=0.02, patch=1.2, taste=0.8),
    World("seeds vary by patch", seed=0.05, patch=0.5, seed_on_patch=1.0),
)


@dataclass(frozen=True)
class Coverage:
    """Shares of the studies, of 1."""

    mean: float
    """In which the interval of a mean mIoU holds the truth."""
    difference: float
    """In which that of a paired difference does."""
    percentiles: float
    """In which a mean's would, were it between percentiles of draws of both seeds and patches."""


@dataclass(frozen=True)
class Study:
    """What one simulated study finds."""

    means: list[Estimate]
    """Of each strategy."""
    differences: list[Estimate]
    """Of each but the first to the first, the baseline; then of each but these two to the best one."""
    drawn_BS: Floats
    """The first strategy's mIoU over draws of the patches."""


def coverage(world: World, seeds: int, studies: int, chance: np.random.Generator) -> Coverage:
    """Return how often the intervals hold the truth, of studies of two strategies."""
    truth_G = true_miou(world, 2)
    held = [
        (
            _within(truth_G[0], *study.means[0].interval()),
            _within(truth_G[1] - truth_G[0], *study.differences[0].interval()),
            _within(truth_G[0], *_percentiles(study.drawn_BS, chance)),
        )
        for study in _studies(world, 2, seeds, studies, chance)
    ]
    return Coverage(*np.mean(held, axis=0).tolist())


def any_told_apart(
    world: World,
    strategies: int,
    seeds: int,
    studies: int,
    chance: np.random.Generator,
    p_value: Callable[[Estimate], float] = lambda difference: difference.p_value,
) -> float:
    """Return the share of studies in which a strategy is told apart from the first or from the best one.

    Holm's correction is over all these pairs, as in a report of one setting. Where the strategies are all the
    same, the share is the family-wise error; else it is the power to see any difference.
    """
    return float(
        np.mean(
            [
                any(test.rejected for test in holm([p_value(each) for each in study.differences]))
                for study in _studies(world, strategies, seeds, studies, chance)
            ]
        )
    )


def by_satterthwaite(difference: Estimate) -> float:
    """Return the p-value by a single Student's t with Satterthwaite's degrees of freedom."""
    parts = difference.trainings, difference.land
    freedom = difference.variance**2 / sum(variance**2 / of_part for variance, of_part in parts)
    return float(2 * stats.t.sf(abs(difference.mean) / np.sqrt(difference.variance), freedom))


def true_miou(world: World, strategies: int) -> Floats:
    """Return the mIoU of each strategy over all seeds and all of the land, ``[G]``."""
    chance = np.random.default_rng(1)
    endless = replace(world, patches=TRUE_PATCHES)
    nodes, weights = np.polynomial.hermite_e.hermegauss(9)
    training = nodes * np.hypot(world.seed, world.subset)
    found = [
        _miou(_pixels(endless, np.full((1, strategies, 1), effect), chance))[0, :, 0] for effect in training
    ]
    return np.asarray(np.average(found, axis=0, weights=weights))


def _studies(
    world: World, strategies: int, seeds: int, studies: int, chance: np.random.Generator
) -> Iterator[Study]:
    for first in range(0, studies, STUDIES_AT_A_TIME):
        number = min(STUDIES_AT_A_TIME, studies - first)
        training_ZGS = chance.normal(0, world.seed, (number, strategies, seeds))
        training_ZGS = training_ZGS + chance.normal(0, world.subset, (number, 1, seeds))
        pixels = _pixels(world, training_ZGS, chance)
        miou_ZGS = _miou(pixels)
        hit, target, predicted = (each.reshape(-1, *each.shape[-2:]) for each in pixels)
        drawn_BZGS = resampled(hit, target, predicted, DRAWS).miou_BS.reshape(-1, *miou_ZGS.shape)
        for study in range(number):
            miou_GS, drawn_BGS = miou_ZGS[study], drawn_BZGS[:, study]
            means = _estimates(miou_GS, drawn_BGS, world.patches)
            best = int(np.argmax(miou_GS.mean(axis=1)))
            to_first = [(one, 0) for one in range(1, strategies)]
            to_best = [(one, best) for one in range(1, strategies) if best not in (0, one)]
            ones, others = map(list, zip(*to_first, *to_best, strict=True))
            apart = miou_GS[ones] - miou_GS[others], drawn_BGS[:, ones] - drawn_BGS[:, others]
            yield Study(means, _estimates(*apart, world.patches), drawn_BGS[:, 0])


def _estimates(miou_GS: Floats, drawn_BGS: Floats, patches: int) -> list[Estimate]:
    drawn_GBS = drawn_BGS.swapaxes(0, 1)
    found = [estimate(each, drawn, patches) for each, drawn in zip(miou_GS, drawn_GBS, strict=True)]
    return [each for each in found if each]


def _percentiles(drawn_BS: Floats, chance: np.random.Generator) -> Floats:
    """Return the ends of an interval from draws of the seeds, too, each draw with its own patches."""
    seeds_BS = chance.integers(drawn_BS.shape[1], size=drawn_BS.shape)
    return np.asarray(np.percentile(np.take_along_axis(drawn_BS, seeds_BS, axis=1).mean(axis=1), (2.5, 97.5)))


def _pixels(world: World, training_ZGS: Floats, chance: np.random.Generator) -> tuple[Floats, Floats, Floats]:
    """Return hits, targets and predictions of every training on every patch, each ``[Z, G, S, N, K]``."""
    studies, strategies, seeds = training_ZGS.shape
    kinds = len(SHARES_K)
    land_ZNK = chance.dirichlet(CLUMPING * np.array(SHARES_K), (studies, world.patches))
    hardness = chance.normal(0, world.patch, (studies, 1, 1, world.patches, 1))
    tastes = chance.normal(0, world.taste, (studies, strategies, 1, world.patches, 1))
    noise = chance.normal(0, world.seed_on_patch, (studies, strategies, seeds, world.patches, 1))
    ability = 0.8 + world.better * np.arange(strategies)[:, None, None, None] - 0.2 * np.arange(kinds)
    log_odds = ability + training_ZGS[..., None, None] + hardness + tastes + noise
    target = np.broadcast_to(land_ZNK[:, None, None], log_odds.shape)
    hit = target / (1 + np.exp(-log_odds))
    missed = target - hit
    predicted = hit + (missed.sum(axis=-1, keepdims=True) - missed) / (kinds - 1)
    return hit, target, predicted


def _miou(pixels: tuple[Floats, Floats, Floats]) -> Floats:
    return mean_iou(iou_of(*(each.sum(axis=-2) for each in pixels)))


def _within(truth: float, low: float, high: float) -> bool:
    return bool(low <= truth <= high)


def main() -> None:
    """Print the tables of docs/comparison.md."""
    studies, chance = 2000, np.random.default_rng(0)
    print("| what varies | seeds | mean | difference | mean, by percentiles |\n|---|---|---|---|---|")
    for world in WORLDS:
        for seeds in (2, 3, 5, 10):
            found = coverage(world, seeds, studies, chance)
            shares = (found.mean, found.difference, found.percentiles)
            print(f"| {world.name} | {seeds} | {' | '.join(f'{100 * share:.1f} %' for share in shares)} |")
    print("\n| seeds | told apart though the same | by Satterthwaite's t | told apart |\n|---|---|---|---|")
    alike, better = WORLDS[1], replace(WORLDS[1], better=0.3)
    for seeds in (3, 5, 10):
        shares = (
            any_told_apart(alike, 6, seeds, studies, chance),
            any_told_apart(alike, 6, seeds, studies, chance, by_satterthwaite),
            any_told_apart(better, 2, seeds, studies, chance),
        )
        print(f"| {seeds} | {' | '.join(f'{100 * share:.1f} %' for share in shares)} |")
    lead = true_miou(better, 2)
    print(f"\nThe better one leads by {lead[1] - lead[0]:.3f} mIoU.")


if __name__ == "__main__":
    main()
