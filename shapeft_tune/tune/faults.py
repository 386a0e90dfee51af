"""Why a trial failed: through the machine, which another try may not meet, or through itself."""

from __future__ import annotations

import errno
from collections.abc import Sequence

from shapeft_tune.errors import DataError, NonFiniteLoss, ShapeftError, WeightsError

MACHINE, OWN, NON_FINITE = "machine", "own", "non-finite"
"""Kinds of faults. A loss that is not finite twice at the same step is the trial's own fault."""
OBSTACLES = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
"""A disk that is full or cannot be written to: no fault of the trial, so it must not cost its place."""
DEVICE_WORDS = ("CUDA error", "NCCL", "cuDNN", "CUBLAS", "driver shutting down", "device-side", "ECC")
"""What torch says of a device that broke down, as a plain RuntimeError."""


def kind_of(error: BaseException) -> str:
    """Tell whose fault an exception in a worker is.

    Data and weights were looked at before the sweep began; a worker that does not find them sees another disk
    than the driver does, so that is a fault of its machine.
    """
    if isinstance(error, NonFiniteLoss):
        return NON_FINITE
    if isinstance(error, DataError | WeightsError | OSError | MemoryError):
        return MACHINE
    if isinstance(error, ShapeftError):
        return OWN
    broken = isinstance(error, RuntimeError) and any(word in str(error) for word in DEVICE_WORDS)
    return MACHINE if broken else OWN


def worth_another_try(kind: str, message: str, before: Sequence[str], fruitless: int, most: int) -> bool:
    """Decide whether a failed trial is handed out again.

    Args:
        kind: of its fault.
        message: what it said; a non-finite loss names its step.
        before: messages of the faults after which it was tried again already.
        fruitless: tries since it last came further.
        most: the file's ``max_retries``.
    """
    if kind == OWN or fruitless >= most:
        return False
    return kind == MACHINE or message not in before
