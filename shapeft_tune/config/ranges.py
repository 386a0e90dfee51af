"""What a hyperparameter may be: written as ``{log_uniform: [1e-4, 1e-2]}`` and the like, or a fixed value."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import BeforeValidator, Discriminator, Field, Tag

from shapeft_tune.config.base import Frozen, Violation

GOLDEN = 0.6180339887
"""Where between its bounds a continuous range is probed: at no round number."""
MOST_PROBES = 64
"""Whole numbers of a range that are all tried; of a longer one, the bounds alone."""


class Uniform(Frozen):
    """Any number between two bounds."""

    bounds: tuple[float, float] = Field(alias="uniform")

    def rules(self) -> Iterator[Violation]:
        """The bounds ascend."""
        yield from _ascending(self.bounds)

    @property
    def corners(self) -> tuple[Any, ...]:
        """The values at which rules between fields are tried."""
        return self.bounds

    @property
    def probes(self) -> tuple[Any, ...]:
        """Values that each must make a valid trial by themselves."""
        low, high = self.bounds
        return (low, low + GOLDEN * (high - low), high)

    @property
    def count(self) -> float:
        """How many different values there are."""
        return math.inf


class LogUniform(Frozen):
    """Any positive number between two bounds, every factor of ten equally likely."""

    bounds: tuple[float, float] = Field(alias="log_uniform")

    def rules(self) -> Iterator[Violation]:
        """The bounds ascend and are positive."""
        yield from _ascending(self.bounds)
        if self.bounds[0] <= 0:
            yield Violation("", "bounds above 0", str(list(self.bounds)))

    @property
    def corners(self) -> tuple[Any, ...]:
        """The values at which rules between fields are tried."""
        return self.bounds

    @property
    def probes(self) -> tuple[Any, ...]:
        """Values that each must make a valid trial by themselves."""
        low, high = self.bounds
        return (low, low * (high / low) ** GOLDEN, high)

    @property
    def count(self) -> float:
        """How many different values there are."""
        return math.inf


class IntRange(Frozen):
    """A whole number between two bounds, both included, in steps."""

    bounds: tuple[int, int] = Field(alias="int")
    step: int = Field(1, ge=1)

    def rules(self) -> Iterator[Violation]:
        """The bounds ascend by whole steps."""
        yield from _ascending(self.bounds)
        if (self.bounds[1] - self.bounds[0]) % self.step:
            yield Violation("step", f"a divisor of {self.bounds[1] - self.bounds[0]}", str(self.step))

    @property
    def corners(self) -> tuple[Any, ...]:
        """The values at which rules between fields are tried."""
        return self.bounds

    @property
    def probes(self) -> tuple[Any, ...]:
        """Values that each must make a valid trial by themselves."""
        values = range(self.bounds[0], self.bounds[1] + 1, self.step)
        return tuple(values) if len(values) <= MOST_PROBES else self.bounds

    @property
    def count(self) -> float:
        """How many different values there are."""
        return (self.bounds[1] - self.bounds[0]) // self.step + 1


class Choice(Frozen):
    """One of several values, of any type; it reaches the trial exactly as written."""

    options: tuple[Any, ...] = Field(alias="choice", min_length=1)

    def rules(self) -> Iterator[Violation]:
        """No option twice."""
        if any(option in self.options[:index] for index, option in enumerate(self.options)):
            yield Violation("", "different options", str(list(self.options)))

    @property
    def corners(self) -> tuple[Any, ...]:
        """The values at which rules between fields are tried: all of them."""
        return self.options

    @property
    def probes(self) -> tuple[Any, ...]:
        """Values that each must make a valid trial by themselves."""
        return self.options

    @property
    def count(self) -> float:
        """How many different values there are."""
        return len(self.options)


class Fixed(Frozen):
    """One value, written plainly."""

    value: Any

    @property
    def corners(self) -> tuple[Any, ...]:
        """The only value."""
        return (self.value,)

    @property
    def probes(self) -> tuple[Any, ...]:
        """The only value."""
        return (self.value,)

    @property
    def count(self) -> float:
        """One."""
        return 1


Range = Uniform | LogUniform | IntRange | Choice | Fixed
KINDS: dict[str, type[Range]] = {
    "uniform": Uniform,
    "log_uniform": LogUniform,
    "int": IntRange,
    "choice": Choice,
    "fixed": Fixed,
}


def _ascending(bounds: tuple[float, float]) -> Iterator[Violation]:
    if not bounds[0] < bounds[1]:
        yield Violation("", "a lower bound below the upper one", str(list(bounds)))


def _kind(value: Any) -> str:
    if isinstance(value, Frozen):
        return next(kind for kind, cls in KINDS.items() if isinstance(value, cls))
    return next((kind for kind in KINDS if isinstance(value, dict) and kind in value), "fixed")


def _wrap_plain(value: Any) -> Any:
    return Fixed(value=value) if _kind(value) == "fixed" and not isinstance(value, Fixed) else value


RangeField = Annotated[
    Annotated[Uniform, Tag("uniform")]
    | Annotated[LogUniform, Tag("log_uniform")]
    | Annotated[IntRange, Tag("int")]
    | Annotated[Choice, Tag("choice")]
    | Annotated[Fixed, Tag("fixed")],
    Discriminator(_kind),
    BeforeValidator(_wrap_plain),
]
"""A range as a file writes it; anything that is none of the four kinds is a fixed value."""
