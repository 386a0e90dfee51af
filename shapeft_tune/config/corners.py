"""Values at which the rules between fields are tried before anything starts."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from random import Random
from typing import Any

from shapeft_tune.config.axes import Picks
from shapeft_tune.config.cell import Cell

MOST_CORNERS = 256
"""Combinations of extremes tried per cell; where there are more, a draw of this many."""


def corner_values(cell: Cell) -> Iterator[dict[str, Any]]:
    """Yield the values that rules are tried on: every probe of each range, and combinations of extremes.

    Only what can occur is among them: ranges that are active, and combinations that keep the constraints.
    """
    tried = itertools.chain(
        [cell.axes.walk(lambda name: cell.ranges[name].corners[0])], _probes(cell), _extremes(cell)
    )
    yield from filter(cell.keeps_constraints, map(cell.axes.values, tried))


def _probes(cell: Cell) -> Iterator[Picks]:
    first = cell.axes.walk(lambda name: cell.ranges[name].corners[0])
    for name in cell.axes.searched:
        for probe in cell.ranges[name].probes:
            given = first | {name: probe}
            picks = cell.axes.walk(lambda each, given=given: given.get(each, cell.ranges[each].corners[0]))  # type: ignore[misc]
            if name not in picks or not cell.keeps_constraints(cell.axes.values(picks)):
                elsewhere = cell.occurring({name: probe})
                if elsewhere is None:
                    continue
                picks = elsewhere
            yield picks


def _extremes(cell: Cell) -> Iterator[Picks]:
    combined = cell.axes.combinations(lambda name: cell.ranges[name].corners)
    few = list(itertools.islice(combined, MOST_CORNERS + 1))
    if len(few) <= MOST_CORNERS:
        yield from few
        return
    yield cell.axes.walk(lambda name: cell.ranges[name].corners[-1])
    random = Random(0)
    for _ in range(MOST_CORNERS):
        yield cell.axes.walk(lambda name: random.choice(cell.ranges[name].corners))
