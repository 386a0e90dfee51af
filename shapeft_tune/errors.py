"""Every error this project raises on purpose.

ShapeftError
├── UserError            a mistake the user can mend; the commands exit with 2
│   ├── ConfigError      a file or option that does not describe a sweep or a trial
│   ├── DataError        a data set that is missing, broken or too small for what was asked
│   ├── WeightsError     pretrained weights that are missing or do not fit
│   ├── HomeError        the home folder cannot be used
│   ├── LedgerError      the ledger and the file contradict each other
│   └── TrackingError    the MLflow server or store cannot be used
└── TrialError           one trial failed; the sweep goes on, `train` exits with 1
    ├── NonFiniteLoss    the loss became NaN or infinite
    ├── OutOfMemory      it does not fit, even with its batches cut into pieces
    ├── ClosedTestFold   a search trial asked for the test folds
    └── Interrupted      it was asked to stop, and can go on from its checkpoint

Anything else that escapes is a fault of this project.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with a file: where, what was expected, what came, what to do."""

    path: str
    expected: str
    got: str = ""
    hint: str = ""
    line: int | None = None

    def __str__(self) -> str:
        """Render as ``path (line n): expected ...; got ... - hint``."""
        where = f"{self.path} (line {self.line})" if self.line else self.path
        came = f"; got {self.got}" if self.got else ""
        hint = f" - {self.hint}" if self.hint else ""
        return f"{where}: expected {self.expected}{came}{hint}"


class ShapeftError(Exception):
    """Base of all errors raised on purpose."""


class UserError(ShapeftError):
    """A mistake the user can mend. The message says what was expected, what came, what to do."""


class ConfigError(UserError):
    """A file that does not describe a sweep or a trial; carries every problem found, not just the first."""

    def __init__(self, source: str, problems: Iterable[Problem]) -> None:
        self.source = source
        self.problems = tuple(dict.fromkeys(problems))  # the same fault seen at two corners is one fault
        count = len(self.problems)
        head = f"{source}: {count} {'problem' if count == 1 else 'problems'}"
        super().__init__("\n".join([head, *(f"  {problem}" for problem in self.problems)]))

    def __reduce__(self) -> tuple[object, ...]:
        """Survive the way from a Ray worker to the driver."""
        return type(self), (self.source, self.problems)


class DataError(UserError):
    """A data set that is missing, broken or too small for what was asked."""


class WeightsError(UserError):
    """Pretrained weights that are missing or do not fit the model."""


class HomeError(UserError):
    """The home folder cannot be used."""


class LedgerError(UserError):
    """The ledger and the sweep file contradict each other."""


class TrackingError(UserError):
    """The MLflow server or store cannot be used."""


class TrialError(ShapeftError):
    """One trial failed. The sweep goes on without it."""


class NonFiniteLoss(TrialError):
    """The training loss became NaN or infinite."""


class OutOfMemory(TrialError):
    """The trial does not fit into the device's memory, even with its batches cut into pieces."""


class ClosedTestFold(TrialError):
    """A search trial asked for the test folds, which would leak into the choice of hyperparameters."""


class Interrupted(TrialError):
    """The trial was asked to stop. Its checkpoint is written, and it can go on from there."""
