"""What a strategy searches: each range under the name that a reader knows it by."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shapeft_tune.config import Cell
from shapeft_tune.config.groups import Group
from shapeft_tune.config.log_normal import LogNormal
from shapeft_tune.config.merge import TAGS
from shapeft_tune.config.ranges import IntRange, LogUniform, Range, Uniform

NUMBERS = (Uniform, LogUniform, LogNormal, IntRange)
"""Kinds of ranges whose values have an order and a distance; all others are lists of options."""
MOST_NUMBERS = 6
"""Of a range of whole numbers, for all of them to be named beside an axis."""
LONGEST_OPTION = 28
"""Characters of an option's name in a figure."""


@dataclass(frozen=True)
class SearchedField:
    """One searched range of a strategy; ranges that hold a single value are none."""

    name: str
    """Dotted path into the trial's configuration; of a group, the name that the file gives it."""
    paths: tuple[str, ...]
    """The fields that it sets: several for a group."""
    low: float | None = None
    """Bounds of a range of numbers; None for a list of options."""
    high: float | None = None
    log: bool = False
    """Whether every factor, and not every number, is equally far."""
    numbers: tuple[float, ...] = ()
    """All numbers that it may be, where they are few; empty where they are many."""
    options: tuple[str, ...] = ()
    """Names of a list's options, in the file's order."""
    picks: tuple[Mapping[str, Any], ...] = ()
    """What each option sets, by dotted path."""
    conditional: bool = False
    """Whether it is searched only where a condition holds."""

    @property
    def is_numeric(self) -> bool:
        """Whether its values have an order and a distance."""
        return self.low is not None

    def value_in(self, values: Mapping[str, Any]) -> float | str | None:
        """Return a trial's value of it: a number, or an option's name; None where it was not searched."""
        if self.is_numeric:
            return values.get(self.name)
        for option, pick in zip(self.options, self.picks, strict=True):
            if all(path in values and values[path] == value for path, value in pick.items()):
                return option
        return None


def fields_of(cell: Cell) -> tuple[SearchedField, ...]:
    """Return what a cell searches, in the order in which conditions can be decided."""
    return tuple(_field(name, cell.ranges[name], cell.axes.paths(name)) for name in cell.axes.searched)


def short_names(names: Sequence[str]) -> dict[str, str]:
    """Return each dotted path's shortest end that no other shares: ``lr`` for ``training.optimiser.lr``."""

    def ends(name: str) -> Iterator[str]:
        parts = name.split(".")
        yield from (".".join(parts[-count:]) for count in range(1, len(parts) + 1))

    def shared(end: str, name: str) -> bool:
        return any(other != name and (other == end or other.endswith(f".{end}")) for other in names)

    return {name: next((end for end in ends(name) if not shared(end, name)), name) for name in names}


def _field(name: str, range_: Range, paths: tuple[str, ...]) -> SearchedField:
    conditional = bool(range_.when)
    if isinstance(range_, NUMBERS):
        low, high = (float(end) for end in _ends(range_))
        log = isinstance(range_, LogUniform | LogNormal) or (isinstance(range_, IntRange) and range_.log)
        return SearchedField(name, paths, low, high, log, _few(range_), conditional=conditional)
    picks = tuple(dict(option) if isinstance(range_, Group) else {name: option} for option in range_.corners)
    options = _names([_option(option, isinstance(range_, Group)) for option in range_.corners])
    return SearchedField(name, paths, options=options, picks=picks, conditional=conditional)


def _few(range_: Range) -> tuple[float, ...]:
    few = isinstance(range_, IntRange) and range_.count <= MOST_NUMBERS
    return tuple(map(float, range_.listed or ())) if few else ()


def _ends(range_: Range) -> tuple[float, float]:
    return range_.corners[0], range_.corners[-1]


def _option(option: Any, grouped: bool) -> str:
    """Name an option: a section by its own name, a group by what it sets, anything else as it is written."""
    if isinstance(option, str):
        return option
    if not isinstance(option, Mapping):
        return json.dumps(option)
    named = next((str(option[tag]) for tag in TAGS if tag in option), "")
    if named and not grouped:
        return named
    short = short_names(list(option))
    return ", ".join(f"{short[path]}={_option(value, grouped=False)}" for path, value in option.items())


def _names(options: Sequence[str]) -> tuple[str, ...]:
    """Return names that fit into a figure, with a number before those that would be the same."""
    cut = [name if len(name) <= LONGEST_OPTION else f"{name[: LONGEST_OPTION - 1]}…" for name in options]
    return tuple(
        f"{place}: {name}" if cut.count(name) > 1 else name for place, name in enumerate(cut, start=1)
    )
