"""The device's memory: noticing that it ran out, freeing it, and leaving none of it taken after a trial."""

from __future__ import annotations

import gc
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch

from shapeft_tune.config.resources import CONTEXT_BYTES

Result = TypeVar("Result")

SIGNS = ("CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED", "CUDA error: out of memory")
"""What libraries say that take memory beside PyTorch's allocator; they raise plain RuntimeErrors."""


def ran_out(error: RuntimeError) -> bool:
    """Return whether an error says that the device has no memory left."""
    return isinstance(error, torch.OutOfMemoryError) or any(sign in str(error) for sign in SIGNS)


def until_it_fits(attempt: Callable[[], Result], make_room: Callable[[str], None]) -> Result:
    """Return what ``attempt`` returns, tried again each time memory runs out.

    Before every further try, ``make_room`` is called with the error's words, and what the last one left is
    freed. ``make_room`` raises where there is no room to be made.
    """
    while True:
        try:
            return attempt()
        except RuntimeError as error:
            if not ran_out(error):
                raise
            said = str(error)
        # Not inside the handler: the error holds the frames that it passed, and these hold what is to go.
        make_room(said)
        free()


def free() -> None:
    """Give back to the device whatever nobody refers to any more."""
    gc.collect()  # modules, optimisers and exceptions refer to themselves in circles
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.empty_cache()


@contextmanager
def leaving_nothing(gpu: float) -> Iterator[None]:
    """Run one trial of a process that runs several: what it took is free again, however it ends.

    An exception's traceback keeps frames alive, and with them model, optimiser and batches; the one by which
    Ray stops a trial is kept by Ray's thread. So these frames are cleared.

    Args:
        gpu: the trial's share of a GPU, which it cannot exceed; the limit of the trial before is lifted.
    """
    if gpu > 0 and torch.cuda.is_available():
        _, total = torch.cuda.mem_get_info()
        torch.cuda.set_per_process_memory_fraction(cap_of(min(gpu, 1.0), total))
    try:
        yield
    except BaseException as error:
        _clear_frames(error)
        raise
    finally:
        free()


def cap_of(share: float, total: int) -> float:
    """Return the fraction of a GPU's bytes that PyTorch's allocator may take in a process with this share.

    What CUDA itself needs for each process is not counted by the allocator, and is left to it.
    """
    return share if share == 1 else max(share - CONTEXT_BYTES / total, 0.0)


def reset_peaks() -> None:
    """Measure :func:`peak_bytes` from here on."""
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        for device in range(torch.cuda.device_count()):
            torch.cuda.reset_peak_memory_stats(device)


def peak_bytes(device: torch.device) -> int | None:
    """Return the most memory of a GPU that tensors took at once; None for a CPU.

    On a CPU only the process's memory could be told, which its former trials have grown.
    """
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None


def _clear_frames(error: BaseException) -> None:
    """Forget the variables of all functions that an exception, or one behind it, has left."""
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        traceback.clear_frames(link.__traceback__)
        link = link.__cause__ or link.__context__
