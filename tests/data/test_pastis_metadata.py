from __future__ import annotations

import itertools

from shapeft_tune.data.pastis_metadata import read_metadata
from tests.data.conftest import HandMade

LATE = (300, 310, 320)
"""Python shares integers up to 256 by itself."""


def test_patches_of_equal_dates_share_them(handmade: HandMade) -> None:
    """Two thousand patches of few tiles: every process of a sweep has all of their dates."""
    for id in (1, 2):
        handmade.add(id, days=LATE)
    handmade.with_radar("S1A", dict.fromkeys((1, 2), LATE[1:]))
    first, second = read_metadata(handmade.written())[0]
    assert first.days == LATE
    assert first.days is second.days
    assert first.days_S1A == LATE[1:]
    assert first.days_S1A is second.days_S1A


def test_equal_days_of_patches_with_other_dates_are_one_number(handmade: HandMade) -> None:
    handmade.add(1, days=LATE).add(2, days=LATE[1:])
    first, second = read_metadata(handmade.written())[0]
    assert second.days == LATE[1:]
    assert all(one is other for one, other in zip(first.days[1:], second.days, strict=True))
    assert all(one is not other for one, other in itertools.combinations(first.days, 2))
