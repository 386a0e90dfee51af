"""Intervals and tests in simulated studies whose truth is known; ``benchmarks/coverage.py`` has the worlds.

The numbers are the same at every run. More studies, and two seeds: ``python -m benchmarks.coverage``.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.coverage import WORLDS, World, any_told_apart, coverage

STUDIES = 1000


@pytest.mark.parametrize("seeds", [3, 5])
@pytest.mark.parametrize("world", WORLDS, ids=lambda world: world.name)
def test_the_intervals_of_a_mean_and_of_a_difference_hold_the_truth_in_92_to_98_of_100_studies(
    world: World, seeds: int
) -> None:
    found = coverage(world, seeds, STUDIES, np.random.default_rng(seeds))
    assert 0.92 <= found.mean <= 0.98
    assert 0.92 <= found.difference <= 0.98


@pytest.mark.parametrize("world", [WORLDS[0], WORLDS[2]], ids=lambda world: world.name)
def test_so_they_do_with_ten_seeds(world: World) -> None:
    found = coverage(world, 10, STUDIES // 2, np.random.default_rng(10))
    assert 0.92 <= found.mean <= 0.98
    assert 0.92 <= found.difference <= 0.98


@pytest.mark.parametrize(("seeds", "studies"), [(3, 1000), (5, 600)])
def test_of_strategies_that_are_all_the_same_none_is_told_apart_in_95_of_100_studies(
    seeds: int, studies: int
) -> None:
    wrong = any_told_apart(WORLDS[1], 5, seeds, studies, np.random.default_rng(1))
    assert wrong <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / studies)


def test_a_better_strategy_is_told_apart_and_the_more_surely_the_more_seeds_there_are() -> None:
    world = replace(WORLDS[1], better=0.3)
    power = [any_told_apart(world, 2, seeds, 400, np.random.default_rng(2)) for seeds in (3, 5)]
    assert power[0] > 0.35
    assert power[1] > 0.8
