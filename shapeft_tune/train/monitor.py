"""How fast a trial trains and what it takes of its machine, measured between two validations.

Measuring never waits for a GPU and never touches what is computed: a trial ends with the same weights whether
or not anybody looks.

What the processor did is a difference of two counters, so it needs no one who watches. NVML gives a GPU's
utilisation of the last moment alone, and at a validation that would be the validation's: so where there is a
GPU, a thread looks once a second while the trial trains.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import psutil
import torch

logger = logging.getLogger(__name__)
Item = TypeVar("Item")

LOOK_SECONDS = 1.0
"""Between looks at a GPU. One takes far less than a millisecond."""
GIGA = 1e9


@dataclass(frozen=True)
class GpuLook:
    """A GPU at one moment, with all that runs on it."""

    percent: float
    """Of the time since NVML looked itself last in which something was computed."""
    memory_bytes: int


class Gpu(Protocol):
    """What can be looked at."""

    def look(self) -> GpuLook:
        """Return how it is now; may raise whatever a driver raises."""
        ...

    def close(self) -> None:
        """Let go of it."""
        ...


class Monitor:
    """What a trial takes while it trains, from each :meth:`begin` to the :meth:`readings` after it."""

    def __init__(self, gpu: Gpu | None = None, look_seconds: float = LOOK_SECONDS) -> None:
        """Begin to measure; ``gpu`` is what the trial computes on, if that is one."""
        self._process = psutil.Process()
        self._gpu = gpu
        self._look_seconds = look_seconds
        self._looks: list[GpuLook] = []
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self.begin()
        if gpu:
            self._thread = threading.Thread(target=self._watch, name="gpu-monitor", daemon=True)
            self._thread.start()

    def begin(self) -> None:
        """Forget what was measured: training begins or goes on now."""
        self._started = _now()
        self._waited = 0.0
        with self._lock:
            self._looks = []

    def waiting_for(self, items: Iterable[Item]) -> Iterator[Item]:
        """Yield the items and note how long each of them takes to come."""
        coming = iter(items)
        while True:
            started, _ = _now()
            try:
                item = next(coming)
            except StopIteration:
                return
            finally:
                self._waited += _now()[0] - started
            yield item

    def readings(self, steps: int) -> dict[str, float]:
        """Return what was measured during so many steps, by the record's names."""
        seconds, cpu_seconds = (now - then for now, then in zip(_now(), self._started, strict=True))
        found = {}
        if seconds > 0:  # a GPU may have been at work while its loop waited: the loop runs ahead of it
            found["speed/steps_per_second"] = steps / seconds
            found["speed/data_wait_share"] = min(self._waited / seconds, 1.0)
            found["system/cpu_percent"] = 100 * cpu_seconds / seconds
        with suppress(psutil.Error, OSError):
            found["system/memory_gb"] = self._process.memory_info().rss / GIGA
        return found | self._of_gpu()

    def close(self) -> None:
        """Stop looking."""
        self._ended.set()
        if self._thread:
            self._thread.join(self._look_seconds + 1)

    def _of_gpu(self) -> dict[str, float]:
        with self._lock:
            looks, self._looks = self._looks, []
        if not looks:
            return {}
        return {
            "system/gpu_percent": sum(look.percent for look in looks) / len(looks),
            "system/gpu_memory_gb": max(look.memory_bytes for look in looks) / GIGA,
        }

    def _watch(self) -> None:
        assert self._gpu is not None
        try:
            while not self._ended.wait(self._look_seconds):
                look = self._gpu.look()
                with self._lock:
                    self._looks.append(look)
        except Exception:  # whatever NVML comes up with: the trial goes on without these numbers
            logger.warning("the GPU is no longer watched", exc_info=True)
        finally:
            with suppress(Exception):
                self._gpu.close()


def _now() -> tuple[float, float]:
    """Return seconds on the wall's clock, and of the processors for this process."""
    return time.perf_counter(), time.process_time()


@contextmanager
def monitoring(
    device: torch.device, watch: Callable[[torch.device], Gpu | None] | None = None
) -> Iterator[Monitor]:
    """Measure while the block runs. ``watch`` finds the GPU, in place of NVML."""
    monitor = Monitor((watch or nvml_gpu)(device) if device.type == "cuda" else None)
    try:
        yield monitor
    finally:
        monitor.close()


def nvml_gpu(device: torch.device) -> Gpu | None:
    """Return the GPU behind a device of PyTorch; None where NVML does not know it."""
    try:
        return _NvmlGpu(device)
    except Exception:  # no library, no driver, no right, a part of a GPU that has no numbers of its own
        logger.info("NVML tells nothing of %s", device, exc_info=True)
        return None


class _NvmlGpu:
    """A GPU as NVML has it, found by its UUID: the two count devices differently."""

    def __init__(self, device: torch.device) -> None:
        import pynvml  # type: ignore[import-untyped]

        self._nvml: Any = pynvml
        pynvml.nvmlInit()
        uuid = str(torch.cuda.get_device_properties(device).uuid)
        self._handle = pynvml.nvmlDeviceGetHandleByUUID(uuid if uuid.startswith("GPU-") else f"GPU-{uuid}")

    def look(self) -> GpuLook:
        percent = float(self._nvml.nvmlDeviceGetUtilizationRates(self._handle).gpu)
        return GpuLook(percent, int(self._nvml.nvmlDeviceGetMemoryInfo(self._handle).used))

    def close(self) -> None:
        self._nvml.nvmlShutdown()
