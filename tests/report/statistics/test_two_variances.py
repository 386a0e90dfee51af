from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import integrate, stats

from shapeft_tune.report.statistics.two_variances import Part, quantile, tail


def by_convolution(error: float, first: Part, second: Part) -> float:
    """Return the same tail as an integral over the second deviate's density."""
    one, other = np.sqrt(first[0]), np.sqrt(second[0])

    def beyond(deviate: float) -> float:
        upper = stats.t.sf((error - other * deviate) / one, first[1])
        lower = stats.t.cdf((-error - other * deviate) / one, first[1])
        return float(stats.t.pdf(deviate, second[1]) * (upper + lower))

    return float(integrate.quad(beyond, -60, 60, points=[0], epsabs=1e-13, epsrel=1e-9, limit=500)[0])


@pytest.mark.parametrize(("first", "second"), list(itertools.product((1, 2, 4, 9), (20, 495, 2432))))
def test_the_tail_is_that_of_the_sum_of_two_students(first: int, second: int) -> None:
    for variance, error in itertools.product((0.1, 1, 100), (0.5, 2, 5, 30)):
        size = error * np.sqrt(1 + variance)
        expected = by_convolution(size, (1, first), (variance, second))
        assert tail(size, (1, first), (variance, second)) == pytest.approx(expected, rel=1e-3, abs=1e-8)


def test_the_tail_is_that_of_simulated_deviates() -> None:
    chance = np.random.default_rng(0)
    deviates = 0.02 * chance.standard_t(2, 10**6) + 0.03 * chance.standard_t(40, 10**6)
    for error in (0.02, 0.1, 0.3):
        share = float((np.abs(deviates) >= error).mean())
        assert tail(error, (0.02**2, 2), (0.03**2, 40)) == pytest.approx(share, rel=0.03)


@pytest.mark.parametrize("freedom", [1, 2, 4, 9])
def test_a_variance_alone_is_students(freedom: int) -> None:
    for first, second in (((0.04, freedom), (0.0, 7)), ((0.0, 7), (0.04, freedom))):
        assert quantile(0.95, first, second) == pytest.approx(0.2 * stats.t.ppf(0.975, freedom))
        assert tail(0.5, first, second) == pytest.approx(2 * stats.t.sf(2.5, freedom))


def test_a_variance_that_hardly_counts_changes_hardly_anything() -> None:
    assert quantile(0.95, (1, 2), (1e-9, 495)) == pytest.approx(stats.t.ppf(0.975, 2), rel=1e-4)
    assert quantile(0.95, (1e-9, 2), (1, 495)) == pytest.approx(stats.t.ppf(0.975, 495), rel=1e-4)


@pytest.mark.parametrize("confidence", [0.95, 0.99, 1 - 0.05 / 200])
@pytest.mark.parametrize("variance", [1e-4, 0.3, 1, 50])
@pytest.mark.parametrize("freedom", [1, 2, 9])
def test_the_quantile_is_exceeded_as_rarely_as_asked(
    freedom: int, variance: float, confidence: float
) -> None:
    parts = (1.0, freedom), (variance, 495)
    assert tail(quantile(confidence, *parts), *parts) == pytest.approx(1 - confidence, rel=1e-6)


def test_without_any_variance_the_mean_is_certain() -> None:
    assert quantile(0.95, (0.0, 2), (0.0, 9)) == 0
    assert tail(0.0, (0.0, 2), (0.0, 9)) == 1
    assert tail(0.1, (0.0, 2), (0.0, 9)) == 0
