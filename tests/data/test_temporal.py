from __future__ import annotations

from itertools import combinations, pairwise, product
from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shapeft_tune.config.data import DatePolicy
from shapeft_tune.data.temporal import (
    calendar_frames,
    chosen_frames,
    clear_frames,
    even_frames,
    random_frames,
    slots,
)
from shapeft_tune.errors import DataError

POLICIES = get_args(DatePolicy)
series = st.lists(st.integers(0, 430), min_size=1, max_size=80, unique=True).map(sorted)


@st.composite
def series_and_length(draw, longest=80):
    days = draw(st.lists(st.integers(0, 430), min_size=1, max_size=longest, unique=True).map(sorted))
    return days, draw(st.integers(1, len(days)))


def clouds_of(days, seed=0):
    """Clouds of a few degrees, so that many frames are equally clear."""
    return np.random.default_rng([seed, len(days)]).integers(0, 3, len(days)) / 4


@pytest.mark.parametrize("policy", POLICIES)
@given(days=series, length=st.integers(1, 90), seed=st.integers(0, 9))
def test_frames_ascend_and_are_as_many_as_asked_or_all_and_always_the_same(policy, days, length, seed):
    def chosen():
        chance = np.random.default_rng(seed)
        return chosen_frames(days, length, policy, pad=True, clouds=clouds_of(days), chance=chance)

    frames = chosen()
    assert len(frames) == min(length, len(days))
    assert list(frames) == sorted(set(frames))
    assert set(frames) <= set(range(len(days)))
    assert all(type(frame) is int for frame in frames)
    assert chosen() == frames


@pytest.mark.parametrize("policy", ["even", "last"])
@given(days=series, data=st.data())
def test_fewer_frames_lie_among_more(policy, days, data):
    short, long = sorted(data.draw(st.tuples(st.integers(1, len(days)), st.integers(1, len(days)))))
    assert set(chosen_frames(days, short, policy)) <= set(chosen_frames(days, long, policy))


@given(series_and_length())
def test_no_frame_left_out_is_farther_from_the_chosen_than_they_are_from_each_other(drawn):
    days, length = drawn
    chosen = [days[frame] for frame in even_frames(days, length)]
    apart = min((after - before for before, after in pairwise(chosen)), default=10**6)
    for day in set(days) - set(chosen):
        to_the_ends = 2 * min(day - days[0], days[-1] - day)
        assert min(to_the_ends, *(abs(day - other) for other in chosen)) <= apart


@given(series)
def test_one_frame_is_the_one_nearest_to_the_middle_of_the_season(days):
    middle = (days[0] + days[-1]) / 2
    (frame,) = even_frames(days, 1)
    assert abs(days[frame] - middle) == min(abs(day - middle) for day in days)


@pytest.mark.parametrize(
    ("length", "expected"),
    [(1, [180]), (3, [60, 180, 300]), (5, [60, 120, 180, 240, 300])],
)
def test_a_regular_calendar_is_cut_into_equal_parts(length, expected):
    days = range(0, 361, 5)
    assert [days[frame] for frame in even_frames(days, length)] == expected


def test_no_gap_of_a_regular_calendar_is_twice_as_long_as_it_could_be():
    days = range(0, 361, 5)
    for length in range(2, 36):
        chosen = [days[frame] for frame in even_frames(days, length)]
        gaps = [after - before for before, after in pairwise(chosen)]
        assert max(gaps) <= 2 * 360 / length + 5


def test_frames_are_spread_by_day_and_not_by_place_in_the_list():
    crowded = [*range(30), 200, 400]  # thirty dates in a month, then two
    assert [crowded[frame] for frame in even_frames(crowded, 1)] == [200]


@given(series_and_length())
def test_the_last_frames_are_the_end_of_the_series(drawn):
    days, length = drawn
    assert chosen_frames(days, length, "last") == tuple(range(len(days)))[-length:]


def targets(length):
    return [(2 * place + 1) * 365 / 2 / length for place in range(length)]


@given(series_and_length(longest=9))
def test_the_calendar_has_the_least_distance_that_there_is_with_the_earliest_frames(drawn):
    days, length = drawn

    def distance(year_and_frames):  # in parts of a day that make it a whole number
        year, frames = year_and_frames
        ends = [(2 * place + 1) * 365 + 2 * length * round(year * 365.25) for place in range(length)]
        return sum(abs(2 * length * days[frame] - end) for frame, end in zip(frames, ends, strict=True))

    choices = combinations(range(len(days)), length)
    years = (0, 1) if days[-1] >= 365 else (0,)
    assert calendar_frames(days, length) == min(product(years, choices), key=distance)[1]


