from __future__ import annotations

import numpy as np

from shapeft_tune.report.counts import PatchCounts
from shapeft_tune.report.statistics.scored import scored_patches


def part(ids: tuple[str, ...], first: int, classes: tuple[str, ...] = ("a", "b")) -> PatchCounts:
    """Return matrices ``[[n, 1], [2, 3]]`` whose first count, from ``first`` on, tells the patch."""
    counts = [[[first + place, 1], [2, 3]] for place in range(len(ids))]
    return PatchCounts.of(ids, classes, np.array(counts))


def test_patches_come_by_id_whatever_their_order_was_under_a_seed() -> None:
    scored = scored_patches({2: [part(("7", "3"), 10)], 1: [part(("3", "7"), 20)]})
    assert scored is not None
    assert (scored.seeds, scored.patches, scored.class_names) == ((1, 2), ("3", "7"), ("a", "b"))
    assert scored.hit_SNK[..., 0].tolist() == [[20, 21], [11, 10]]
    assert scored.target_SNK[0].tolist() == [[21, 5], [22, 5]]
    assert scored.predicted_SNK[0].tolist() == [[22, 4], [23, 4]]


def test_the_patches_of_all_folds_of_a_seed_are_put_together() -> None:
    scored = scored_patches({1: [part(("9",), 5), part(("1", "4"), 6)]})
    assert scored is not None
    assert scored.patches == ("1", "4", "9")
    assert scored.hit_SNK[0, :, 0].tolist() == [6, 7, 5]


def test_a_seed_with_other_patches_or_classes_is_left_out() -> None:
    usual = part(("1", "2"), 5)
    assert scored_patches({1: [usual], 2: [part(("1", "3"), 5)]}).seeds == (1,)  # type: ignore[union-attr]
    other = part(("1", "2"), 5, ("a", "c"))
    assert scored_patches({1: [usual], 2: [other], 3: [usual]}).seeds == (1, 3)  # type: ignore[union-attr]


def test_without_seeds_there_is_nothing() -> None:
    assert scored_patches({}) is None


def test_the_draws_for_some_seeds_are_those_columns() -> None:
    scored = scored_patches({seed: [part(("1", "2", "3"), 5 * seed)] for seed in (1, 2, 3)})
    assert scored is not None
    assert (scored.miou_drawn_for([3, 1]) == scored.replicates.miou_BS[:, [2, 0]]).all()
