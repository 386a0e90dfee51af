from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from shapeft_tune.report.statistics.estimate import estimate, land_variance


@pytest.mark.parametrize("count", [2, 3, 5, 20])
def test_without_patches_the_interval_is_students_over_the_seeds(count: int) -> None:
    values = np.random.default_rng(count).normal(0.5, 0.02, count)
    found = estimate(values.tolist())
    assert found is not None
    expected = stats.t.interval(0.95, count - 1, values.mean(), stats.sem(values))
    assert found.interval() == pytest.approx(expected)
    assert found.p_value == pytest.approx(stats.ttest_1samp(values, 0).pvalue)


def test_one_seed_says_nothing_of_its_uncertainty() -> None:
    assert estimate([0.5]) is None
    assert estimate([0.5], np.full((10, 1), 0.5), 20) is None


def test_the_variance_of_the_land_is_that_of_crossed_effects() -> None:
    # Draw b of seed s: land_b + noise_bs. Of a mean over seeds, the noise is known from the seeds as well.
    chance = np.random.default_rng(0)
    land, noise = chance.normal(0, 0.03, (20_000, 1)), chance.normal(0, 0.05, (20_000, 3))
    assert land_variance(0.4 + np.array([0, 0.1, 0.2]) + land + noise) == pytest.approx(0.03**2, rel=0.05)


def test_the_variance_of_the_land_is_never_negative() -> None:
    assert land_variance(np.random.default_rng(1).normal(0, 1, (100, 5)) * [[1, -1, 1, -1, 0]]) >= 0
    assert land_variance(np.array([[1.0, -1.0], [-1.0, 1.0], [2.0, -2.0]])) == 0


def test_of_one_seed_with_patches_all_that_varies_is_taken_for_land() -> None:
    values = np.random.default_rng(2).normal(0, 0.03, (5000, 1))
    assert land_variance(values) == pytest.approx(values.var(ddof=1))


def test_the_land_makes_an_interval_wider_and_never_narrower() -> None:
    values = [0.50, 0.52, 0.51]
    seeds_alone = estimate(values)
    land = np.random.default_rng(3).normal(0.5, 0.01, (2000, 1)) + np.zeros((1, 3))
    both = estimate(values, land, 500)
    assert seeds_alone is not None
    assert both is not None
    assert both.mean == seeds_alone.mean
    assert both.standard_error**2 == pytest.approx(seeds_alone.standard_error**2 + land[:, 0].var(ddof=1))
    assert both.interval()[0] < seeds_alone.interval()[0]
    assert both.interval()[1] > seeds_alone.interval()[1]


def test_seeds_that_agree_leave_the_uncertainty_of_the_land() -> None:
    land = np.random.default_rng(4).normal(0.5, 0.01, (2000, 1)) + np.zeros((1, 3))
    found = estimate([0.5, 0.5, 0.5], land, 500)
    assert found is not None
    reach = stats.t.ppf(0.975, 499) * land[:, 0].std(ddof=1)
    assert found.interval() == pytest.approx((0.5 - reach, 0.5 + reach))


def test_the_land_has_one_degree_of_freedom_less_than_there_are_patches() -> None:
    found = estimate([0.5, 0.5], np.array([[0.4, 0.4], [0.6, 0.6]]), 3)
    assert found is not None
    assert found.land == (pytest.approx(0.02), 2)
    reach = stats.t.ppf(0.975, 2) * np.sqrt(0.02)
    assert found.interval() == pytest.approx((0.5 - reach, 0.5 + reach))


@pytest.mark.parametrize("values", [(0.5, 0.5), (0.1 + 0.2, 0.3), (0.0, 0.0, 0.0)])
def test_what_is_the_same_but_for_rounding_does_not_vary(values: tuple[float, ...]) -> None:
    found, other = estimate(values), estimate([*values[:-1], values[-1] + 1e-6])
    assert found is not None
    assert other is not None
    assert (found.varies, other.varies) == (False, True)
