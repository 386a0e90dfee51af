from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from shapeft_tune.report.statistics.concordance import concordance, ranks_of


def test_the_largest_value_has_rank_one_and_equals_share() -> None:
    assert ranks_of([[0.5, 0.7, 0.5], [0.1, 0.2, 0.3]]).tolist() == [[2.5, 1, 2.5], [3, 2, 1]]


def test_the_same_order_under_every_seed_is_full_concordance() -> None:
    assert concordance(ranks_of([[0.1, 0.2, 0.3], [0.4, 0.5, 0.9]])) == pytest.approx(1)


def test_opposite_orders_are_none() -> None:
    assert concordance(ranks_of([[0.1, 0.2, 0.3], [0.3, 0.2, 0.1]])) == pytest.approx(0)


@pytest.mark.parametrize("ties", [False, True])
def test_kendalls_w_is_that_of_friedmans_test(ties: bool) -> None:
    # W = chi^2 / (S (M - 1)), ties corrected in both (Kendall and Gibbons, Rank correlation methods)
    chance = np.random.default_rng(0)
    for seeds, things in ((3, 3), (5, 4), (10, 6)):
        values_SM = chance.integers(0, 4 if ties else 10**6, (seeds, things))
        statistic, _ = stats.friedmanchisquare(*values_SM.T)
        assert concordance(ranks_of(values_SM)) == pytest.approx(statistic / (seeds * (things - 1)))


def test_there_is_none_with_one_seed_one_thing_or_all_equal() -> None:
    assert concordance(ranks_of([[0.1, 0.2]])) is None
    assert concordance(ranks_of([[0.1], [0.2]])) is None
    assert concordance(ranks_of([[0.1, 0.1], [0.2, 0.2]])) is None
