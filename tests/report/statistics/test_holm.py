from __future__ import annotations

import numpy as np
import pytest

from shapeft_tune.report.statistics.holm import holm


def test_the_adjusted_p_values_are_those_of_a_worked_example() -> None:
    # Four tests: 4 x 0.005, 3 x 0.01, 2 x 0.03, 1 x 0.04 raised to the one before it
    tested = holm([0.01, 0.04, 0.03, 0.005])
    assert [each.p_value for each in tested] == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert [each.rejected for each in tested] == [True, False, False, True]


def test_an_interval_has_the_level_at_which_its_test_was_decided() -> None:
    tested = holm([0.01, 0.04, 0.03, 0.005])
    # The last two were never tested at 5 %: the procedure stopped at 0.03 > 5 % / 2
    assert [each.confidence for each in tested] == pytest.approx([1 - 0.05 / 3, 0.975, 0.975, 0.9875])


def test_a_test_rejects_exactly_where_its_p_value_is_below_its_own_level() -> None:
    chance = np.random.default_rng(0)
    for count in (1, 2, 5, 18):
        for _ in range(50):
            p_values = (chance.random(count) ** 4).tolist()
            for p_value, test in zip(p_values, holm(p_values), strict=True):
                assert test.rejected == (p_value <= 1 - test.confidence)


def test_one_test_is_not_adjusted() -> None:
    (test,) = holm([0.04])
    assert (test.p_value, test.rejected) == (0.04, True)
    assert test.confidence == pytest.approx(0.95)


def test_p_values_stay_probabilities_and_nothing_is_adjusted_to_nothing() -> None:
    assert [each.p_value for each in holm([0.5, 0.9])] == [1.0, 1.0]
    assert holm([]) == []
