"""What one trial takes of the cluster."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from shapeft_tune.config.base import Frozen, Violation, told_as

CONTEXT_BYTES = 600 * 2**20
"""What CUDA takes of a GPU for each process, roughly, beside what PyTorch's allocator has."""


class Resources(Frozen):
    """What one trial takes of the cluster."""

    cpu: float = Field(1.0, gt=0)
    """CPU cores of each process; may be a fraction."""
    gpu: Annotated[
        Annotated[float, Field(ge=0)] | Literal["auto"], told_as("a number of GPUs, from 0, or auto")
    ] = 0.0
    """Share of a GPU: 0.25 lets four trials share one. 2 or more: so many processes with a GPU each share the
    trial's batches. ``auto``: the smallest share that a short measurement says is enough."""
    workers: int = Field(1, ge=1)
    """Processes that share a trial's batches; with more than one GPU, one for each."""

    def rules(self) -> Iterator[Violation]:
        """Ray gives fractions of one CPU or GPU, or whole ones; a process has at most one GPU."""
        if self.cpu > 1 and self.cpu != int(self.cpu):
            yield Violation("cpu", "a fraction below 1 or a whole number", str(self.cpu))
        if self.gpu == "auto":
            if self.workers > 1:
                yield Violation("gpu", f"a number where there are {self.workers} workers", "auto")
            return
        if self.gpu > 1 and self.gpu != int(self.gpu):
            yield Violation("gpu", "a fraction up to 1, a whole number, or auto", str(self.gpu))
        elif self.workers > 1 and self.gpu not in (0, self.workers):
            yield Violation(
                "workers", "as many as GPUs, or none of those", f"{self.workers}, gpu: {self.gpu:g}"
            )

    @property
    def processes(self) -> int:
        """How many processes one trial has."""
        return max(self.workers, int(self.gpu)) if self.gpu != "auto" else 1

    @property
    def gpu_of_each(self) -> float | Literal["auto"]:
        """Share of a GPU that each process gets: 0, 1/k, 1, or ``auto``.

        A fraction between two of 1/k is raised to the next: 0.3 would let three trials onto a GPU, which may
        then as well have a third each.
        """
        if self.gpu == "auto" or self.gpu == 0:
            return self.gpu
        return 1.0 if self.gpu >= 1 else 1 / math.floor(1 / self.gpu + 1e-9)

    @property
    def correction(self) -> str:
        """What was changed of the share that the file gives; empty for nothing."""
        share = self.gpu_of_each
        asked = float(self.gpu) if share != "auto" else 0.0
        if share == "auto" or not 0 < asked < 1 or math.isclose(share, asked, rel_tol=0.02):
            return ""
        got = "all" if share == 1 else f"1/{round(1 / share)}"
        return f"gpu: {asked:g} does not divide a GPU evenly; a trial gets {got} of one"
