"""Between the ranges of a sweep file and the distributions of Optuna."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from pydantic import ValidationError

from shapeft_tune.config.merge import value_at
from shapeft_tune.config.ranges import Choice, Fixed, IntRange, LogUniform, Range, Uniform
from shapeft_tune.config.sweep import Cell


class Space:
    """The searched fields of a cell: by dotted path, as *values* in a file and as *parameters* in Optuna.

    The two differ for choices of lists and mappings, which Optuna cannot hold: there a parameter is the
    option's JSON text, and :meth:`values` gives back what the file wrote.
    """

    def __init__(self, cell: Cell) -> None:
        self._cell = cell
        self._ranges = {path: range_ for path, range_ in cell.ranges.items() if range_.count > 1}
        self.distributions = {path: _distribution(range_) for path, range_ in self._ranges.items()}

    def values(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values that Optuna's parameters stand for."""
        return {path: _value(self._ranges[path], parameter) for path, parameter in parameters.items()}

    def default(self) -> dict[str, Any] | None:
        """Return the parameters of the configuration as written, None where they are outside the ranges."""
        try:
            written = self._cell.trial().canonical()
        except ValidationError:  # a searched field has no value of its own in the file
            return None
        found = {path: self._parameter(path, value_at(written, path)) for path in self._ranges}
        return None if any(parameter is None for parameter in found.values()) else found

    def combinations(self) -> Iterator[dict[str, Any]]:
        """Yield the parameters of every configuration, in order, of a space without continuous ranges."""
        axes = [_every_parameter(range_) for range_ in self._ranges.values()]
        for parameters in itertools.product(*axes):
            yield dict(zip(self._ranges, parameters, strict=True))

    def _parameter(self, path: str, written: Any) -> Any:
        range_ = self._ranges[path]
        if isinstance(range_, Choice):  # an option may leave defaults out, so compare what they amount to
            return next(
                (_label(option) for option in range_.options if self._amounts(path, option) == written), None
            )
        low, high = range_.corners
        return written if isinstance(written, int | float) and low <= written <= high else None

    def _amounts(self, path: str, option: Any) -> Any:
        try:
            return value_at(self._cell.trial({path: option}).canonical(), path)
        except ValidationError:
            return None


def _distribution(range_: Range) -> BaseDistribution:
    match range_:
        case Uniform():
            return FloatDistribution(*range_.bounds)
        case LogUniform():
            return FloatDistribution(*range_.bounds, log=True)
        case IntRange():
            return IntDistribution(*range_.bounds, step=range_.step)
        case Choice():
            return CategoricalDistribution([_label(option) for option in range_.options])
        case Fixed():
            raise AssertionError("a fixed value is not searched")


def _label(option: Any) -> bool | int | float | str | None:
    return option if option is None or isinstance(option, bool | int | float | str) else json.dumps(option)


def _value(range_: Range, parameter: Any) -> Any:
    if isinstance(range_, Choice):
        return next(option for option in range_.options if _label(option) == parameter)
    return parameter


def _every_parameter(range_: Range) -> list[Any]:
    if isinstance(range_, IntRange):
        return list(range(range_.bounds[0], range_.bounds[1] + 1, range_.step))
    assert isinstance(range_, Choice), "a continuous range has no list of values"
    return [_label(option) for option in range_.options]
