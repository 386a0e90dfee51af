"""Which device a trial computes on, and in which precision."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Literal

import torch

from shapeft_tune.errors import UserError


@dataclass(frozen=True)
class Compute:
    """A device and the precision of the arithmetic on it; weights stay fp32 in either case."""

    device: torch.device
    bf16: bool

    def arithmetic(self) -> AbstractContextManager[Any]:
        """Return the context in which forward passes run."""
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.bf16)

    @property
    def precision(self) -> str:
        """``bf16`` or ``fp32``, as recorded with the trial."""
        return "bf16" if self.bf16 else "fp32"


def choose_compute(precision: Literal["auto", "bf16", "fp32"], device: str | None = None) -> Compute:
    """Take the GPU where there is one, else the CPU; ``auto`` means bf16 where it is computed natively.

    Raises:
        UserError: this machine has no such device.
    """
    try:
        chosen = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        torch.empty(0, device=chosen)
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"device {device}: expected cpu, cuda or cuda:N of this machine; {error}") from error
    return Compute(chosen, bf16=precision == "bf16" or (precision == "auto" and _has_bf16(chosen)))


def _has_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device.type == "cpu" and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
