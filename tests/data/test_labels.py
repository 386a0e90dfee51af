from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shapeft_tune.config.data import DataConfig
from shapeft_tune.data.folder import Patch
from shapeft_tune.data.labels import Draw, draw_labels, labelled_patches, oversampled

patches = st.sets(st.integers(0, 99_999), min_size=1, max_size=60).map(
    lambda ids: [Patch(id, 1, (0,)) for id in ids]
)
fractions = st.floats(0.001, 1)
draws = st.sampled_from(get_args(Draw))
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


@given(surveys(), draws, fractions, fractions, st.integers(0, 9))
def test_however_drawn_shares_are_nested_and_of_the_same_size(survey, draw, one, other, seed):
    many, pixels = survey
    small, large = (labelled_patches(many, share, seed, draw, pixels) for share in sorted((one, other)))
    assert set(small) <= set(large)
    assert len(set(large)) == len(large) == len(labelled_patches(many, max(one, other), seed))


@given(surveys(), draws, fractions, st.randoms())
def test_however_drawn_the_order_in_which_patches_come_does_not_matter(survey, draw, fraction, random):
    many, pixels = survey
    mixed = random.sample(many, len(many))
    mixed_pixels = {patch.id: pixels[patch.id] for patch in mixed}
    assert labelled_patches(mixed, fraction, 0, draw, mixed_pixels) == labelled_patches(
        many, fraction, 0, draw, pixels
    )


@given(surveys(), fractions, st.integers(0, 9))
def test_every_class_is_there_as_soon_as_there_are_as_many_patches_as_classes(survey, fraction, seed):
    many, pixels = survey
    occurring = pixels_in(many, pixels) > 0
    labelled = labelled_patches(many, fraction, seed, "stratified", pixels)
    if len(labelled) >= occurring.sum():
        assert ((pixels_in(labelled, pixels) > 0) == occurring).all()


def pixels_in(patches: Sequence[Patch], pixels):
    return np.array([pixels[patch.id] for patch in patches]).sum(axis=0)


def uneven_survey():
    """200 patches in which each class gathers in some places, as crops do."""
    chance = np.random.default_rng(5)
    shares = chance.dirichlet([2.0, 1.0, 0.5, 0.2, 0.1, 0.02], size=len(MANY))
    return {
        patch.id: chance.multinomial(1000, share).tolist() for patch, share in zip(MANY, shares, strict=True)
    }


def distance(labelled, many, pixels):
    """How far the classes' shares are from the whole's: half the sum of differences, between 0 and 1."""
    part, whole = pixels_in(labelled, pixels), pixels_in(many, pixels)
    return np.abs(part / part.sum() - whole / whole.sum()).sum() / 2


def distances(draw, many, pixels, seeds=20):
    return [distance(labelled_patches(many, 0.1, seed, draw, pixels), many, pixels) for seed in range(seeds)]


def test_stratified_classes_are_closer_to_the_whole_than_random_ones():
    pixels = uneven_survey()
    stratified_ones, random_ones = (distances(draw, MANY, pixels) for draw in ("stratified", "random"))
    assert max(stratified_ones) < np.median(random_ones)
    assert np.mean(stratified_ones) < 0.5 * np.mean(random_ones)


@settings(max_examples=40, deadline=None)
@given(st.integers(100, 300), st.integers(3, 12), st.floats(0.5, 5), st.integers(0, 99))
def test_whatever_the_survey_stratified_classes_are_closer_on_average(count, classes, evenness, seed):
    """Where no class is so rare that one patch of it is too much."""
    chance = np.random.default_rng(seed)
    many = [Patch(id, 1, (0,)) for id in range(count)]
    sizes = evenness * (0.2 + chance.random(classes))
    pixels = {patch.id: chance.multinomial(1000, chance.dirichlet(sizes)).tolist() for patch in many}
    stratified_ones, random_ones = (distances(draw, many, pixels, 8) for draw in ("stratified", "random"))
    assert np.mean(stratified_ones) < np.mean(random_ones)


def pastis_like_survey(seed):
    """1455 patches of 19 classes, a few in each, the rarest in one patch of fifty: as many as PASTIS has."""
    chance = np.random.default_rng(seed)
    many = [Patch(id, 1, (0,)) for id in range(1455)]
    shares = 1 / np.arange(1, 20) ** 1.5
    pixels = [chance.multinomial(14_000, chance.dirichlet(0.8 * shares / shares.sum())) for _ in many]
    return many, {patch.id: of_patch.tolist() for patch, of_patch in zip(many, pixels, strict=True)}


@pytest.mark.parametrize("seed", range(5))
def test_one_percent_of_a_survey_of_the_size_of_pastis_has_every_class(seed):
    many, pixels = pastis_like_survey(seed)
    labelled = labelled_patches(many, 0.01, seed, "stratified", pixels)
    assert len(labelled) == 15  # fewer than classes: some patches must serve several
    assert (pixels_in(labelled, pixels) > 0).all()
    random_ones = [labelled_patches(many, 0.01, seed) for seed in range(20)]
    assert any((pixels_in(those, pixels) == 0).any() for those in random_ones)


