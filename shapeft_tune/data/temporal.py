"""Which frames of a series a trial sees: in order, evenly spread over the season, fewer nested in more."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from shapeft_tune.errors import DataError


def even_frames(days: Sequence[int], length: int) -> tuple[int, ...]:
    """Return ``length`` ascending indices into ``days``, spread evenly over the days between first and last.

    The same days give the same frames, and the frames of a smaller length are among those of a larger one:
    what differs between two settings is only what was added. One frame lies near the middle of the season.
    Raises DataError when there are fewer days than asked for.
    """
    if length > len(days):
        raise DataError(
            f"expected at least {length} dates; got a series of {len(days)}"
            " - lower `data.temporal_length` or use data with more dates"
        )
    return tuple(sorted(_priority(tuple(days))[:length]))


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
