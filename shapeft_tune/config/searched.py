"""What all kinds of ranges have in common: the condition beside them, their values, one at random."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from random import Random
from typing import Annotated, Any

from pydantic import Field

from shapeft_tune.config.base import Frozen, Violation, told_as

Scalar = bool | int | float | str | None
Wanted = Annotated[Scalar | tuple[Scalar, ...], told_as("a value, or a list of values")]


class Searched(Frozen):
    """A range. As it stands here, one of the values that ``corners`` lists."""

    when: dict[str, Wanted] = Field(default_factory=dict)
    """Searched only where the trial has these values at these dotted paths; a list means any of it. A section
    with a name or mode is told by that: ``{model.tuning: finetune}``."""

    @property
    def corners(self) -> tuple[Any, ...]:
        """The values at which rules between fields are tried."""
        raise NotImplementedError

    @property
    def probes(self) -> tuple[Any, ...]:
        """Values that each must make a valid trial by themselves."""
        return self.corners

    @property
    def listed(self) -> tuple[Any, ...] | range | None:
        """Every value, None where there is no end of them."""
        return self.corners if self.count < math.inf else None

    @property
    def count(self) -> float:
        """How many different values there are."""
        return math.inf if hasattr(self, "bounds") else len(self.corners)

    def holds(self, value: Any) -> bool:
        """Whether a value can be drawn."""
        return value in self.corners

    def draw(self, random: Random) -> Any:
        """Return a random value."""
        return random.choice(self.corners)

    def points(self, count: int) -> Sequence[Any]:
        """Return so many values spread over the range; all of them where they can be listed."""
        return self.listed or ()

    @staticmethod
    def _between(value: Any, bounds: tuple[float, float]) -> bool:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return number and bounds[0] <= value <= bounds[1]


def ascending(bounds: tuple[float, float], field: str = "") -> Iterator[Violation]:
    """Yield a violation where bounds do not ascend."""
    if not bounds[0] < bounds[1]:
        yield Violation(field, "a lower bound below the upper one", str(list(bounds)))


def inside(value: float | None, bounds: tuple[float, float], field: str = "default") -> Iterator[Violation]:
    """Yield a violation where a value is given and lies outside its bounds."""
    if value is not None and not bounds[0] <= value <= bounds[1]:
        yield Violation(field, f"a value from {bounds[0]:g} to {bounds[1]:g}", f"{value:g}")
