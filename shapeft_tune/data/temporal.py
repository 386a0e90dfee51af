"""Which frames of a series a trial sees: T of N, always in order, by one of five policies.

``even`` and ``last`` are nested: the frames of a smaller T are among those of a larger one. With the others,
more differs between two settings than what was added.

Legend: N frames of a series, T of them chosen; days are days since the data set's 1 September.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise

import numpy as np

from shapeft_tune.config.data import DatePolicy
from shapeft_tune.errors import DataError

DAYS_OF_YEAR = 365


def chosen_frames(
    days: Sequence[int],
    length: int,
    policy: DatePolicy = "even",
    *,
    pad: bool = False,
    clouds: Sequence[float] | None = None,
    chance: np.random.Generator | None = None,
) -> tuple[int, ...]:
    """Return the ascending indices into ``days`` of the frames that are seen.

    Args:
        days: of the frames, ascending.
        length: how many frames are asked for.
        policy: how they are chosen.
        pad: of a shorter series return all frames, for the caller to pad, instead of refusing it.
        clouds: each frame's cloud-like share; ``clear`` needs them.
        chance: draws ``random`` frames; without it they are ``even``, as at every evaluation.

    Raises:
        DataError: there are fewer days than asked for, and no padding.
    """
    if length >= len(days):
        if length > len(days) and not pad:
            raise DataError(
                f"expected at least {length} dates; got a series of {len(days)} - lower"
                " `data.temporal_length`, set `data.short_series: pad` or use data with more dates"
            )
        return tuple(range(len(days)))
    match policy:
        case "last":
            return tuple(range(len(days) - length, len(days)))
        case "calendar":
            return calendar_frames(days, length)
        case "clear":
            assert clouds is not None, "`clear` needs the clouds of every frame"
            return clear_frames(days, length, clouds)
        case "random" if chance is not None:
            return random_frames(len(days), length, chance)
    return even_frames(days, length)


def even_frames(days: Sequence[int], length: int) -> tuple[int, ...]:
    """Return ``length`` ascending indices into ``days``, spread evenly over the days between first and last.

    The same days give the same frames, and the frames of a smaller length are among those of a larger one:
    what differs between two settings is only what was added. One frame lies near the middle of the season.
    """
    return tuple(sorted(_priority(tuple(days))[:length]))


def calendar_frames(days: Sequence[int], length: int) -> tuple[int, ...]:
    """Return the frames nearest to ``length`` fixed days of the year, one for each, in order.

    Those days are the middles of equal parts of the year from 1 September, whatever the series; of a series
    that is longer or begins later, the year is taken in which it comes nearest to them. As no frame serves
    two of them, the nearest is not always free: the sum of the distances is the least that there is, and of
    several such choices the one with the earliest frames is taken.
    """
    return _nearest(tuple(days), length)


def clear_frames(days: Sequence[int], length: int, clouds: Sequence[float]) -> tuple[int, ...]:
    """Return the least cloudy frame of each of ``length`` slots: neighbours, as equal in number as possible.

    Of equally clear ones the frame nearest to the middle of the slot's days is taken, then the earlier one.
    """

    def clearest(slot: range) -> int:
        ends = days[slot[0]] + days[slot[-1]]
        return min(slot, key=lambda frame: (clouds[frame], abs(2 * days[frame] - ends), frame))

    return tuple(clearest(slot) for slot in slots(len(days), length))


def slots(count: int, length: int) -> tuple[range, ...]:
    """Cut ``count`` frames into ``length`` runs of neighbours whose sizes differ by one at most."""
    borders = [place * count // length for place in range(length + 1)]
    return tuple(range(first, last) for first, last in pairwise(borders))


def random_frames(count: int, length: int, chance: np.random.Generator) -> tuple[int, ...]:
    """Draw ``length`` of ``count`` frames, each set of them equally likely, and put them in order."""
    return tuple(sorted(chance.choice(count, length, replace=False).tolist()))


@lru_cache(maxsize=4096)  # the patches of one satellite tile share their dates
def _priority(days: tuple[int, ...]) -> tuple[int, ...]:
    """Order all frames so that every prefix is spread evenly: always take the one farthest from those taken.

    The season's ends repel too, at half the range (twice the distance), as if the series went on beyond them.
    So the first frame is the middle one and three lie at 1/6, 1/2 and 5/6, instead of at the ends, where
    little grows. Spread by days and not by index, because clouds leave gaps of weeks in winter.
    """
    room = [2 * min(day - days[0], days[-1] - day) for day in days]
    order: list[int] = []
    left = list(range(len(days)))
    while left:
        taken = max(left, key=lambda frame: (room[frame], -frame))
        order.append(taken)
        left.remove(taken)
        room = [min(space, abs(day - days[taken])) for space, day in zip(room, days, strict=True)]
    return tuple(order)


@lru_cache(maxsize=4096)
def _nearest(days: tuple[int, ...], length: int) -> tuple[int, ...]:
    years = range(days[0] // DAYS_OF_YEAR, days[-1] // DAYS_OF_YEAR + 1)
    in_year = (_nearest_in([day - round(year * 365.25) for day in days], length) for year in years)
    return min(in_year, key=lambda distance_and_frames: distance_and_frames[0])[1]  # of equals, the earliest


def _nearest_in(days: Sequence[int], length: int) -> tuple[float, tuple[int, ...]]:
    """Assign a frame to each day of the calendar; return the sum of the distances, and the frames.

    A dynamic programme over (targets left, frames left): both ascend, so a best assignment never crosses.
    Distances are counted in parts of a day that make them whole numbers: sums are exact, and ties are ties on
    every processor.
    """
    rest = [0.0] * (len(days) + 1)  # by first frame left: the least distance of the targets behind this one
    taken: list[list[bool]] = []
    for place in reversed(range(length)):
        least = [math.inf] * (len(days) + 1)
        takes = [False] * len(days)
        for frame in reversed(range(len(days))):
            distance = abs(2 * length * days[frame] - (2 * place + 1) * DAYS_OF_YEAR)
            takes[frame] = distance + rest[frame + 1] <= least[frame + 1]
            least[frame] = distance + rest[frame + 1] if takes[frame] else least[frame + 1]
        rest = least
        taken.append(takes)
    frames: list[int] = []
    for takes in reversed(taken):
        first = frames[-1] + 1 if frames else 0
        frames.append(takes.index(True, first))
    return rest[0], tuple(frames)
