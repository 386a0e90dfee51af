from __future__ import annotations

import numpy as np
import pytest

from shapeft_tune.report.statistics.pooled import iou_of, mean_iou
from shapeft_tune.report.statistics.resampling import AT_A_TIME, DRAWS, drawn_weights, resampled
from shapeft_tune.scores import Scores


def matrices(seeds: int, patches: int, classes: int) -> np.ndarray:
    """Return counts ``[S, N, K, K]`` with classes that occur in few patches, and one that occurs in none."""
    chance = np.random.default_rng(3)
    counts = chance.integers(0, 50, (seeds, patches, classes, classes))
    rare = chance.random((patches, classes)) < np.linspace(1, 0.05, classes)
    counts *= rare[None, :, :, None] & rare[None, :, None, :]
    counts[:, :, -1], counts[:, :, :, -1] = 0, 0
    return counts


def margins(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return np.diagonal(counts, axis1=-2, axis2=-1), counts.sum(axis=-1), counts.sum(axis=-2)


def test_every_draw_is_scored_as_the_sum_of_its_patches_matrices() -> None:
    counts = matrices(seeds=2, patches=12, classes=5)
    found = resampled(*margins(counts), draws=300)
    weights = np.concatenate(list(drawn_weights(12, 300)))
    for draw in range(0, 300, 7):
        for seed in range(2):
            patches = np.repeat(np.arange(12), weights[draw].astype(int))
            scores = Scores.of(sum(counts[seed, patch] for patch in patches))
            assert found.miou_BS[draw, seed] == pytest.approx(scores.miou, rel=1e-12)
            iou = [np.nan if each is None else each for each in scores.iou]
            np.testing.assert_allclose(found.iou_BSK[draw, seed], iou, rtol=1e-12)


def test_a_class_that_is_not_among_the_drawn_patches_has_no_iou_there() -> None:
    found = resampled(*margins(matrices(seeds=1, patches=12, classes=5)), draws=300)
    assert np.isnan(found.iou_BSK[:, 0, -1]).all()
    assert 0 < np.isnan(found.iou_BSK[:, 0, -2]).mean() < 1


def test_the_draws_are_with_replacement_and_each_has_as_many_patches_as_there_are() -> None:
    blocks = list(drawn_weights(40))
    weights = np.concatenate(blocks)
    assert weights.shape == (DRAWS, 40)
    assert max(len(block) for block in blocks) <= AT_A_TIME
    assert (weights.sum(axis=1) == 40).all()
    # A patch is drawn Binomial(N, 1 / N) times: 1 on average, with variance 1 - 1 / N
    assert weights.mean(axis=0) == pytest.approx(1, abs=0.1)
    assert weights.var() == pytest.approx(1 - 1 / 40, rel=0.05)


def test_the_draws_are_the_same_for_everything_that_is_scored_on_the_same_patches() -> None:
    one = np.concatenate(list(drawn_weights(40)))
    assert (one == np.concatenate(list(drawn_weights(40)))).all()
    assert (one[:AT_A_TIME] == np.concatenate(list(drawn_weights(40, AT_A_TIME)))).all()


def test_without_any_pixel_the_mean_iou_is_nothing() -> None:
    nothing = np.zeros((2, 3))
    assert mean_iou(iou_of(nothing, nothing, nothing)).tolist() == [0, 0]
