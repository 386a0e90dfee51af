"""Device hours in a unit that fits, the same in a report's sentences and tables."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from shapeft_tune.report.words.phrases import span


@dataclass(frozen=True)
class DeviceTime:
    """The largest unit of device time in which the largest of some numbers is 1 or more."""

    hours: float
    """In the unit."""
    unit: str
    """In the plural, as it heads a column."""
    symbol: str
    """As it stands behind a number where there is little room."""

    @classmethod
    def fitting(cls, values: Iterable[float | None]) -> DeviceTime:
        """Choose the unit for some numbers of device hours."""
        most = max((value for value in values if value is not None), default=1.0)
        units = (
            cls(1.0, "device hours", "h"),
            cls(1 / 60, "device minutes", "min"),
            cls(1 / 3600, "device seconds", "s"),
        )
        return next((each for each in units if most >= each.hours), units[-1])

    def amount(self, *hours: float) -> str:
        """Return device hours in the unit, without it: ``3.5``, or ``0.4 to 3.5`` for several."""
        return span((each / self.hours for each in hours), _short)

    def phrase(self, *hours: float) -> str:
        """Return the same with the unit: ``1 device hour``, ``0.4 to 3.5 device hours``."""
        amount = self.amount(*hours)
        return f"{amount} {self.unit.removesuffix('s') if amount == '1' else self.unit}"

    def short(self, hours: float) -> str:
        """Return device hours with the unit's symbol: ``21 s``."""
        return f"{self.amount(hours)} {self.symbol}"


def _short(value: float) -> str:
    return f"{value:.2g}" if value < 10 else f"{value:.0f}"
