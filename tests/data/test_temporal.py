from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shapeft_tune.data.temporal import even_frames
from shapeft_tune.errors import DataError

series = st.lists(st.integers(0, 430), min_size=1, max_size=75, unique=True).map(sorted)


@given(series, st.data())
def test_frames_ascend_and_are_as_many_as_asked(days, data):
    length = data.draw(st.integers(1, len(days)))
    frames = even_frames(days, length)
    assert len(frames) == length
    assert list(frames) == sorted(set(frames))
    assert set(frames) <= set(range(len(days)))


@given(series, st.data())
def test_fewer_frames_lie_among_more(days, data):
    short, long = sorted(data.draw(st.tuples(st.integers(1, len(days)), st.integers(1, len(days)))))
    assert set(even_frames(days, short)) <= set(even_frames(days, long))


@given(series, st.data())
def test_no_frame_left_out_is_farther_from_the_chosen_than_they_are_from_each_other(days, data):
    length = data.draw(st.integers(1, len(days)))
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


def test_all_frames_can_be_had():
    assert even_frames((3, 4, 90, 91, 400), 5) == (0, 1, 2, 3, 4)


def test_more_frames_than_there_are_is_refused():
    with pytest.raises(DataError, match=r"at least 7 dates; got a series of 3 .*data\.temporal_length"):
        even_frames((1, 2, 3), 7)
