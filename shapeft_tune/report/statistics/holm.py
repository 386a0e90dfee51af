"""Holm's procedure (1979): several tests at once, with a chance of 5 % at most that any of them errs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

LEVEL = 0.05


@dataclass(frozen=True)
class Tested:
    """One of the tests."""

    p_value: float
    """Adjusted for all of them; the test rejects where it is 0.05 or less."""
    confidence: float
    """Of the interval that leaves out 0 exactly where the test rejects."""

    @property
    def rejected(self) -> bool:
        """Whether the difference is told from none."""
        return self.p_value <= LEVEL


def holm(p_values: Sequence[float]) -> list[Tested]:
    """Test the smallest p-value at 5 % / m, the next at 5 % / (m - 1), and so on, up to the first that fails.

    That one and all after it are not rejected; their intervals are those of the level at which it failed.
    """
    count = len(p_values)
    order = sorted(range(count), key=lambda index: p_values[index])
    found: dict[int, Tested] = {}
    adjusted, tests = 0.0, count
    for place, index in enumerate(order):
        if adjusted <= LEVEL:
            tests = count - place
        adjusted = max(adjusted, min(1.0, (count - place) * p_values[index]))
        found[index] = Tested(adjusted, 1 - LEVEL / tests)
    return [found[index] for index in range(count)]
