"""The driver between a real ledger and a real record, with this test in the place of Ray."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from shapeft_tune.config.places import Places
from shapeft_tune.config.protocol import Role
from shapeft_tune.errors import NonFiniteLoss
from shapeft_tune.report import compare, findings, read_runs
from shapeft_tune.tracking import Recorder
from shapeft_tune.tune.driver import Driver, Event
from shapeft_tune.tune.faults import OWN
from shapeft_tune.tune.ledger.ledger import Ledger
from shapeft_tune.tune.ledger.trials import LedgerTrial, State
from shapeft_tune.tune.orders import CHECKPOINTS, INTERRUPTED, OBSTRUCTED, STOP_FILE, Outcome, trial_folder
from shapeft_tune.tune.status.whereabouts import FILE, places_in
from shapeft_tune.tune.storage.storage import TrialStorage, trial_key
from shapeft_tune.tune.storage.trial_files import TrialFiles
from shapeft_tune.tune.trainable import failed
from tests.tune.small import small

ONE_CELL = {"settings": {"label_fractions": [1.0], "temporal_lengths": [1]}}
METRICS = {"val/miou": 0.1}


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[Callable[..., Driver]]:
    recorder = Recorder.open(f"sqlite:///{tmp_path / 'mlflow.db'}", "small", tmp_path / "small")
    folder = Places(tmp_path).sweep_folder("small")

    def make(
        on_event: Callable[[Event], None] = lambda event: None,
        files: TrialFiles | None = None,
        **changes: object,
    ) -> Driver:
        sweep = small(**(ONE_CELL | changes))
        return Driver(sweep, Ledger.open(folder, sweep, "digest"), recorder, folder, on_event, files)

    yield make
    recorder.close()


def ended(driver: Driver, name: str, score: float) -> None:
    driver.ended(name, Outcome("complete", score).to_ray()["outcome"])


def test_a_worse_trial_is_stopped_but_not_at_its_last_validation(driver: Callable[..., Driver]) -> None:
    it = driver(optimisation={"pruner": {"name": "median", "startup_trials": 1}}, budget={"trials": 3})
    for name in ("a", "b", "c"):
        assert it.next_order(name)
    it.progressed("a", 4, 8, 1.0, {"val/miou": 0.9})
    it.progressed("a", 8, 8, 2.0, {"val/miou": 0.9})
    ended(it, "a", 0.9)
    assert it.progressed("b", 4, 8, 1.0, METRICS)
    assert not it.progressed("c", 8, 8, 2.0, METRICS)


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


def only_trial(driver: Driver) -> LedgerTrial:
    (trial,) = driver._ledger.trials()
    return trial


def test_a_trial_whose_workers_die_is_handed_out_again_a_few_times_and_then_fails(
    driver: Callable[..., Driver],
) -> None:
    it = driver(budget={"trials": 3, "max_retries": 2})
    order = it.next_order("a0")
    for attempt in range(2):
        it.ended(f"a{attempt}", {})
        assert not it.done
        assert it.next_order(f"a{attempt + 1}") == order
    it.ended("a2", {})
    trial = only_trial(it)
    assert (trial.state, len(trial.retried)) == (State.FAILED, 2)
    assert "worker died" in trial.message


def test_a_trial_that_comes_further_between_faults_is_never_given_up(driver: Callable[..., Driver]) -> None:
    it = driver(budget={"trials": 3, "max_retries": 1})
    for attempt in range(4):
        it.next_order(f"a{attempt}")
        it.progressed(f"a{attempt}", attempt + 1, 8, 1.0, METRICS)
        it.ended(f"a{attempt}", {})
    trial = only_trial(it)
    assert (trial.state, len(trial.retried)) == (State.RUNNING, 4)


def test_a_fault_of_its_own_fails_a_trial_at_once(driver: Callable[..., Driver]) -> None:
    it = driver()
    it.next_order("a")
    it.ended("a", failed(ValueError("not like this")).to_ray()["outcome"])
    assert (only_trial(it).state, only_trial(it).retried) == (State.FAILED, ())


def test_a_loss_that_is_not_finite_twice_at_the_same_step_fails_and_at_another_is_tried_again(
    driver: Callable[..., Driver],
) -> None:
    it = driver(budget={"trials": 3, "max_retries": 5})
    for attempt, step in enumerate((20, 40, 40)):
        it.next_order(f"a{attempt}")
        it.ended(f"a{attempt}", failed(NonFiniteLoss(f"not finite by step {step}")).to_ray()["outcome"])
    assert (only_trial(it).state, len(only_trial(it).retried)) == (State.FAILED, 2)


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


def test_a_full_disk_stops_the_sweep_and_costs_no_trial_its_place(
    driver: Callable[..., Driver], tmp_path: Path
) -> None:
    it = driver()
    order = it.next_order("a")
    it.ended("a", Outcome(OBSTRUCTED, message="No space left on device").to_ray()["outcome"])
    assert (it.stopping, it.done, it.obstacle) == (True, True, "No space left on device")
    assert it.next_order("b") is None
    assert (tmp_path / "small" / STOP_FILE).exists()  # for the trials that still run
    (tmp_path / "small" / STOP_FILE).unlink()
    assert driver().next_order("a").fingerprint == order.fingerprint


def test_a_disk_ceiling_lets_no_trial_begin_that_may_not_fit(
    driver: Callable[..., Driver], tmp_path: Path
) -> None:
    it = driver(files=TrialFiles(tmp_path / "small", most_bytes=250))
    assert it.next_order("a")
    assert it.next_order("b") is None  # nobody knows yet what one of them takes
    it.progressed("a", 4, 8, 1.0, METRICS, disk_bytes=100)
    assert it.next_order("b")
    it.progressed("b", 4, 8, 1.0, METRICS, disk_bytes=100)
    assert it.next_order("c") is None
    it.ended("a", Outcome("complete", 0.5, disk_bytes=10).to_ray()["outcome"])
    assert it.next_order("c")


def test_a_ceiling_that_nothing_fits_under_ends_the_sweep_with_what_to_do(
    driver: Callable[..., Driver], tmp_path: Path
) -> None:
    it = driver(files=TrialFiles(tmp_path / "small", most_bytes=50))
    it.next_order("a")
    it.progressed("a", 4, 8, 1.0, METRICS, disk_bytes=100)
    it.ended("a", Outcome("complete", 0.5, disk_bytes=20).to_ray()["outcome"])
    assert it.next_order("b") is None
    assert it.done
    assert "raise the ceiling" in it.obstacle


@pytest.mark.parametrize("where", ["home", "storage"])
def test_what_pruned_and_failed_trials_no_longer_take_is_free_for_others(
    driver: Callable[..., Driver], tmp_path: Path, where: str
) -> None:
    """With a storage the workers are elsewhere, and nothing of their trials is on the driver's disk."""
    folder = tmp_path / "small"
    storage = TrialStorage.at((tmp_path / "storage").as_uri() if where == "storage" else None)
    files = TrialFiles(folder, storage, most_bytes=600)
    it = driver(files=files, budget={"trials": 20, "confirmation_seeds": 0})
    for number in range(10):
        name = str(number)
        order = it.next_order(name)
        assert order is not None, it.obstacle
        home = folder if where == "home" else tmp_path / "node"
        at_work = trial_folder(home, order.strategy, order.fingerprint)
        at_work.mkdir(parents=True)
        (at_work / "config.json").write_text("{}")
        for file in CHECKPOINTS:
            (at_work / file).write_bytes(bytes(100))
        storage.keep(at_work, trial_key("small", order.strategy, order.fingerprint))
        it.progressed(name, 4, 8, 1.0, METRICS, disk_bytes=302, kept_bytes=202)
        state = State.PRUNED if number % 2 else State.FAILED
        it.ended(name, Outcome(state, fault=OWN).to_ray()["outcome"])
        assert files._ceiling.used <= 20 * (number + 1), "only results stay"