@pytest.mark.parametrize("draw", get_args(Draw))
def test_however_drawn_another_seed_labels_other_patches(draw):
    pixels = uneven_survey()
    first, second = (set(labelled_patches(MANY, 0.1, seed, draw, pixels)) for seed in (0, 1))
    assert len(first & second) < len(first) / 2


def test_rare_classes_have_more_of_the_oversampled_patches_than_of_random_ones():
    pixels = uneven_survey()
    rarest = pixels_in(MANY, pixels).argmin()
    shares = {
        draw: [
            (part := pixels_in(labelled_patches(MANY, 0.05, seed, draw, pixels), pixels))[rarest] / part.sum()
            for seed in range(20)
        ]
        for draw in ("oversampled", "random", "stratified")
    }
    assert np.mean(shares["oversampled"]) > 3 * np.mean(shares["random"])
    assert np.mean(shares["oversampled"]) > 3 * np.mean(shares["stratified"])


def test_the_first_oversampled_patch_is_as_likely_as_a_pixel_of_it_when_classes_are_drawn_evenly():
    many = [Patch(id, 1, (0,)) for id in range(4)]
    pixels = {0: (90, 0), 1: (10, 0), 2: (0, 1), 3: (100, 1)}
    first = Counter(oversampled(many, pixels, seed)[0].id for seed in range(4000))
    expected = {0: 90 / 200 / 2, 1: 10 / 200 / 2, 2: 1 / 2 / 2, 3: (100 / 200 + 1 / 2) / 2}
    for id, chance in expected.items():
        assert abs(first[id] / 4000 - chance) < 5 * (chance * (1 - chance) / 4000) ** 0.5


def test_oversampled_patches_of_nothing_but_void_come_last():
    many = [Patch(id, 1, (0,)) for id in range(9)]
    pixels = {patch.id: (5, 1) if patch.id % 3 else (0, 0) for patch in many}
    assert {patch.id for patch in oversampled(many, pixels, 0)[-3:]} == {0, 3, 6}


def test_the_classes_choice_is_the_same_in_every_version():
    pixels = {patch.id: ((patch.id * 7) % 50, patch.id % 11 == 3) for patch in MANY}
    assert [patch.id for patch in labelled_patches(MANY, 0.02, 0, "stratified", pixels)] == [21, 35, 84, 157]
    assert [patch.id for patch in labelled_patches(MANY, 0.02, 0, "oversampled", pixels)] == [
        111,
        157,
        190,
        191,
    ]


# What a trial may learn from, on disk


def asked(draw: Draw = "stratified", fraction: float = 0.25) -> DataConfig:
    return DataConfig(dataset="sample", labels=draw, label_fraction=fraction)


@pytest.mark.parametrize("draw", get_args(Draw))
def test_the_labelled_patches_are_not_the_first_of_the_file(generated, draw: Draw):
    """A draw whose criterion is the same for every patch takes them as they come."""
    train = generated.in_folds((1, 2, 3))
    for seed in range(3):
        labelled = draw_labels(asked(draw), seed, generated).patches
        assert labelled != train[: len(labelled)]


def test_neither_seed_nor_draw_is_forgotten_by_what_trials_share(generated, tmp_path: Path):
    folder = replace(generated, facts=tmp_path)
    asked_for = [(draw, seed) for draw in get_args(Draw) for seed in range(3)]
    first, again = (
        [draw_labels(asked(draw), seed, folder).patches for draw, seed in asked_for] for _ in range(2)
    )
    assert first == again == [draw_labels(asked(draw), seed, generated).patches for draw, seed in asked_for]
    assert len(set(first)) == len(asked_for)


@pytest.mark.parametrize("fraction", [0.25, 1.0])
@pytest.mark.parametrize("draw", get_args(Draw))
def test_the_pixels_are_those_of_the_labelled_patches(generated, draw: Draw, fraction: float):
    labelled = draw_labels(asked(draw, fraction), 0, generated)
    targets = np.stack([np.load(generated.target_path(patch))[0] for patch in labelled.patches])
    assert labelled.pixels_K == tuple(np.bincount(targets.ravel(), minlength=20)[:19].tolist())
    assert len(labelled.patches) == fraction * 24


def test_a_random_draw_reads_the_labels_of_drawn_patches_alone(handmade):
    for id in range(1, 9):
        handmade.add(id)
    folder = handmade.opened()
    drawn = labelled_patches(folder.patches, 0.25, 0)
    for patch in set(folder.patches) - set(drawn):
        folder.target_path(patch).unlink()
    assert draw_labels(asked("random"), 0, folder).patches == drawn


def test_folds_without_patches_give_no_labels(handmade):
    folder = handmade.add(1, fold=5).opened()
    for draw in get_args(Draw):
        assert draw_labels(asked(draw), 0, folder).patches == ()
