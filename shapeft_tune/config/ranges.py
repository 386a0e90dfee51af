"""What a hyperparameter may be: written as ``{log_uniform: [1e-4, 1e-2]}`` and the like, or a fixed value."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from random import Random
from typing import Annotated, Any

from pydantic import BeforeValidator, Discriminator, Field, Tag
from pydantic_core import PydanticCustomError

from shapeft_tune.config.base import Frozen, Violation
from shapeft_tune.config.groups import Group
from shapeft_tune.config.log_normal import LogNormal
from shapeft_tune.config.searched import Searched, ascending, inside

GOLDEN = 0.6180339887
"""Where between its bounds a continuous range is probed: at no round number."""
MOST_PROBES = 64
"""Whole numbers of a range that are all tried; of a longer one, the bounds alone."""
LARGEST_INT = 2**53
"""Larger whole numbers are not themselves as floating-point ones, with which samplers calculate."""
ExactInt = Annotated[int, Field(ge=-LARGEST_INT, le=LARGEST_INT)]


class Uniform(Searched):
    """Any number between two bounds."""

    bounds: tuple[float, float] = Field(alias="uniform")
    default: float | None = None
    """Tried first, instead of the value in ``config``."""

    def rules(self) -> Iterator[Violation]:
        """The bounds ascend, around the default."""
        yield from ascending(self.bounds, "uniform")
        yield from inside(self.default, self.bounds)

    @property
    def corners(self) -> tuple[Any, ...]:
        """The values at which rules between fields are tried."""
        return self.bounds

    @property
    def probes(self) -> tuple[Any, ...]:
        """Values that each must make a valid trial by themselves."""
        low, high = self.bounds
        return (low, low + GOLDEN * (high - low), high)

    def holds(self, value: Any) -> bool:
        """Whether a value can be drawn."""
        return self._between(value, self.bounds)

    def draw(self, random: Random) -> float:
        """Return a random value."""
        return random.uniform(*self.bounds)

    def points(self, count: int) -> list[Any]:
        """Return so many evenly spaced values, both bounds among them."""
        low, high = self.bounds
        return [low + (high - low) * index / (count - 1) for index in range(count - 1)] + [high]


class LogUniform(Searched):
    """Any positive number between two bounds, every factor of ten equally likely."""

    bounds: tuple[float, float] = Field(alias="log_uniform")
    default: float | None = None
    """Tried first, instead of the value in ``config``."""

    def rules(self) -> Iterator[Violation]:
        """The bounds ascend and are positive, the default lies between them."""
        yield from ascending(self.bounds, "log_uniform")
        yield from inside(self.default, self.bounds)
        if self.bounds[0] <= 0:
            yield Violation("log_uniform", "bounds above 0", str(list(self.bounds)))

    @property
    def corners(self) -> tuple[Any, ...]:
        """The values at which rules between fields are tried."""
        return self.bounds

    @property
    def probes(self) -> tuple[Any, ...]:
        """Values that each must make a valid trial by themselves."""
        low, high = self.bounds
        return (low, low * (high / low) ** GOLDEN, high)

    def holds(self, value: Any) -> bool:
        """Whether a value can be drawn."""
        return self._between(value, self.bounds)

    def draw(self, random: Random) -> float:
        """Return a random value."""
        low, high = self.bounds
        return min(max(low * math.pow(high / low, random.random()), low), high)

    def points(self, count: int) -> list[Any]:
        """Return so many values with the same factor from one to the next, both bounds among them."""
        low, high = self.bounds
        return [low * (high / low) ** (index / (count - 1)) for index in range(count - 1)] + [high]


class IntRange(Searched):
    """A whole number between two bounds, both included, in steps."""

    bounds: tuple[ExactInt, ExactInt] = Field(alias="int")
    step: int = Field(1, ge=1, le=LARGEST_INT)
    log: bool = False
    """Whether every factor, and not every number, is equally likely."""
    default: ExactInt | None = None
    """Tried first, instead of the value in ``config``."""

    def rules(self) -> Iterator[Violation]:
        """The bounds ascend by whole steps, and the default is one of these."""
        yield from ascending(self.bounds, "int")
        yield from inside(self.default, self.bounds)
        if (self.bounds[1] - self.bounds[0]) % self.step:
            yield Violation("step", f"a divisor of {self.bounds[1] - self.bounds[0]}", str(self.step))
        elif self.default is not None and (self.default - self.bounds[0]) % self.step:
            expected = f"{self.bounds[0]} and a multiple of the step ({self.step})"
            yield Violation("default", expected, str(self.default))
        if self.log and self.step > 1:
            yield Violation("step", "none beside log: true", str(self.step))
        if self.log and self.bounds[0] < 1:
            yield Violation("int", "bounds above 0 beside log: true", str(list(self.bounds)))

    @property
    def corners(self) -> tuple[Any, ...]:
        """The values at which rules between fields are tried."""
        return self.bounds

    @property
    def probes(self) -> tuple[Any, ...]:
        """Values that each must make a valid trial by themselves."""
        return tuple(self.listed) if len(self.listed) <= MOST_PROBES else self.bounds

    @property
    def listed(self) -> range:
        """Every value."""
        return range(self.bounds[0], self.bounds[1] + 1, self.step)

    @property
    def count(self) -> float:
        """How many different values there are."""
        return len(self.listed)

    def holds(self, value: Any) -> bool:
        """Whether a value can be drawn."""
        return self._between(value, self.bounds) and value == int(value) and int(value) in self.listed

    def draw(self, random: Random) -> int:
        """Return a random value."""
        if not self.log:
            return random.choice(self.listed)
        low, high = math.log(self.bounds[0] - 0.5), math.log(self.bounds[1] + 0.5)
        return min(max(round(math.exp(random.uniform(low, high))), self.bounds[0]), self.bounds[1])


class Choice(Searched):
    """One of several values, of any type; it reaches the trial exactly as written."""

    options: tuple[Any, ...] = Field(alias="choice", min_length=1)
    default: Any = None
    """The option that is tried first, instead of the value in ``config``."""

    def rules(self) -> Iterator[Violation]:
        """No option twice, and the default among them."""
        yield from _different(self.options, "choice")
        if "default" in self.model_fields_set and self.default not in self.options:
            yield Violation("default", f"one of {list(self.options)}", repr(self.default))

    @property
    def corners(self) -> tuple[Any, ...]:
        """The values at which rules between fields are tried: all of them."""
        return self.options


class FixedGrid(Searched):
    """Every one of several values in turn, with other ranges sampled beside them."""

    options: tuple[Any, ...] = Field(alias="grid", min_length=1)

    def rules(self) -> Iterator[Violation]:
        """No option twice."""
        yield from _different(self.options, "grid")

    @property
    def corners(self) -> tuple[Any, ...]:
        """The values at which rules between fields are tried: all of them."""
        return self.options


class Fixed(Searched):
    """One value, written plainly, or as ``{value: ..., when: ...}``."""

    value: Any

    @property
    def corners(self) -> tuple[Any, ...]:
        """The only value."""
        return (self.value,)


Range = Uniform | LogUniform | LogNormal | IntRange | Choice | FixedGrid | Group | Fixed
WithOptions = (Choice, FixedGrid, Group)
"""Kinds that are a list: what is in it may be anything, a network as well as a number."""
KINDS: dict[str, type[Range]] = {
    "uniform": Uniform,
    "log_uniform": LogUniform,
    "log_normal": LogNormal,
    "int": IntRange,
    "choice": Choice,
    "grid": FixedGrid,
    "one_of": Group,
    "value": Fixed,
}


def _different(options: tuple[Any, ...], field: str) -> Iterator[Violation]:
    if any(option in options[:index] for index, option in enumerate(options)):
        yield Violation(field, "different options", str(list(options)))


def _kind(value: Any) -> str:
    if isinstance(value, Frozen):
        return next(kind for kind, cls in KINDS.items() if isinstance(value, cls))
    if not isinstance(value, dict):
        return "plain"
    return next((kind for kind in KINDS if kind in value), "plain")


def _tag(value: Any) -> str:
    """Return the kind in a form that is no key of a file: pydantic has it in the places of what it finds."""
    return f"{_kind(value)} range"


def _wrap_plain(value: Any) -> Any:
    if isinstance(value, dict) and (wrong := _wrong_keys(value)):
        raise PydanticCustomError("range", "{wrong}", {"wrong": wrong})
    return Fixed(value=value) if _kind(value) == "plain" else value


def _wrong_keys(written: Mapping[str, Any]) -> str:
    """Return what is expected instead of these keys; empty where they tell one kind."""
    kinds = [kind for kind in KINDS if kind in written]
    if len(kinds) > 1:
        return f"one kind of range, not {' and '.join(kinds)} at once"
    if not kinds and "when" in written:
        return f"a range beside `when`: one of {', '.join(KINDS)}"
    if kinds == ["one_of"] and "default" in written:
        return "no default for a group: what `config` sets is tried first"
    return ""


RangeField = Annotated[
    Annotated[Uniform, Tag("uniform range")]
    | Annotated[LogUniform, Tag("log_uniform range")]
    | Annotated[LogNormal, Tag("log_normal range")]
    | Annotated[IntRange, Tag("int range")]
    | Annotated[Choice, Tag("choice range")]
    | Annotated[FixedGrid, Tag("grid range")]
    | Annotated[Group, Tag("one_of range")]
    | Annotated[Fixed, Tag("value range")],
    Discriminator(_tag),
    BeforeValidator(_wrap_plain),
]
"""A range as a file writes it; anything that is none of the kinds is a fixed value."""
