"""Where trials run: a real cluster that believes to have two GPUs. Trials note what Ray let them see."""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from shapeft_tune.config.places import Places
from shapeft_tune.config.resources import Resources
from shapeft_tune.config.sweep import SweepConfig
from shapeft_tune.errors import UserError
from shapeft_tune.tracking import Recorder
from shapeft_tune.tune.cluster.cluster import ClusterOptions, cluster, require_slots
from shapeft_tune.tune.cluster.peaks import gpus_of_cluster
from shapeft_tune.tune.driver import Driver
from shapeft_tune.tune.ledger.ledger import Ledger
from shapeft_tune.tune.orders import Order, Outcome
from shapeft_tune.tune.run import work_off
from shapeft_tune.tune.trainable import trial_function
from tests.tune.small import UTAE, small

GPUS = {"half": 0.5, "third": 0.3, "none": 0}


def sweep(**resources: object) -> SweepConfig:
    strategies = {
        name: {"config": {"model": UTAE}, "trials": 3 if gpu else 1, "resources": {"cpu": 0.5, "gpu": gpu}}
        for name, gpu in GPUS.items()
    }
    return small(
        strategies={"utae": {"config": {"model": UTAE}, "resources": resources}} if resources else strategies,
        settings={"label_fractions": [1.0], "temporal_lengths": [1]},
        budget={"trials": 1, "confirmation_seeds": 1},
    )


@pytest.fixture(scope="module")
def two_gpus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with cluster(
        ClusterOptions(cpus=2, gpus=2), tmp_path_factory.mktemp("log") / "ray.log"
    ) as cluster_is_there:
        cluster_is_there()
        yield


@dataclass(frozen=True)
class Stay:
    """One trial: what it saw of the GPUs, and how long it was there."""

    strategy: str
    share: float
    visible: str
    begun: float
    ended: float


def meet(register: Path) -> None:
    """Stay until three trials have come, so that two of them share one of the two GPUs."""
    with register.open("a") as file:
        file.write("here\n")
    deadline = time.monotonic() + 60
    while len(register.read_text().splitlines()) < 3 and time.monotonic() < deadline:
        time.sleep(0.05)


def noting(notes: Path, places: Places, folder: Path) -> Callable[[dict[str, str]], None]:
    """Return a worker's function: a real trial where there is no GPU in it, a pause elsewhere."""
    run = trial_function(folder, places)

    def work(ray_config: dict[str, str]) -> None:
        from ray import tune

        order, begun = Order.from_ray(ray_config), time.time()
        if order.gpu:
            meet(notes.with_suffix(".begun"))
        else:
            run(ray_config)
        stay = [order.strategy, order.gpu, os.environ["CUDA_VISIBLE_DEVICES"], begun, time.time()]
        with notes.open("a") as file:
            file.write(json.dumps(stay) + "\n")
        if order.gpu:
            tune.report(Outcome("complete", 0.5).to_ray())

    return work


@pytest.fixture(scope="module")
def stays(two_gpus: None, tmp_path_factory: pytest.TempPathFactory) -> list[Stay]:
    """Every trial of a sweep of three sizes."""
    home = tmp_path_factory.mktemp("home")
    places, declared = Places(home), sweep()
    folder = places.sweep_folder(declared.name)
    recorder = Recorder.open(f"sqlite:///{home / 'mlflow.db'}", declared.name, home / declared.name)
    driver = Driver(declared, Ledger.open(folder, declared, "digest"), recorder, folder, lambda event: None)
    work_off(driver, noting(home / "notes", places, folder), folder)
    recorder.close()
    return [Stay(*json.loads(line)) for line in (home / "notes").read_text().splitlines()]


def test_every_trial_of_every_size_has_run(stays: list[Stay]) -> None:
    assert Counter(stay.strategy for stay in stays) == {"half": 4, "third": 4, "none": 2}


def test_a_share_is_what_the_file_asks_for_or_the_next_that_divides_a_gpu(stays: list[Stay]) -> None:
    assert {stay.strategy: stay.share for stay in stays} == {
        "half": 0.5,
        "third": pytest.approx(1 / 3),
        "none": 0,
    }


def test_no_gpu_is_ever_asked_for_more_than_it_is(stays: list[Stay]) -> None:
    with_gpu = [stay for stay in stays if stay.share]
    assert {stay.visible for stay in with_gpu} <= {"0", "1"}
    for each in with_gpu:
        beside = [stay for stay in with_gpu if stay.visible == each.visible]
        at_once = [stay.share for stay in beside if stay.begun <= each.begun < stay.ended]
        assert sum(at_once) < 1.01


def test_trials_do_share_a_gpu(stays: list[Stay]) -> None:
    halves = [stay for stay in stays if stay.share]
    assert any(
        one.visible == other.visible and one.begun < other.begun < one.ended
        for one in halves
        for other in halves
    )


def test_a_trial_without_a_gpu_sees_none(stays: list[Stay]) -> None:
    assert {stay.visible for stay in stays if not stay.share} == {""}


@pytest.mark.usefixtures("two_gpus")
@pytest.mark.parametrize(
    "resources",
    [{"gpu": 2}, {"gpu": 0.3, "cpu": 2}, {"gpu": "auto", "cpu": 2}, {"workers": 2, "cpu": 1}, {"gpu": 1}],
)
def test_what_fits_into_the_cluster_is_let_through(resources: dict[str, object]) -> None:
    require_slots(sweep(**resources), ClusterOptions(), pytest.fail)


@pytest.mark.usefixtures("two_gpus")
@pytest.mark.parametrize(
    ("resources", "said"),
    [
        ({"gpu": 3}, "strategy utae asks for 3 GPU and 3 CPU per trial and this machine has 2 GPU and 2 CPU"),
        ({"gpu": 2, "cpu": 2}, "2 GPU and 4 CPU"),
        ({"workers": 3}, "asks for 3 CPU"),
        ({"cpu": 3, "gpu": "auto"}, "asks for 3 CPU"),
    ],
)
def test_what_could_never_be_placed_is_refused_here_and_said_of_a_cluster_elsewhere(
    resources: dict[str, object], said: str
) -> None:
    with pytest.raises(UserError, match=said):
        require_slots(sweep(**resources), ClusterOptions(), pytest.fail)
    told = list[str]()
    require_slots(sweep(**resources), ClusterOptions(address="auto"), told.append)
    assert len(told) == 1
    assert "its trials wait for one" in told[0]


@pytest.mark.usefixtures("two_gpus")
def test_cores_for_each_gpu_are_those_of_the_cluster() -> None:
    found = gpus_of_cluster()
    assert found
    assert found.cpus_for_each == 1


def test_the_sentence_of_a_correction_names_what_a_trial_gets() -> None:
    assert "1/3" in Resources(gpu=GPUS["third"]).correction
