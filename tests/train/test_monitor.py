"""Measuring a trial. GPUs are stood in for by fakes that say so: NVML itself needs a driver."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace

import psutil
import pytest
import torch

from shapeft_tune.config.places import Places
from shapeft_tune.train import Progress, run_trial
from shapeft_tune.train import monitor as module
from shapeft_tune.train.monitor import GpuLook, Monitor, monitoring, nvml_gpu
from tests.train.tiny import tiny

CROMA = {
    "name": "croma_optical",
    "size": "small",
    "temporal": {"name": "ltae", "heads": 2, "width": 8},
    "decoder": {"name": "upernet", "channels": 8, "pool_sizes": [1, 2]},
}


class FakeGpu:
    """Plays a GPU: shows what it is told to show, one look after the other, and then the last one."""

    def __init__(self, *looks: GpuLook | Exception) -> None:
        self._looks = list(looks)
        self.looked = threading.Semaphore(0)
        self.is_closed = threading.Event()

    def look(self) -> GpuLook:
        look = self._looks.pop(0) if len(self._looks) > 1 else self._looks[0]
        self.looked.release()
        if isinstance(look, Exception):
            raise look
        return look

    def close(self) -> None:
        self.is_closed.set()

    def wait_for(self, looks: int) -> None:
        """Return after so many more looks, and the one after them, by which they are noted."""
        for _ in range(looks + 1):
            assert self.looked.acquire(timeout=20)


@pytest.fixture
def watching() -> Iterator[Callable[[FakeGpu], Monitor]]:
    monitors: list[Monitor] = []

    def watch(gpu: FakeGpu) -> Monitor:
        monitors.append(Monitor(gpu, look_seconds=0.001))
        return monitors[-1]

    yield watch
    for monitor in monitors:
        monitor.close()


class Clock:
    """Stands for the time: seconds on the wall, and of the processors, go on when they are told to."""

    def __init__(self) -> None:
        self.wall, self.cpu = 100.0, 10.0

    def __call__(self) -> tuple[float, float]:
        return self.wall, self.cpu

    def goes_on(self, seconds: float, cpu: float = 0.0) -> None:
        self.wall, self.cpu = self.wall + seconds, self.cpu + cpu


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "_now", clock)
    return clock


def items_in(clock: Clock, seconds: float) -> Iterator[int]:
    """Yield three items, each of which takes so long to come."""
    for item in range(3):
        clock.goes_on(seconds)
        yield item


def test_waiting_for_batches_is_told_as_its_share_of_the_time(clock: Clock) -> None:
    monitor = Monitor()
    for _ in monitor.waiting_for(items_in(clock, 1.0)):
        clock.goes_on(3.0)
    readings = monitor.readings(3)
    assert readings["speed/data_wait_share"] == pytest.approx(0.25)
    assert readings["speed/steps_per_second"] == pytest.approx(3 / 12)


def test_what_was_before_training_went_on_does_not_count(clock: Clock) -> None:
    monitor = Monitor()
    assert list(monitor.waiting_for(items_in(clock, 5.0))) == [0, 1, 2]
    monitor.begin()
    clock.goes_on(2.0, cpu=1.0)
    readings = monitor.readings(1)
    assert readings["speed/data_wait_share"] == 0
    assert readings["speed/steps_per_second"] == 0.5
    assert readings["system/cpu_percent"] == 50


def test_memory_is_told_in_gigabytes(clock: Clock) -> None:
    memory = Monitor().readings(1)["system/memory_gb"]
    assert memory == pytest.approx(psutil.Process().memory_info().rss / 1e9, rel=0.2)


def test_an_error_of_what_is_waited_for_comes_through() -> None:
    def failing() -> Iterator[int]:
        yield 1
        raise OSError("the disk is gone")

    items = Monitor().waiting_for(failing())
    assert next(items) == 1
    with pytest.raises(OSError, match="the disk is gone"):
        next(items)


def test_of_a_gpu_the_mean_utilisation_and_the_most_memory_are_told(
    watching: Callable[[FakeGpu], Monitor],
) -> None:
    gpu = FakeGpu(GpuLook(50, 2 * 10**9))
    monitor = watching(gpu)
    gpu.wait_for(3)
    readings = monitor.readings(1)
    assert (readings["system/gpu_percent"], readings["system/gpu_memory_gb"]) == (50, 2)


def test_looks_at_a_gpu_before_training_went_on_do_not_count(
    watching: Callable[[FakeGpu], Monitor],
) -> None:
    gpu = FakeGpu(GpuLook(100, 9 * 10**9), GpuLook(10, 10**9))
    monitor = watching(gpu)
    gpu.wait_for(1)
    monitor.begin()
    gpu.wait_for(1)
    assert monitor.readings(1)["system/gpu_percent"] == 10


def test_a_gpu_that_stops_answering_hurts_nobody(watching: Callable[[FakeGpu], Monitor]) -> None:
    gpu = FakeGpu(RuntimeError("GPU is lost"))
    monitor = watching(gpu)
    assert gpu.is_closed.wait(20)
    assert not any(name.startswith("system/gpu") for name in monitor.readings(1))


def test_watching_ends_with_the_training(watching: Callable[[FakeGpu], Monitor]) -> None:
    gpu = FakeGpu(GpuLook(1, 1))
    with monitoring(torch.device("cuda"), lambda device: gpu) as monitor:
        assert monitor.readings(1)
    assert gpu.is_closed.is_set()
    assert not [thread for thread in threading.enumerate() if thread.name == "gpu-monitor"]


class FakeNvml(ModuleType):
    """Plays the module ``pynvml`` on a machine with one GPU."""

    def __init__(self) -> None:
        super().__init__("pynvml")
        self.is_open = False

    def nvmlInit(self) -> None:
        self.is_open = True

    def nvmlShutdown(self) -> None:
        self.is_open = False

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> str:
        if uuid != "GPU-1234":
            raise LookupError(uuid)
        return "handle"

    def nvmlDeviceGetUtilizationRates(self, handle: str) -> SimpleNamespace:
        return SimpleNamespace(gpu=73)

    def nvmlDeviceGetMemoryInfo(self, handle: str) -> SimpleNamespace:
        return SimpleNamespace(used=5 * 10**9, total=10**10)


@pytest.mark.parametrize("uuid", ["1234", "GPU-1234"])
def test_a_gpu_is_asked_for_by_its_uuid(monkeypatch: pytest.MonkeyPatch, uuid: str) -> None:
    fake = FakeNvml()
    monkeypatch.setitem(sys.modules, "pynvml", fake)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(uuid=uuid))
    gpu = nvml_gpu(torch.device("cuda"))
    assert gpu is not None
    assert gpu.look() == GpuLook(73.0, 5 * 10**9)
    gpu.close()
    assert not fake.is_open


def test_a_part_of_a_gpu_that_nvml_gives_no_numbers_for_is_not_watched(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml())
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(uuid="MIG-9"))
    assert nvml_gpu(torch.device("cuda")) is None


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_a_machine_that_nvml_does_not_know_is_not_watched() -> None:
    assert nvml_gpu(torch.device("cuda")) is None
    with monitoring(torch.device("cuda")) as monitor:
        assert not any(name.startswith("system/gpu") for name in monitor.readings(1))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_real_gpu_is_found_and_looked_at() -> None:
    gpu = nvml_gpu(torch.device("cuda", 0))
    assert gpu is not None
    look = gpu.look()
    gpu.close()
    assert 0 <= look.percent <= 100
    assert look.memory_bytes > 0


def progress_of(places: Places, folder: Path, **changes: object) -> list[dict[str, float]]:
    told: list[Progress] = []
    run_trial(tiny(**changes), places, folder, on_progress=told.append, device="cpu")
    return [progress.metrics() for progress in told]


def test_a_trial_tells_at_each_validation_all_that_is_drawn_over_steps(places: Places, folder: Path) -> None:
    for metrics in progress_of(places, folder):
        assert set(metrics) == {
            *("train/loss", "train/lr"),
            *("val/miou", "val/miou_seed20", "val/loss", "val/overall_accuracy", "val/macro_f1"),
            *("speed/steps_per_second", "speed/data_wait_share"),
            *("system/cpu_percent", "system/memory_gb"),
        }
        assert 0 <= metrics["speed/data_wait_share"] <= 1


def test_an_encoder_with_a_rate_of_its_own_tells_it_and_none_while_it_rests(
    places: Places, folder: Path
) -> None:
    tuning = {"mode": "finetune", "weights": "none", "encoder_lr_ratio": 0.1, "frozen_share": 0.5}
    first, *_, last = progress_of(places, folder, model=CROMA | {"tuning": tuning})
    assert first["train/lr_encoder"] == 0
    assert last["train/lr_encoder"] == pytest.approx(0.1 * last["train/lr"])
    assert last["train/lr_encoder"] > 0


def test_a_frozen_encoder_has_no_rate(places: Places, folder: Path) -> None:
    tuning = {"mode": "frozen", "weights": "none"}
    assert "train/lr_encoder" not in progress_of(places, folder, model=CROMA | {"tuning": tuning})[0]