def test_what_a_strategy_takes_is_known_to_the_next_run(
    driver: Callable[..., Driver], tmp_path: Path
) -> None:
    it = driver(files=TrialFiles(tmp_path / "small"))
    it.next_order("a")
    it.progressed("a", 4, 8, 1.0, METRICS, disk_bytes=100)
    it.ended("a", Outcome(INTERRUPTED).to_ray()["outcome"])
    tight = driver(files=TrialFiles(tmp_path / "small", most_bytes=50))
    assert tight.next_order("a") is None
    assert "would take 100 bytes" in tight.obstacle


@pytest.mark.parametrize("where", ["home", "storage"])
def test_weights_of_a_loser_are_removed_by_the_next_driver_if_one_died_before_it_could(
    driver: Callable[..., Driver], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    class Killed(BaseException):
        pass

    def die(*arguments: object) -> None:
        raise Killed

    storage = TrialStorage.at((tmp_path / "storage").as_uri() if where == "storage" else None)
    it = driver(files=TrialFiles(tmp_path / "small", storage))
    root = tmp_path if where == "home" else tmp_path / "storage"
    folders = {}
    for name, score in (("a", 0.5), ("b", 0.2)):
        order = it.next_order(name)
        assert order is not None
        folders[name] = root / trial_key("small", order.strategy, order.fingerprint)
        folders[name].mkdir(parents=True)
        (folders[name] / "best.pt").touch()
        if name == "b":
            monkeypatch.setattr(it, "_drop_weights", die)
            with pytest.raises(Killed):
                ended(it, name, score)
        else:
            ended(it, name, score)
    driver(files=TrialFiles(tmp_path / "small", storage)).complete_record()
    assert [name for name in "ab" if (folders[name] / "best.pt").exists()] == ["a"]


def test_failed_trials_that_are_reopened_run_again_as_they_were_and_the_record_forgets_the_fault(
    driver: Callable[..., Driver], tmp_path: Path
) -> None:
    budget = {"budget": {"trials": 1, "confirmation_seeds": 1}}
    for role in (Role.SEARCH, Role.CONFIRMATION):
        it = driver(**budget)
        order = it.next_order("a")
        assert order is not None
        assert order.role == role
        it.ended("a", failed(ValueError("not like this")).to_ray()["outcome"])
        assert it.done
        it.close()
        assert Ledger.open(tmp_path / "small", small(**ONE_CELL | budget), "digest").reopen_failed() == 1
        again = driver(**budget)
        assert again.next_order("a") == order
        ended(again, "a", 0.5)
    assert driver(**budget).done
    assert it._recorder.flush()
    runs = read_runs(f"sqlite:///{tmp_path / 'mlflow.db'}", "small")
    assert [(run.facts.role, run.state) for run in runs] == [
        (Role.SEARCH, "complete"),
        (Role.CONFIRMATION, "complete"),
    ]


def test_the_place_of_a_trial_is_known_while_it_runs_and_forgotten_afterwards(
    driver: Callable[..., Driver], tmp_path: Path
) -> None:
    folder = tmp_path / "small"
    it = driver()
    order = it.next_order("a")
    assert order is not None
    (place,) = places_in(folder)
    assert (place.cell, place.fingerprint, place.waits) == ("utae/labels=1/dates=1", order.fingerprint, True)
    ended(it, "a", 0.5)
    it.close()
    assert not (folder / FILE).exists()


def test_the_record_knows_that_a_cells_search_ended_by_its_wall_time(
    driver: Callable[..., Driver], tmp_path: Path
) -> None:
    def told(hours: float) -> str:
        budget = {"trials": 3, "confirmation_seeds": 0, "wall_hours": hours}
        runs = read_runs(f"sqlite:///{tmp_path / 'mlflow.db'}", "small")
        return findings(compare(small(**ONE_CELL, budget=budget), runs))[-1]

    it = driver(budget={"trials": 3, "confirmation_seeds": 0, "wall_hours": 1e-9})
    it.next_order("a")
    ended(it, "a", 0.5)
    assert it.done
    assert it._recorder.flush()
    assert told(1e-9) == "The budget ended the search of 1 of 1 cells after 1 of 3 trials."
    assert told(100) == "The sweep is unfinished: 2 search trials are missing, in 1 of 1 cells."
