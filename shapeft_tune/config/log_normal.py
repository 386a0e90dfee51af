"""A positive number that is probably near to a known good one."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cached_property
from random import Random
from statistics import NormalDist
from typing import Any

from pydantic import Field

from shapeft_tune.config.base import Frozen, Violation
from shapeft_tune.config.searched import Searched, ascending, inside

TAIL = 0.001
"""Share of the draws that is cut off at either end."""
DIGITS = 6
"""Significant digits of a value: more would come back from its quantile as others."""


class Around(Frozen):
    """Where the draws lie."""

    median: float = Field(gt=0)
    """Half of the draws are below; tried first where there is no ``default``."""
    factor: float = Field(gt=1, le=1e6)
    """68 % of the draws lie between median / factor and median x factor."""
    bounds: tuple[float, float] | None = None
    """No draw lies outside of these."""

    def rules(self) -> Iterator[Violation]:
        """The bounds ascend, above 0, around the median, and a draw is a number."""
        if not 1e-100 <= self.median <= 1e100:
            yield Violation("median", "a value from 1e-100 to 1e100", f"{self.median:g}")
        if self.bounds is None:
            return
        yield from ascending(self.bounds, "bounds")
        yield from inside(self.median, self.bounds, "median")
        if self.bounds[0] <= 0:
            yield Violation("bounds", "bounds above 0", str(list(self.bounds)))


class LogNormal(Searched):
    """A positive number, most often near a median, and as often a factor above it as below."""

    around: Around = Field(alias="log_normal")
    default: float | None = None
    """Tried first, instead of the median."""

    def rules(self) -> Iterator[Violation]:
        """The default can be drawn."""
        yield from inside(self.default, self.corners)

    @cached_property
    def quantiles(self) -> tuple[float, float]:
        """The quantiles of the lowest and of the highest value."""
        if self.around.bounds is None:
            return TAIL, 1 - TAIL
        low, high = (self._cumulated(bound) for bound in self.around.bounds)
        return max(low, TAIL), min(high, 1 - TAIL)

    def value_at(self, quantile: float) -> float:
        """Return the value below which this share of the draws lies, rounded to 6 significant digits."""
        deviations = NormalDist().inv_cdf(min(max(quantile, TAIL / 2), 1 - TAIL / 2))
        value = float(f"{self.around.median * self.around.factor**deviations:.{DIGITS}g}")
        low, high = self.around.bounds or (0.0, math.inf)
        return min(max(value, low), high)

    def quantile_of(self, value: float) -> float:
        """Return the share of the draws below a value that the range holds."""
        low, high = self.quantiles
        return min(max(self._cumulated(value), low), high)

    @property
    def corners(self) -> tuple[Any, ...]:
        """The values at which rules between fields are tried."""
        low, high = self.quantiles
        return self.value_at(low), self.value_at(high)

    @property
    def probes(self) -> tuple[Any, ...]:
        """Values that each must make a valid trial by themselves."""
        low, high = self.corners
        return low, self.value_at(sum(self.quantiles) / 2), high

    @property
    def count(self) -> float:
        """How many different values there are."""
        return math.inf

    def holds(self, value: Any) -> bool:
        """Whether a value can be drawn."""
        return self._between(value, (self.corners[0], self.corners[1]))

    def draw(self, random: Random) -> float:
        """Return a random value."""
        return self.value_at(random.uniform(*self.quantiles))

    def points(self, count: int) -> list[Any]:
        """Return values at so many evenly spaced quantiles, both ends among them."""
        low, high = self.quantiles
        return [self.value_at(low + (high - low) * index / (count - 1)) for index in range(count)]

    def _cumulated(self, value: float) -> float:
        return NormalDist().cdf(
            (math.log(value) - math.log(self.around.median)) / math.log(self.around.factor)
        )