@given(series_and_length())
def test_the_calendar_asks_for_the_same_days_whatever_else_a_series_holds(drawn):
    days, length = drawn
    richer = sorted({*days, *map(int, targets(length))})
    chosen = [richer[frame] for frame in calendar_frames(richer, length)]
    assert all(abs(day - target) < 1 for day, target in zip(chosen, targets(length), strict=True))


def test_the_calendar_of_every_day_is_the_middles_of_equal_parts_of_the_year():
    days = range(430)
    assert [days[frame] for frame in calendar_frames(days, 5)] == [36, 109, 182, 255, 328]  # of 36.5, ...


def test_the_calendar_differs_from_even_dates_where_a_series_starts_late():
    days = (150, 170, 200, 250, 300, 350)
    assert [days[frame] for frame in calendar_frames(days, 2)] == [150, 250]  # of 91.25 and 273.75
    assert [days[frame] for frame in even_frames(days, 2)] == [200, 250]


def test_no_frame_serves_two_days_of_the_calendar():
    days = (180, 181, 182, 183)  # all between the first and the last of 60.8, 182.5 and 304.2
    assert calendar_frames(days, 3) == (0, 2, 3)


@given(series_and_length())
def test_slots_hold_every_frame_once_and_are_about_equally_large(drawn):
    days, length = drawn
    cut = slots(len(days), length)
    assert [frame for slot in cut for frame in slot] == list(range(len(days)))
    assert len(cut) == length
    assert {len(slot) for slot in cut} <= {len(days) // length, -(-len(days) // length)}


@given(series_and_length(), st.integers(0, 9))
def test_the_clearest_frame_of_each_slot_is_seen_and_of_equals_the_middle_one(drawn, seed):
    days, length = drawn
    clouds = clouds_of(days, seed)
    for frame, slot in zip(clear_frames(days, length, clouds), slots(len(days), length), strict=True):
        assert frame in slot
        assert clouds[frame] == min(clouds[slot])
        middle = (days[slot[0]] + days[slot[-1]]) / 2
        equals = [other for other in slot if clouds[other] == clouds[frame]]
        assert abs(days[frame] - middle) == min(abs(days[other] - middle) for other in equals)


def test_clear_frames_avoid_clouds_where_even_ones_do_not():
    days = (0, 10, 20, 30, 40, 50)
    assert clear_frames(days, 2, (0, 1, 1, 1, 1, 0.5)) == (0, 5)
    assert clear_frames(days, 2, (0, 0, 0, 0.2, 0.1, 0.2)) == (1, 4)


@given(series_and_length(), st.integers(0, 99))
def test_random_frames_depend_on_the_chance_alone(drawn, seed):
    days, length = drawn
    one, other = (random_frames(len(days), length, np.random.default_rng(seed)) for _ in range(2))
    assert one == other


def test_random_frames_differ_from_draw_to_draw_and_all_are_drawn_equally_often():
    chance = np.random.default_rng(0)
    draws = [random_frames(10, 3, chance) for _ in range(1000)]
    assert len(set(draws)) > 100  # of 120
    often = np.bincount([frame for frames in draws for frame in frames], minlength=10)
    assert np.abs(often - 300).max() < 6 * (1000 * 0.3 * 0.7) ** 0.5  # six standard deviations


@given(series_and_length())
def test_random_frames_are_even_where_there_is_no_chance(drawn):
    days, length = drawn
    assert chosen_frames(days, length, "random") == even_frames(days, length)


@pytest.mark.parametrize("policy", POLICIES)
def test_all_frames_can_be_had(policy):
    days, chance = (3, 4, 90, 91, 400), np.random.default_rng(0)
    assert chosen_frames(days, 5, policy, clouds=[0] * 5, chance=chance) == (0, 1, 2, 3, 4)


@pytest.mark.parametrize("policy", POLICIES)
def test_more_frames_than_there_are_are_refused_or_all(policy):
    with pytest.raises(DataError, match=r"at least 7 dates; got a series of 3 .*data\.temporal_length"):
        chosen_frames((1, 2, 3), 7, policy)
    assert chosen_frames((1, 2, 3), 7, policy, pad=True) == (0, 1, 2)


def test_calendar_takes_the_year_in_which_a_series_lies():
    """Patches of other years, and series that begin shortly before the first of September."""
    season = list(range(10, 360, 7))
    expected = calendar_frames(season, 6)
    for years in (1, 2, 5):
        assert calendar_frames([day + round(365.25 * years) for day in season], 6) == expected
    early = [-6, *season]
    assert calendar_frames([day + 365 for day in early], 6) == tuple(frame + 1 for frame in expected)


def test_calendar_of_several_years_has_dates_of_one():
    days = list(range(0, 3 * 365, 9))
    chosen = [days[frame] for frame in calendar_frames(days, 6)]
    assert max(chosen) - min(chosen) < 365
    assert min(np.diff(chosen)) > 40
