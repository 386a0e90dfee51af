"""Between the ranges of a sweep file and the distributions of Optuna."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from random import Random
from types import MappingProxyType
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from shapeft_tune.config.axes import Axes, Picks
from shapeft_tune.config.cell import Cell
from shapeft_tune.config.fields import MISSING, canonical, look_up
from shapeft_tune.config.groups import Group
from shapeft_tune.config.log_normal import LogNormal
from shapeft_tune.config.merge import value_at
from shapeft_tune.config.ranges import Choice, Fixed, FixedGrid, IntRange, LogUniform, Range, Uniform

NOTHING: Mapping[str, Any] = MappingProxyType({})
MOST_TRIES = 10_000
"""Random draws in a row of which none was allowed, before there are held to be no more."""


class Space:
    """The searched ranges of a cell: *parameters* of Optuna by name, *values* of a trial by dotted path.

    The two differ where Optuna cannot hold what the file writes. A choice of lists or mappings is a choice
    of their JSON text, a group too; a log-normal range is one of quantiles, evenly drawn.
    """

    def __init__(self, cell: Cell) -> None:
        self._cell = cell
        self._axes: Axes = cell.axes
        self._ranges = {name: cell.ranges[name] for name in self._axes.searched}
        self._options = {name: _labelled(range_) for name, range_ in self._ranges.items()}
        self.distributions = {name: _distribution(range_) for name, range_ in self._ranges.items()}
        self.conditional = self._axes.conditional
        self.grid_names = self._axes.grid()

    def is_active(self, name: str, parameters: Mapping[str, Any]) -> bool:
        """Return whether a range is searched, given the parameters of those before it."""
        if not self._ranges[name].when:
            return True
        return self._axes.is_active(name, self._axes.values(self._picks(parameters, until=name)))

    def active(self, parameters: Mapping[str, Any]) -> set[str]:
        """Return the names of the ranges that are searched, given all parameters."""
        if not self.conditional:
            return set(self._ranges)
        values: dict[str, Any] = {}
        names: set[str] = set()
        for name in self._ranges:
            if self._axes.is_active(name, values):
                names.add(name)
                if name in parameters:
                    values |= self._axes.values_of(name, self._pick(name, parameters[name]))
        return names

    def is_whole(self, parameters: Mapping[str, Any]) -> bool:
        """Return whether there is a parameter for each active range, and for no other."""
        return parameters.keys() <= self._ranges.keys() and parameters.keys() == self.active(parameters)

    def values(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values that Optuna's parameters stand for, those of inactive ranges left out."""
        return self._axes.values(self._picks(parameters))

    def parameters(self, values: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return the parameters that stand for values by dotted path; None where they are outside the ranges.

        Values of fields that are not searched, or not in this trial, make no difference.
        """
        picks: Picks = {}
        known: dict[str, Any] = {}
        for name in self._ranges:
            if self._axes.is_active(name, known):
                written = {path: values[path] for path in self._axes.paths(name) if path in values}
                if (found := self._found(name, written)) is None:
                    return None
                picks[name] = found[0]
                known |= self._axes.values_of(name, found[0])
        return self._parameters(picks)

    def default(self) -> dict[str, Any] | None:
        """Return the parameters of the configuration to try first; None where it is not allowed.

        Of each range that is its ``default``; without one the value as written in the file, which must lie
        inside. A log-normal range without a default starts from its median; a grid, and a group that the file
        does not write out, from the first option.
        """
        picks: Picks = {}
        known: dict[str, Any] = {}
        for name in self._ranges:
            if self._axes.is_active(name, known):
                if (found := self._first(name, known)) is None:
                    return None
                picks[name] = found[0]
                known |= self._axes.values_of(name, found[0])
        return self._parameters(picks) if self._cell.allows(known) else None

    def allows(self, parameters: Mapping[str, Any]) -> bool:
        """Return whether parameters make a valid trial that keeps the constraints."""
        return self._cell.allows(self.values(parameters))

    @property
    def finite(self) -> bool:
        """Whether all configurations that the search may try can be listed."""
        return all(self._cell.listed(name) is not None for name in self._ranges)

    def combinations(self, given: Mapping[str, Any] = NOTHING) -> Iterator[dict[str, Any]]:
        """Yield the parameters of every allowed configuration, in order; of a full grid, those in it.

        Args:
            given: parameters that all of them have.

        Raises:
            ValueError: a continuous range has no list of values.
        """
        endless = [name for name in self._ranges if self._cell.listed(name) is None]
        if endless:
            raise ValueError(f"expected ranges with an end of values; got {', '.join(endless)}")

        def options(name: str) -> Sequence[Any]:
            listed = self._cell.listed(name) or ()
            if name not in given:
                return listed
            return [pick for pick in listed if self._parameter(name, pick) == given[name]]

        for picks in self._axes.combinations(options):
            if self._cell.allows(self._axes.values(picks)):
                yield self._parameters(picks)

    def draws(self, seed: int, given: Mapping[str, Any] = NOTHING) -> Iterator[dict[str, Any]]:
        """Yield random parameters that are allowed; ends where 10 000 in a row were not.

        Args:
            seed: of the draws.
            given: parameters that all of them have.
        """
        random, tries = Random(seed), 0
        fixed = {name: self._pick(name, parameter) for name, parameter in given.items()}
        while tries < MOST_TRIES:
            picks = self._axes.drawn(random, fixed)
            tries += 1
            if self._cell.allows(self._axes.values(picks)):
                tries = 0
                yield self._parameters(picks)

    def grid_turns(self, seen: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Return the grid's parameters, those first that were tried least often; ``[{}]`` without a grid."""
        turns = [self._parameters(picks) for picks in self._cell.grid_combinations]
        tried = [{name: each[name] for name in self.grid_names if name in each} for each in seen]
        return sorted(turns, key=tried.count) or [{}]

    def _picks(self, parameters: Mapping[str, Any], until: str = "") -> Picks:
        picks: Picks = {}
        values: dict[str, Any] = {}
        for name in self._ranges:
            if name == until:
                break
            if name in parameters and self._axes.is_active(name, values):
                picks[name] = self._pick(name, parameters[name])
                if self.conditional:
                    values |= self._axes.values_of(name, picks[name])
        return picks

    def _pick(self, name: str, parameter: Any) -> Any:
        range_ = self._ranges[name]
        if isinstance(range_, LogNormal):
            return range_.value_at(parameter)
        return self._options[name][parameter] if self._options[name] else parameter

    def _parameters(self, picks: Mapping[str, Any]) -> dict[str, Any]:
        return {name: self._parameter(name, pick) for name, pick in picks.items()}

    def _parameter(self, name: str, pick: Any) -> Any:
        range_ = self._ranges[name]
        if isinstance(range_, LogNormal):
            return range_.quantile_of(pick)
        return _label(pick) if self._options[name] else pick

    def _first(self, name: str, known: Mapping[str, Any]) -> tuple[Any] | None:
        range_ = self._ranges[name]
        if "default" in range_.model_fields_set:
            return (getattr(range_, "default"),)  # noqa: B009  # not all kinds have one
        if isinstance(range_, LogNormal):
            return (range_.around.median,)
        draft = self._cell.draft(known)
        written = {}
        for path in self._axes.paths(name):
            in_file = value_at(self._cell.template, path)  # a searched section around it may have replaced it
            value = look_up(draft, path) if in_file is None or path in known else in_file
            if value is not MISSING:
                written[path] = value
        start = (range_.corners[0],) if isinstance(range_, Group | FixedGrid) else None
        return self._found(name, written) or start

    def _found(self, name: str, written: Mapping[str, Any]) -> tuple[Any] | None:
        """Return, as a tuple of one, the pick of a range that values by dotted path amount to."""
        range_ = self._ranges[name]
        if not self._options[name]:
            value = written.get(name)
            if not range_.holds(value):
                return None
            return (int(value),) if isinstance(range_, IntRange) else (value,)  # type: ignore[arg-type]
        for option in range_.corners:
            wanted = self._axes.values_of(name, option)
            if all(path in written and self._same(path, written[path], wanted[path]) for path in wanted):
                return (option,)
        return None

    def _same(self, path: str, value: Any, other: Any) -> bool:
        """Whether two values of a field amount to the same, but for the fields in it that are searched."""
        inner = [each[len(path) + 1 :] for each in self._axes.inner(path)]
        same = _without(canonical(path, value), inner) == _without(canonical(path, other), inner)
        return bool(same)


def _distribution(range_: Range) -> BaseDistribution:
    match range_:
        case Uniform():
            return FloatDistribution(*range_.bounds)
        case LogUniform():
            return FloatDistribution(*range_.bounds, log=True)
        case LogNormal():
            return FloatDistribution(*range_.quantiles)
        case IntRange():
            return IntDistribution(*range_.bounds, step=range_.step, log=range_.log)
        case Choice() | FixedGrid() | Group():
            return CategoricalDistribution([_label(option) for option in range_.corners])
        case Fixed():
            raise AssertionError("a fixed value is not searched")


def _labelled(range_: Range) -> dict[Any, Any]:
    """Return the options of a list by what Optuna calls them; nothing of other ranges."""
    listed = isinstance(range_, Choice | FixedGrid | Group)
    return {_label(option): option for option in range_.corners} if listed else {}


def _label(option: Any) -> bool | int | float | str | None:
    return option if option is None or isinstance(option, bool | int | float | str) else json.dumps(option)


def _without(value: Any, paths: Sequence[str]) -> Any:
    if not isinstance(value, Mapping):
        return value
    kept = {}
    for key, inside in value.items():
        deeper = [path[len(key) + 1 :] for path in paths if path.startswith(f"{key}.")]
        if key not in paths:
            kept[key] = _without(inside, deeper)
    return kept
