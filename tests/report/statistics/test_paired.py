from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from shapeft_tune.report.counts import PatchCounts
from shapeft_tune.report.statistics.paired import paired
from shapeft_tune.report.statistics.scored import ScoredPatches, scored_patches
from shapeft_tune.scores import Scores

SEEDS = (1, 2, 3)


def patches_of(seeds: tuple[int, ...], found: float, ids: int = 80) -> ScoredPatches:
    """Return patches in which a share of the pixels is found that differs by patch, not by strategy."""
    hardness = np.random.default_rng(0).uniform(-0.3, 0.3, ids)
    pixels = np.random.default_rng(1).integers(100, 900, (ids, 2))
    parts = {}
    for seed in seeds:
        hit = np.round(pixels * (found + 0.002 * seed + hardness)[:, None]).astype(int)
        missed = pixels - hit
        counts = np.stack([np.diag(each) for each in hit])
        counts[:, 0, 1], counts[:, 1, 0] = missed[:, 0], missed[:, 1]
        names = tuple(f"{number:03}" for number in range(ids))
        parts[seed] = [PatchCounts.of(names, ("a", "b"), counts)]
    scored = scored_patches(parts)
    assert scored is not None
    return scored


def miou_of(scored: ScoredPatches) -> dict[int, float]:
    found = {}
    for row, seed in enumerate(scored.seeds):
        hit, target = scored.hit_SNK[row].sum(axis=0), scored.target_SNK[row].sum(axis=0)
        counts = np.diag(hit)
        counts[0, 1], counts[1, 0] = (target - hit).tolist()
        found[seed] = Scores.of(counts).miou
    return found


def test_patches_that_are_hard_for_both_do_not_blur_the_difference() -> None:
    one, other = patches_of(SEEDS, 0.55), patches_of(SEEDS, 0.5)
    found = paired(miou_of(one), miou_of(other), one, other)
    assert found is not None
    assert found.estimate is not None
    alone = np.hypot(one.replicates.miou_BS.std(axis=0)[0], other.replicates.miou_BS.std(axis=0)[0])
    assert found.over_patches
    assert found.estimate.standard_error < 0.2 * alone


def test_only_the_seeds_that_both_have_are_compared() -> None:
    found = paired({1: 0.5, 2: 0.6, 3: 0.9}, {2: 0.4, 1: 0.35, 7: 0.1})
    assert found is not None
    assert (found.seeds, found.mean) == ((1, 2), pytest.approx(0.175))
    assert found.estimate is not None
    assert found.estimate.p_value == pytest.approx(stats.ttest_rel([0.5, 0.6], [0.35, 0.4]).pvalue)
    assert not found.over_patches


def test_one_common_seed_gives_a_difference_without_its_uncertainty() -> None:
    found = paired({1: 0.5, 2: 0.6}, {1: 0.4})
    assert found is not None
    assert (found.mean, found.estimate) == (pytest.approx(0.1), None)


def test_without_a_common_seed_there_is_no_difference() -> None:
    assert paired({1: 0.5}, {2: 0.4}) is None


def test_seeds_without_patches_count_beside_those_with_them() -> None:
    one, other = patches_of(SEEDS, 0.55), patches_of(SEEDS[:2], 0.5)
    miou = miou_of(other) | {3: 0.31}
    found = paired(miou_of(one), miou, one, other)
    assert found is not None
    assert found.estimate is not None
    assert found.seeds == SEEDS
    assert found.over_patches
    apart = [miou_of(one)[seed] - miou[seed] for seed in SEEDS]
    assert found.estimate.trainings == (pytest.approx(np.var(apart, ddof=1) / 3), 2)


def test_other_patches_are_never_paired() -> None:
    one, other = patches_of(SEEDS, 0.55), patches_of(SEEDS, 0.5, ids=79)
    found = paired(miou_of(one), miou_of(other), one, other)
    assert found is not None
    assert not found.over_patches
