"""What is wrong with ranges by themselves: their names, their conditions, two of them for one field."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace
from random import Random

from shapeft_tune.config.axes import CircularConditions
from shapeft_tune.config.cell import MOST_CHOICES, MOST_TRIES, Cell
from shapeft_tune.config.fields import known_fields, near
from shapeft_tune.config.groups import Group
from shapeft_tune.config.problems import Place
from shapeft_tune.config.ranges import Range
from shapeft_tune.errors import Problem

NOT_SEARCHED = (
    "seed",
    "validation",
    "data.dataset",
    "data.folds",
    "data.label_fraction",
    "data.temporal_length",
)
"""What a cell's trials must share, or they could not be compared; a seed is what confirmations vary."""

Wrong = tuple[str, Place, Problem]
"""A range's name, where in it, and what."""


def range_problems(cell: Cell) -> list[Wrong]:
    """Return what is wrong with the ranges of a cell before any trial is made of them."""
    found = [each for name, range_ in cell.ranges.items() for each in _by_itself(name, range_)]
    wrong = {name for name, _, _ in found}
    sound = replace(cell, ranges={name: each for name, each in cell.ranges.items() if name not in wrong})
    try:
        return found + list(_between(sound))
    except CircularConditions as error:
        circle = ", ".join(error.names)
        problem = Problem("", "conditions that do not wait for one another", circle)
        return found + [(name, ("when",), problem) for name in error.names]


def overlap(path: str, other: str) -> bool:
    """Whether two dotted paths are the same, or one lies in the other; an empty one lies nowhere."""
    return bool(path and other) and (f"{path}.".startswith(f"{other}.") or f"{other}.".startswith(f"{path}."))


def never_active(
    cells: list[Cell], place_of: Callable[[str, Cell], Place]
) -> Iterator[tuple[Cell, str, Place, Problem]]:
    """Yield the ranges whose condition holds in no trial of any cell that has them."""
    waiting: dict[Place, tuple[Cell, str]] = {}
    alive: set[Place] = set()
    for cell in cells:
        for name, range_ in cell.ranges.items():
            place = place_of(name, cell)
            if range_.when and place not in alive:
                waiting[place] = cell, name
                if _can_be_active(cell, name):
                    alive.add(place)
    for place, (cell, name) in waiting.items():
        if place not in alive:
            got = ", ".join(f"{path}: {wanted}" for path, wanted in cell.ranges[name].when.items())
            hint = "check what the file has there, and the spelling"
            yield cell, name, ("when",), Problem("", "a condition that holds in some trial", got, hint)


def _can_be_active(cell: Cell, name: str) -> bool:
    corners = cell.axes.combinations(lambda each: cell.ranges[each].corners)
    drawn = (cell.axes.drawn(Random(seed)) for seed in range(MOST_TRIES))
    tried = itertools.chain(itertools.islice(corners, MOST_CHOICES), drawn)
    return any(cell.axes.is_active(name, cell.axes.values(_before(name, cell, picks))) for picks in tried)


def _before(name: str, cell: Cell, picks: dict[str, object]) -> dict[str, object]:
    earlier = cell.axes.order[: cell.axes.order.index(name)]
    return {each: pick for each, pick in picks.items() if each in earlier}


def _by_itself(name: str, range_: Range) -> Iterator[Wrong]:
    known = known_fields()
    if isinstance(range_, Group):
        if name in known:
            hint = "call it otherwise: what it sets is in its options"
            yield name, (), Problem("", "a name of your own for a group", f"the field {name}", hint)
        paths = range_.paths
    else:
        paths = (name,)
    for path in paths:
        if path not in known:
            yield name, (), Problem("", "a field that trials have", path, near(path))
        elif any(overlap(path, kept) for kept in NOT_SEARCHED):
            yield name, (), Problem("", "a field that trials of a cell may differ in", path)
    for path in range_.when:
        if path not in known:
            yield name, ("when", path), Problem("", "a field that trials have", path, near(path))


def _between(cell: Cell) -> Iterator[Wrong]:
    for name in cell.ranges:
        if clash := cell.axes.clash_with(name):
            yield name, (), Problem("", "each field in one range or group only", clash)
    for name, violation in cell.axes.grid_violations():
        yield name, (violation.field,), Problem("", violation.expected, violation.got)
