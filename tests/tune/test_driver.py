"""The driver between a real ledger and a real record, with this test in the place of Ray."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from shapeft_tune.config.places import Places
from shapeft_tune.config.protocol import Role
from shapeft_tune.tracking import Recorder
from shapeft_tune.tune.cell_ledger import State
from shapeft_tune.tune.driver import CHECKPOINTS, Driver, Event
from shapeft_tune.tune.ledger import Ledger
from shapeft_tune.tune.trainable import INTERRUPTED, OBSTRUCTED, STOP_FILE, Outcome, trial_folder
from tests.tune.small import SMALL, small

ONE_CELL = {"settings": {"label_fractions": [1.0], "temporal_lengths": [1]}}
METRICS = {"val/miou": 0.1}


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[Callable[..., Driver]]:
    recorder = Recorder.open(f"sqlite:///{tmp_path / 'mlflow.db'}", "small", tmp_path / "artifacts")
    folder = Places(tmp_path).sweep_folder("small")

    def make(on_event: Callable[[Event], None] = lambda event: None, **changes: object) -> Driver:
        ledger = Ledger.open(folder, small(**(SMALL | ONE_CELL | changes)), "digest")
        return Driver("small", ledger, recorder, folder, on_event)

    yield make
    recorder.close()


def ended(driver: Driver, name: str, score: float) -> None:
    driver.ended(name, Outcome("complete", score).to_ray()["outcome"])


def test_a_worse_trial_is_stopped_but_not_at_its_last_validation(driver: Callable[..., Driver]) -> None:
    it = driver(optimisation={"pruner": {"name": "median", "startup_trials": 1}}, budget={"trials": 3})
    for name in ("a", "b", "c"):
        assert it.next_order(name)
    it.progressed("a", 4, 8, {"val/miou": 0.9})
    it.progressed("a", 8, 8, {"val/miou": 0.9})
    ended(it, "a", 0.9)
    assert it.progressed("b", 4, 8, METRICS)
    assert not it.progressed("c", 8, 8, METRICS)


def test_only_the_best_search_trial_keeps_its_weights(driver: Callable[..., Driver], tmp_path: Path) -> None:
    it = driver()
    orders = {name: it.next_order(name) for name in ("a", "b", "c")}
    folders = {}
    for name, order in orders.items():
        folders[name] = trial_folder(tmp_path / "small", order.strategy, order.fingerprint)
        folders[name].mkdir(parents=True)
        for file in CHECKPOINTS:
            (folders[name] / file).touch()
    for name, score in (("a", 0.2), ("b", 0.5), ("c", 0.3)):
        ended(it, name, score)
    assert [name for name in "abc" if (folders[name] / "best.pt").exists()] == ["b"]


def test_a_watcher_that_fails_does_not_end_the_sweep(driver: Callable[..., Driver]) -> None:
    def broken(event: Event) -> None:
        raise SystemExit(1)  # what rich does when the terminal is gone

    it = driver(broken)
    assert it.next_order("a")
    ended(it, "a", 0.5)


def test_a_worker_without_a_last_word_fails_its_trial(driver: Callable[..., Driver], tmp_path: Path) -> None:
    it = driver()
    order = it.next_order("a")
    it.ended("a", {})
    trials = {trial.fingerprint: trial for trial in it._ledger.trials()}
    assert trials[order.fingerprint].state is State.FAILED
    assert "worker died" in trials[order.fingerprint].message


def test_an_interrupted_trial_stays_open_and_is_handed_out_first_by_the_next_driver(
    driver: Callable[..., Driver], tmp_path: Path
) -> None:
    it = driver()
    order = it.next_order("a")
    (tmp_path / "small" / STOP_FILE).touch()
    assert it.next_order("b") is None
    it.ended("a", Outcome(INTERRUPTED).to_ray()["outcome"])
    assert it.done
    (tmp_path / "small" / STOP_FILE).unlink()
    assert driver().next_order("a").fingerprint == order.fingerprint


def test_work_is_over_only_when_confirmations_have_ended(driver: Callable[..., Driver]) -> None:
    it = driver()
    for name in ("a", "b", "c"):
        assert it.next_order(name).role == Role.SEARCH
    assert it.next_order("d") is None
    assert not it.done
    for name in ("a", "b", "c"):
        ended(it, name, 0.5)
    for name in ("d", "e"):
        assert it.next_order(name).role == Role.CONFIRMATION
    assert not it.done
    for name in ("d", "e"):
        ended(it, name, 0.4)
    assert it.done


def test_a_full_disk_stops_the_sweep_and_costs_no_trial_its_place(driver: Callable[..., Driver]) -> None:
    it = driver()
    order = it.next_order("a")
    it.ended("a", Outcome(OBSTRUCTED, message="No space left on device").to_ray()["outcome"])
    assert (it.stopping, it.done, it.obstacle) == (True, True, "No space left on device")
    assert it.next_order("b") is None
    assert driver().next_order("a").fingerprint == order.fingerprint
