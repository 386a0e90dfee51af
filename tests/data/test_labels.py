from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from shapeft_tune.data.labels import labelled_patches, shuffled, stratified
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


@st.composite
def surveys(draw):
    """Patches with the pixels of five classes, some of them rare."""
    many = draw(patches)
    chance = np.random.default_rng(draw(st.integers(0, 99)))
    shares = np.array([0.6, 0.3, 0.07, 0.02, 0.01])
    return many, {patch.id: chance.multinomial(chance.integers(1, 60), shares).tolist() for patch in many}


@given(surveys(), fractions, fractions, st.integers(0, 9))
def test_stratified_shares_are_nested_and_of_the_same_size(survey, one, other, seed):
    many, pixels = survey
    small, large = (labelled_patches(many, share, seed, pixels) for share in sorted((one, other)))
    assert set(small) <= set(large)
    assert len(large) == len(labelled_patches(many, max(one, other), seed))


@given(surveys(), fractions, st.randoms())
def test_a_stratified_draw_does_not_depend_on_the_order_in_which_patches_come(survey, fraction, random):
    many, pixels = survey
    mixed = random.sample(many, len(many))
    assert labelled_patches(mixed, fraction, 0, pixels) == labelled_patches(many, fraction, 0, pixels)


@given(surveys(), st.integers(0, 9))
def test_every_class_is_there_as_soon_as_there_are_as_many_patches_as_classes(survey, seed):
    many, pixels = survey
    order = stratified(shuffled(many, str(seed)), pixels)
    occurring = np.array(list(pixels.values())).sum(axis=0) > 0
    first = sum(np.array(pixels[patch.id]) for patch in order[: occurring.sum()])
    assert ((first > 0) == occurring).all()


def uneven_survey():
    """200 patches in which each class gathers in some places, as crops do."""
    chance = np.random.default_rng(5)
    shares = chance.dirichlet([2.0, 1.0, 0.5, 0.2, 0.1, 0.02], size=len(MANY))
    return {
        patch.id: chance.multinomial(1000, share).tolist() for patch, share in zip(MANY, shares, strict=True)
    }


def test_stratified_classes_are_closer_to_the_whole_than_random_ones():
    pixels = uneven_survey()
    whole = np.array(list(pixels.values())).sum(axis=0)

    def distance(seed, drawn_by):
        chosen = sum(np.array(pixels[patch.id]) for patch in labelled_patches(MANY, 0.1, seed, drawn_by))
        return np.abs(chosen / chosen.sum() - whole / whole.sum()).sum()

    stratified_ones, random_ones = ([distance(seed, by) for seed in range(20)] for by in (pixels, None))
    assert max(stratified_ones) < np.median(random_ones)
    assert np.mean(stratified_ones) < 0.5 * np.mean(random_ones)


def test_another_seed_labels_other_patches_when_stratified_too():
    pixels = uneven_survey()
    first, second = (set(labelled_patches(MANY, 0.1, seed, pixels)) for seed in (0, 1))
    assert len(first & second) < len(first) / 2
