"""Shares of a GPU: what a file may ask for, and what is made of it."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from shapeft_tune.config.resources import Resources


@pytest.mark.parametrize(
    ("asked", "given"),
    [(0, 0), (0.1, 1 / 10), (0.25, 1 / 4), (0.3, 1 / 3), (0.33, 1 / 3), (0.4, 1 / 2), (0.7, 1), (1, 1)],
)
def test_a_share_is_raised_to_the_next_that_divides_a_gpu_evenly(asked: float, given: float) -> None:
    resources = Resources(gpu=asked)
    assert resources.gpu_of_each == pytest.approx(given)
    assert resources.gpu_of_each >= asked - 0.01


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (0.3, "gpu: 0.3 does not divide a GPU evenly; a trial gets 1/3 of one"),
        (0.4, "gpu: 0.4 does not divide a GPU evenly; a trial gets 1/2 of one"),
        (0.7, "gpu: 0.7 does not divide a GPU evenly; a trial gets all of one"),
    ],
)
def test_what_was_corrected_is_said(asked: float, said: str) -> None:
    assert Resources(gpu=asked).correction == said


@pytest.mark.parametrize("asked", [0, 0.25, 0.33, 0.333, 0.5, 1, 2, "auto"])
def test_nothing_is_said_where_nothing_was_corrected(asked: object) -> None:
    assert Resources(gpu=asked).correction == ""


@pytest.mark.parametrize(
    ("asked", "processes", "each"),
    [({"gpu": 2}, 2, 1), ({"gpu": 3, "workers": 3}, 3, 1), ({"workers": 2}, 2, 0), ({"gpu": 0.5}, 1, 0.5)],
)
def test_whole_gpus_make_a_process_each(asked: dict[str, float], processes: int, each: float) -> None:
    resources = Resources.model_validate(asked)
    assert (resources.processes, resources.gpu_of_each) == (processes, each)


@pytest.mark.parametrize(
    "asked",
    [{"gpu": 1.5}, {"cpu": 1.5}, {"gpu": -1}, {"gpu": 0.5, "workers": 2}, {"gpu": "auto", "workers": 2}],
)
def test_what_ray_cannot_place_is_refused(asked: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Resources.model_validate(asked)


@pytest.mark.parametrize("gpu", [-1, "all", float("nan"), None])
def test_a_share_that_is_none_is_one_problem_that_names_both_forms(gpu: object) -> None:
    with pytest.raises(ValidationError) as caught:
        Resources.model_validate({"gpu": gpu})
    (problem,) = caught.value.errors()
    assert problem["msg"] == "a number of GPUs, from 0, or auto"
