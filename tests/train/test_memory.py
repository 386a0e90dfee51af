from __future__ import annotations

import gc
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from shapeft_tune.config.places import Places
from shapeft_tune.config.resources import CONTEXT_BYTES
from shapeft_tune.errors import Interrupted
from shapeft_tune.models import Segmenter
from shapeft_tune.train import Progress, run_trial
from shapeft_tune.train.memory import cap_of, leaving_nothing, ran_out, until_it_fits
from tests.train.tiny import tiny


def living() -> int:
    """Return how many models and optimisers there are."""
    return sum(issubclass(type(each), Segmenter | torch.optim.Optimizer) for each in gc.get_objects())


def stop(progress: Progress) -> None:
    """End a trial as Ray does."""
    sys.exit(0)


def fail(progress: Progress) -> None:
    try:
        raise ValueError(progress)
    except ValueError as error:
        raise RuntimeError("a failure with one behind it") from error


@pytest.mark.parametrize(("end", "kind"), [(stop, SystemExit), (fail, RuntimeError)])
def test_nothing_of_a_trial_is_left_while_somebody_keeps_the_exception_that_ended_it(
    places: Places, folder: Path, end: Callable[[Progress], None], kind: type[BaseException]
) -> None:
    gc.collect()
    before = living()
    with pytest.raises(kind) as kept, leaving_nothing(0):
        run_trial(tiny(), places, folder, on_progress=end, device="cpu")
    assert living() == before
    assert kept.value is not None


def test_without_it_the_exception_would_hold_the_model(places: Places, folder: Path) -> None:
    gc.collect()
    before = living()
    with pytest.raises(SystemExit) as kept:
        run_trial(tiny(), places, folder, on_progress=stop, device="cpu")
    assert living() > before
    assert kept.value is not None


def test_a_trial_that_is_interrupted_between_validations_ends_its_reading_ahead(
    places: Places, folder: Path
) -> None:
    config = tiny(training__steps=40, validation__every=40)
    with pytest.raises(Interrupted) as kept:
        run_trial(config, places, folder, should_stop=lambda: True, device="cpu")
    assert "prefetch" not in [thread.name for thread in threading.enumerate()]
    assert kept.value is not None


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (torch.OutOfMemoryError("CUDA out of memory."), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
    ],
)
def test_running_out_of_memory_is_told_from_other_errors(error: RuntimeError, expected: bool) -> None:
    assert ran_out(error) == expected


def test_what_a_try_held_is_gone_before_the_next() -> None:
    class Marked:
        """Something that is easy to find."""

    def attempt() -> list[int]:
        left.append(sum(type(each) is Marked for each in gc.get_objects()))
        held = [Marked()]
        if len(left) < 3:
            raise torch.OutOfMemoryError(f"CUDA out of memory with {len(held)} held.")
        return left

    left: list[int] = []
    assert until_it_fits(attempt, make_room=lambda said: None) == [0, 0, 0]


def test_other_errors_are_not_tried_again() -> None:
    tries: list[int] = []

    def attempt() -> None:
        tries.append(1)
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="shapes"):
        until_it_fits(attempt, make_room=lambda said: None)
    assert len(tries) == 1


def test_a_share_of_a_gpu_leaves_room_for_what_cuda_takes_itself() -> None:
    total = 80 * 2**30
    assert cap_of(1.0, total) == 1.0
    assert cap_of(0.25, total) * total + CONTEXT_BYTES == pytest.approx(0.25 * total)
    assert cap_of(0.001, total) == 0.0
