from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from shapeft_tune.data.labels import labelled_patches
from shapeft_tune.data.pastis import Patch

patches = st.sets(st.integers(0, 99_999), min_size=1, max_size=60).map(
    lambda ids: [Patch(id, 1, (0,)) for id in ids]
)
fractions = st.floats(0.001, 1)
MANY = [Patch(id, 1, (0,)) for id in range(200)]


@given(patches, fractions, st.integers(0, 9))
def test_the_count_is_the_rounded_share_and_at_least_one(many, fraction, seed):
    chosen = labelled_patches(many, fraction, seed)
    assert len(set(chosen)) == len(chosen) == max(1, round(fraction * len(many)))
    assert set(chosen) <= set(many)


@given(patches, fractions, fractions, st.integers(0, 9))
def test_a_smaller_share_lies_in_a_larger_one(many, one, other, seed):
    small, large = sorted((one, other))
    assert set(labelled_patches(many, small, seed)) <= set(labelled_patches(many, large, seed))


@given(patches, fractions, st.randoms())
def test_the_order_in_which_patches_come_does_not_matter(many, fraction, random):
    mixed = random.sample(many, len(many))
    assert labelled_patches(mixed, fraction, 0) == labelled_patches(many, fraction, 0)


def test_another_seed_labels_other_patches():
    assert labelled_patches(MANY, 0.1, 0) != labelled_patches(MANY, 0.1, 1)


def test_every_patch_is_labelled_about_equally_often():
    often = Counter(patch.id for seed in range(400) for patch in labelled_patches(MANY, 0.1, seed))
    expected, tolerance = 40, 6 * (400 * 0.1 * 0.9) ** 0.5  # six standard deviations of a binomial
    assert all(abs(often[patch.id] - expected) < tolerance for patch in MANY)


def test_the_choice_is_the_same_in_every_version():
    assert [patch.id for patch in labelled_patches(MANY, 0.02, 0)] == [21, 61, 111, 196]
