from __future__ import annotations

import math
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError
from scipy import stats

from shapeft_tune.config.log_normal import LogNormal
from shapeft_tune.config.ranges import Range, RangeField


def range_of(written: Any) -> Range:
    made: Range = TypeAdapter(RangeField).validate_python(written)
    return made


def log_normal(**around: Any) -> LogNormal:
    made = range_of({"log_normal": around})
    assert isinstance(made, LogNormal)
    return made


def test_two_thirds_of_a_log_normal_ranges_draws_lie_within_its_factor() -> None:
    random, prior = Random(0), log_normal(median=1e-3, factor=3)
    draws = [prior.draw(random) for _ in range(4000)]
    assert sum(1e-3 / 3 <= draw <= 3e-3 for draw in draws) / 4000 == pytest.approx(0.683, abs=0.02)
    assert sum(draw < 1e-3 for draw in draws) / 4000 == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize("quantile", [0.001, 0.1, 0.5, 0.77, 0.999])
def test_a_quantile_is_scipys(quantile: float) -> None:
    reference = stats.lognorm(s=math.log(4), scale=0.02).ppf(quantile)
    assert log_normal(median=0.02, factor=4).value_at(quantile) == pytest.approx(reference, rel=1e-5)


def test_bounds_cut_a_log_normal_range_and_leave_its_shape() -> None:
    random, prior = Random(0), log_normal(median=1e-3, factor=3, bounds=[5e-4, 2e-3])
    draws = [prior.draw(random) for _ in range(2000)]
    assert 5e-4 <= min(draws) < 5.1e-4
    assert 1.96e-3 < max(draws) <= 2e-3
    cut = stats.truncnorm(
        math.log(0.5) / math.log(3), math.log(2) / math.log(3), loc=math.log(1e-3), scale=math.log(3)
    )
    assert stats.kstest([math.log(draw) for draw in draws], cut.cdf).pvalue > 0.01


@given(st.floats(1e-6, 1e3), st.floats(1.01, 100), st.floats(0.001, 0.999), st.sampled_from([None, 1.5, 1e2]))
def test_a_value_comes_back_from_its_quantile(
    median: float, factor: float, quantile: float, reach: float | None
) -> None:
    bounds = (median / reach, median * reach) if reach else None
    prior = log_normal(median=median, factor=factor, bounds=bounds)
    low, high = prior.quantiles
    value = prior.value_at(low + quantile * (high - low))
    assert prior.holds(value)
    assert prior.value_at(prior.quantile_of(value)) == value


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ({"uniform": [0, 1], "default": 2}, "a value from 0 to 1"),
        ({"int": [1, 9], "step": 4, "default": 2}, "multiple of the step"),
        ({"int": [1, 9], "step": 2, "log": True}, "none beside log: true"),
        ({"int": [0, 9], "log": True}, "bounds above 0"),
        ({"choice": [1, 2], "default": 3}, "one of [1, 2]"),
        ({"grid": [1, 1]}, "different options"),
        ({"log_normal": {"median": 1, "factor": 3, "bounds": [2, 3]}}, "a value from 2 to 3"),
        ({"log_normal": {"median": 1, "factor": 1}}, "greater than 1"),
        ({"log_normal": {"median": 1, "factor": 2}, "default": 1e6}, "a value from"),
        ({"one_of": [{"a": 1, "b": {"c": 1}}, {"a.b": 1, "a": {"b": 2}}]}, "each field once"),
        ({"one_of": [{"a.b": 1}, {"a": {"b": 1}}]}, "different options"),
        ({"one_of": [{}]}, "at least one field"),
        ({"int": [0, 10**30]}, "less than or equal to"),
        ({"log_normal": {"median": 1, "factor": 1e300}}, "less than or equal to 1000000"),
        ({"log_normal": {"median": 1e300, "factor": 2}}, "a value from 1e-100 to 1e100"),
        ({"log_normal": {"median": 5e-324, "factor": 2}}, "a value from 1e-100 to 1e100"),
        ({"choice": [1, 2], "when": {"x": {"y": 1}}}, "when"),
        ({"unifrom": [1, 2], "when": {"x": 1}}, "value"),
    ],
)
def test_an_impossible_range_is_refused(written: Any, expected: str) -> None:
    with pytest.raises(ValidationError) as caught:
        range_of(written)
    assert expected in str(caught.value)


@pytest.mark.parametrize(
    ("written", "points"),
    [
        ({"uniform": [0, 1]}, [0, 0.5, 1]),
        ({"log_uniform": [0.01, 1]}, [0.01, pytest.approx(0.1), 1]),
        ({"int": [1, 4]}, [1, 2, 3, 4]),
        ({"choice": ["a", "b"]}, ["a", "b"]),
        (
            {"log_normal": {"median": 2.0, "factor": 3}},
            [pytest.approx(0.0671, 0.01), 2.0, pytest.approx(59.6, 0.01)],
        ),
    ],
)
def test_points_are_spread_evenly_over_a_range(written: Any, points: list[Any]) -> None:
    assert list(range_of(written).points(3)) == points


def test_a_logarithmic_int_range_draws_small_numbers_as_often_as_large_ones() -> None:
    random, range_ = Random(0), range_of({"int": [1, 1000], "log": True})
    draws = [range_.draw(random) for _ in range(2000)]
    assert sum(draw <= 31 for draw in draws) / 2000 == pytest.approx(0.55, abs=0.05)
    assert {1, 2, 3} < set(draws)
