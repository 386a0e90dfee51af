"""How long the trials of a cell are, and which is the largest."""

from __future__ import annotations

from shapeft_tune.tune.planning.demand import demand_of
from tests.tune.small import SMALL, small


def test_steps_are_those_of_the_longest_trial_and_the_batch_is_the_largest() -> None:
    searched = {"training.steps": {"choice": [8, 40]}, "training.batch_size": {"choice": [2, 4]}}
    demand = demand_of(small(search=searched).cells[0])
    assert (demand.steps, demand.steps_vary) == (40, True)
    assert demand.largest.training.batch_size == 4
    assert not demand_of(small().cells[0]).steps_vary


def test_a_batch_of_whole_patches_is_larger_than_one_of_crops() -> None:
    searched = {"data.augmentation.crop": {"choice": [8, None]}}
    assert demand_of(small(search=searched).cells[0]).largest.data.augmentation.crop is None


def test_options_that_cannot_occur_are_not_counted() -> None:
    searched = {"training.steps": {"choice": [8, 40]}}
    cell = small(search=searched, constraints=["training.steps <= 10"]).cells[0]
    assert (demand_of(cell).steps, demand_of(cell).steps_vary) == (8, False)


def test_the_longest_trial_says_how_often_it_is_validated() -> None:
    base = SMALL["base"] | {"validation": {"every": 2}}
    assert demand_of(small(base=base).cells[0]).every == 2
