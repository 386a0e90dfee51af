"""What is searched in a cell, in an order in which every condition can be decided."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from random import Random
from typing import Any

from shapeft_tune.config.base import Violation
from shapeft_tune.config.fields import look_up, tag_of
from shapeft_tune.config.groups import Group, clashes
from shapeft_tune.config.merge import TAGS, value_at, with_values
from shapeft_tune.config.ranges import FixedGrid, Range, WithOptions

Picks = dict[str, Any]
"""Value of each active range by its name; of a group, the values by dotted path of the chosen option."""


class CircularConditions(ValueError):
    """Conditions that wait for one another; ``names`` are their ranges'."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)
        super().__init__(f"the conditions of {', '.join(names)} wait for one another")


class Axes:
    """The ranges of a cell and the template that they vary.

    Raises:
        CircularConditions: no order lets every condition be decided.
    """

    def __init__(self, ranges: Mapping[str, Range], template: Mapping[str, Any]) -> None:
        self._ranges, self._template = ranges, template
        self.order = _ordered(ranges)
        self.searched = tuple(name for name in self.order if ranges[name].count > 1)
        self.conditional = any(ranges[name].when for name in self.searched)
        single = [name for name in self.order if ranges[name].count == 1]
        self._single = tuple(name for name in single if not ranges[name].when)
        self._single_and_conditional = tuple(name for name in single if ranges[name].when)

    def paths(self, name: str) -> tuple[str, ...]:
        """Return the fields that a range sets."""
        return paths_of(name, self._ranges[name])

    def values_of(self, name: str, pick: Any) -> dict[str, Any]:
        """Return what a pick of one range sets, by dotted path."""
        return dict(pick) if isinstance(self._ranges[name], Group) else {name: pick}

    def values(self, picks: Mapping[str, Any]) -> dict[str, Any]:
        """Return what picks set, by dotted path."""
        return {
            path: value for name, pick in picks.items() for path, value in self.values_of(name, pick).items()
        }

    def draft(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return the unchecked trial with these values, and those of ranges that hold only one."""
        draft = with_values(self._template, self._always | dict(values))
        for name in self._single_and_conditional:
            only = self.values_of(name, self._ranges[name].corners[0])
            if values.keys().isdisjoint(only) and self._holds(name, draft):
                draft = with_values(draft, only)
        return draft

    def is_active(self, name: str, values: Mapping[str, Any]) -> bool:
        """Whether a range is searched, given the values of those before it."""
        return not self._ranges[name].when or self._holds(name, self.draft(values))

    def walk(self, choose: Callable[[str], Any]) -> Picks:
        """Return a pick of every active range, each chosen in its turn."""
        picks: Picks = {}
        values: dict[str, Any] = {}
        for name in self.searched:
            if self.is_active(name, values):
                picks[name] = choose(name)
                values |= self.values_of(name, picks[name])
        return picks

    def drawn(self, random: Random, given: Mapping[str, Any] | None = None) -> Picks:
        """Return random picks, less random where some are given."""
        given = given or {}
        return self.walk(lambda name: given[name] if name in given else self._ranges[name].draw(random))

    def combinations(self, options: Callable[[str], Sequence[Any]]) -> Iterator[Picks]:
        """Yield every combination of the options of active ranges that can occur, in order."""
        yield from self._combinations(options, 0, {}, {})

    def grid(self) -> tuple[str, ...]:
        """Return the names of the fixed grid's ranges."""
        return tuple(name for name in self.searched if isinstance(self._ranges[name], FixedGrid))

    def with_options(self) -> tuple[str, ...]:
        """Return the names of the ranges that are lists, on which anything may depend."""
        return tuple(name for name in self.searched if isinstance(self._ranges[name], WithOptions))

    def inner(self, name: str) -> tuple[str, ...]:
        """Return the searched fields inside of a searched section."""
        return tuple(
            path for other in self.order for path in self.paths(other) if path.startswith(f"{name}.")
        )

    def clash_with(self, name: str) -> str:
        """Return which other range sets what this one sets; empty for none.

        A field may be searched inside of a searched section, unless an option of the section sets it too and
        nothing says which counts.
        """
        for other, range_ in self._ranges.items():
            if other == name:
                continue
            pairs = [(mine, theirs) for mine in self.paths(name) for theirs in self.paths(other)]
            grouped = isinstance(range_, Group) or isinstance(self._ranges[name], Group)
            if grouped and (found := next((clash for pair in pairs for clash in clashes([*pair])), "")):
                return f"{found} in {other}"
            if not grouped and name.startswith(f"{other}.") and self._overwrites(name, other):
                return f"{name} also in an option of {other}"
        return ""

    def grid_violations(self) -> Iterator[tuple[str, Violation]]:
        """Yield the grids that wait for what is sampled: their combinations could not be worked through."""
        grid = self.grid()
        for name in grid:
            for other in self.searched:
                if other not in grid and _waits_for(self._ranges[name], self.paths(other)):
                    expected = "a condition on what is fixed or in a grid itself"
                    yield name, Violation("when", expected, f"{other}, which is sampled")

    @cached_property
    def _always(self) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for name in self._single:
            values |= self.values_of(name, self._ranges[name].corners[0])
        return values

    def _holds(self, name: str, draft: Mapping[str, Any]) -> bool:
        return all(_matches(look_up(draft, path), wanted) for path, wanted in self._ranges[name].when.items())

    def _combinations(
        self, options: Callable[[str], Sequence[Any]], index: int, picks: Picks, values: dict[str, Any]
    ) -> Iterator[Picks]:
        if index == len(self.searched):
            yield dict(picks)
            return
        name = self.searched[index]
        if not self.is_active(name, values):
            yield from self._combinations(options, index + 1, picks, values)
            return
        for pick in options(name):
            more = values | self.values_of(name, pick)
            yield from self._combinations(options, index + 1, picks | {name: pick}, more)

    def _overwrites(self, inner: str, outer: str) -> bool:
        if self._ranges[outer].count == 1:  # a section written plainly: its value for the field is a default
            return False
        for option in self._ranges[outer].corners:
            written = isinstance(option, Mapping) and value_at(option, inner[len(outer) + 1 :]) is not None
            if written and self.is_active(inner, {outer: option}):
                return True
        return False


def paths_of(name: str, range_: Range) -> tuple[str, ...]:
    """Return the fields that a range sets: of a group, those of its options."""
    return range_.paths if isinstance(range_, Group) else (name,)


def _ordered(ranges: Mapping[str, Range]) -> tuple[str, ...]:
    """Return names as they are in the file, but each after those that its condition depends on."""
    waiting = {
        name: {other for other in ranges if _waits_for(range_, paths_of(other, ranges[other]))}
        for name, range_ in ranges.items()
    }
    order: list[str] = []
    while waiting:
        ready = next((name for name, others in waiting.items() if others <= set(order)), None)
        if ready is None:
            raise CircularConditions(list(waiting))
        order.append(ready)
        del waiting[ready]
    return tuple(order)


def _waits_for(range_: Range, paths: Sequence[str]) -> bool:
    """Whether a condition asks for what is at one of these paths, in a section there, or for its name."""
    return any(
        asked == path or asked.startswith(f"{path}.") or path in (f"{asked}.{tag}" for tag in TAGS)
        for asked in range_.when
        for path in paths
    )


def _matches(value: Any, wanted: Any) -> bool:
    if isinstance(wanted, tuple):
        return any(_matches(value, each) for each in wanted)
    return type(tag_of(value)) not in (dict, list) and bool(tag_of(value) == wanted)
