"""Every sampler and every pruner by name, through the real ledger, on a function in the place of training."""

from __future__ import annotations

import statistics
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from scipy.stats import qmc

from shapeft_tune.config import load_sweep
from shapeft_tune.config.protocol import Role
from shapeft_tune.errors import ConfigError
from shapeft_tune.tune.ledger import asking
from shapeft_tune.tune.ledger.cell_ledger import CellLedger
from shapeft_tune.tune.ledger.ledger import Ledger
from shapeft_tune.tune.ledger.samplers import SLOW, sampler_of
from shapeft_tune.tune.ledger.trials import NEIGHBOUR, LedgerTrial, Spent, State
from tests.tune.small import SMALL, written
from tests.tune.synthetic import SMOOTH, in_memory, only, peaked, place, smooth, waited_for, worked_off

SAMPLERS: dict[str, Any] = {
    "tpe": {"name": "tpe", "startup_trials": 3, "candidates": 12},
    "random": "random",
    "sobol": "quasi_random",
    "halton": {"name": "quasi_random", "sequence": "halton"},
    "gaussian_process": {"name": "gaussian_process", "startup_trials": 3, "deterministic": True},
    "cma_es": {"name": "cma_es", "startup_trials": 3, "population": 4},
    "grid": {"name": "grid", "points": 4},
}
pytestmark = pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
ALL = pytest.mark.parametrize("name", SAMPLERS)
MIXED = {
    "training.batch_size": {"int": [1, 4], "when": {"training.optimiser": "adamw"}},
    "training.optimiser": {"choice": ["adamw", "sgd"]},
    "training.loss": {"grid": ["cross_entropy", "dice"]},
    "training.gradient_clip": {"uniform": [0.5, 2.0]},
}


def regret(sampler: Any, trials: int, seed: int) -> float:
    """Return by how much the best of so many trials misses the peak."""
    return 1 - max(
        trial.score or 0.0 for trial in worked_off(only(in_memory(smooth(sampler, trials, seed=seed))))
    )


@ALL
def test_every_sampler_works_a_cell_off_inside_its_ranges_without_repeats(name: str) -> None:
    trials = worked_off(only(in_memory(smooth(SAMPLERS[name], 12))))
    assert len(trials) == len({trial.fingerprint for trial in trials}) == 12
    assert all(0 <= coordinate <= 1 for trial in trials for coordinate in place(trial))
    assert {trial.state for trial in trials} == {State.COMPLETE}


@pytest.mark.parametrize("name", sorted(set(SAMPLERS) - {"cma_es"}))
def test_every_sampler_but_cma_es_works_off_conditions_choices_and_a_fixed_grid(name: str) -> None:
    trials = worked_off(only(in_memory(smooth(SAMPLERS[name], 12, search=MIXED))), lambda trial: 0.5)
    assert len({trial.fingerprint for trial in trials}) == 12
    for trial in trials:
        assert ("training.batch_size" in trial.sampled) == (trial.sampled["training.optimiser"] == "adamw")
    if name != "grid":  # which has an order of its own
        losses = [trial.sampled["training.loss"] for trial in trials]
        assert losses.count("dice") == 6


@pytest.mark.parametrize(
    ("sampler", "trials", "seeds"),
    [
        ({"name": "tpe"}, 40, range(5)),
        ({"name": "cma_es", "startup_trials": 4}, 60, range(5)),
        ({"name": "gaussian_process", "startup_trials": 6}, 11, range(2)),
    ],
    ids=lambda value: value["name"] if isinstance(value, dict) else "",
)
def test_a_sampler_that_learns_comes_nearer_to_the_peak_than_random_draws(
    sampler: Any, trials: int, seeds: range
) -> None:
    by_chance = statistics.mean(regret("random", trials, seed) for seed in range(5))
    assert statistics.mean(regret(sampler, trials, seed) for seed in seeds) < by_chance / 2


def test_cma_es_goes_through_generations_although_each_trial_is_asked_for_by_a_sampler_of_its_own() -> None:
    cell = only(in_memory(smooth({"name": "cma_es", "startup_trials": 1, "population": 4}, 40)))
    trials = worked_off(cell)
    stored = [cell._studies._storage.get_trial(trial.storage_id).system_attrs for trial in trials]
    generations = [each["cma:generation"] for each in stored if "cma:generation" in each]
    assert generations == sorted(generations)
    assert max(generations) >= 8
    late, early = trials[-8:], trials[1:9]
    assert statistics.mean(map(peaked, late)) > statistics.mean(map(peaked, early))


@pytest.mark.parametrize(
    ("search", "said"),
    [
        ({"model.heads": {"choice": [1, 2]}}, "beside a choice, grid or one_of; got model.heads of utae"),
        (
            {"training.gradient_clip": {"uniform": [1, 2], "when": {"training.optimiser": "adamw"}}},
            "beside a range with `when`; got training.gradient_clip of utae",
        ),
        ({"training.optimiser.weight_decay": 0.1}, "which needs two ranges or more; got one range in utae"),
    ],
)
def test_cma_es_is_refused_where_the_space_is_not_of_numbers_alone(
    tmp_path: Path, search: dict[str, Any], said: str
) -> None:
    content = SMALL | {"search": SMOOTH | search, "optimisation": {"sampler": "cma_es"}}
    with pytest.raises(ConfigError) as caught:
        load_sweep(written(tmp_path / "sweep.yaml", content))
    (problem,) = caught.value.problems
    assert problem.path == "optimisation.sampler"
    assert problem.line is not None
    assert said in str(caught.value)


def test_a_quasi_random_sequence_fills_the_space_more_evenly_than_random_draws() -> None:
    def unevenness(sampler: str, seed: int) -> float:
        trials = worked_off(only(in_memory(smooth(sampler, 33, seed=seed, neighbours=False))))
        return float(qmc.discrepancy([place(trial) for trial in trials[1:]]))  # the first is the file's

    by_chance = [unevenness("random", seed) for seed in range(3)]
    assert max(unevenness("quasi_random", seed) for seed in range(3)) < min(by_chance)


def test_a_grid_tries_every_combination_once_and_then_the_cell_is_done() -> None:
    cell = only(in_memory(smooth({"name": "grid", "points": 3}, trials=50)))
    trials = worked_off(cell)
    places = [tuple(round(coordinate, 9) for coordinate in place(trial)) for trial in trials]
    assert sorted(places) == [(x, y) for x in (0.0, 0.5, 1.0) for y in (0.0, 0.5, 1.0)]
    assert not cell.has_work()


def test_a_grid_with_fewer_trials_than_combinations_is_not_worked_off_in_a_row() -> None:
    trials = worked_off(only(in_memory(smooth({"name": "grid", "points": 10}, trials=10))))
    assert all(len({place(trial)[axis] for trial in trials}) > 3 for axis in (0, 1))


def test_a_grid_beyond_all_measure_is_refused() -> None:
    with pytest.raises(ValueError, match=r"grid of at most 10000 combinations.*40000 in utae"):
        smooth({"name": "grid", "points": 200})


def test_a_space_that_holds_fewer_configurations_than_its_ranges_promise_is_done_with_these() -> None:
    search = {"training.batch_size": {"int": [1, 3]}, "training.optimiser.lr": {"uniform": [0.1, 0.2]}}
    narrow = ["training.optimiser.lr > 0.2 or training.batch_size == 5"]  # nothing keeps it
    cell = only(in_memory(smooth("random", 5, search=search, constraints=narrow)))
    assert worked_off(cell) == []
    assert not cell.has_work()


@pytest.fixture
def may_go_on(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Hold every sampler up until this event is set."""
    event = threading.Event()

    def held_up(*arguments: Any, **options: Any) -> Any:
        assert event.wait(30)
        return sampler_of(*arguments, **options)

    monkeypatch.setattr(asking, "sampler_of", held_up)
    return event


def test_a_slow_sampler_thinks_in_a_thread_while_other_cells_are_handed_out(
    may_go_on: threading.Event,
) -> None:
    settings = {"label_fractions": [1.0], "temporal_lengths": [1, 3]}
    sweep = smooth({"name": "gaussian_process"}, 3, settings=settings)
    assert isinstance(sweep.optimisation.sampler, SLOW)
    thinking, other = in_memory(sweep).cells.values()
    first = thinking.next()  # of the file: no sampler is asked
    assert first is not None
    assert thinking.next() is None
    assert (thinking.has_work(), thinking.search_todo()) == (True, 2)
    assert other.next() is not None
    thinking.end(first, State.COMPLETE, 0.5)
    assert thinking.next() is None
    may_go_on.set()
    asked = waited_for(thinking)
    assert asked is not None
    assert asked.origin == "sampler"
    assert thinking.search_todo() == 1


def test_what_a_sampler_thinks_of_is_handed_out_although_the_budget_ends_meanwhile(
    may_go_on: threading.Event,
) -> None:
    budget = {"trials": 9, "steps": 8, "confirmation_seeds": 1}
    cell = only(in_memory(smooth("gaussian_process", budget=budget)))
    first = cell.next()
    assert first is not None
    assert cell.next() is None  # it thinks
    cell.spend(first, Spent(steps=8))
    cell.end(first, State.COMPLETE, 0.5)
    assert cell.budget_reached == "steps"
    may_go_on.set()
    roles = [trial.role for trial in worked_off(cell)]
    assert roles == [Role.SEARCH, Role.CONFIRMATION]


def score(trial: LedgerTrial) -> float:
    """Return a score that any trial has, the same whenever it is asked."""
    return float(int(trial.fingerprint[:6], 16) / 16**6)


RESUMED = ("tpe", "random", "sobol", "halton", "grid")


@pytest.mark.parametrize("name", RESUMED)
@pytest.mark.parametrize("search", [SMOOTH, MIXED], ids=["numbers", "mixed"])
def test_a_ledger_opened_again_in_the_middle_draws_what_an_undisturbed_one_does(
    name: str, search: dict[str, Any], tmp_path: Path
) -> None:
    sweep = smooth(SAMPLERS[name], 12, search=search)
    undisturbed = [trial.fingerprint for trial in worked_off(only(in_memory(sweep)), score)]
    drawn = [each.fingerprint for each in worked_off(only(Ledger.open(tmp_path, sweep, "d")), score, most=5)]
    dying = only(Ledger.open(tmp_path, sweep, "d"))
    handed_out = dying.next()  # and its driver dies
    again = only(Ledger.open(tmp_path, sweep, "d"))
    (left_over,) = again.unfinished()
    assert left_over == handed_out
    again.end(left_over, State.COMPLETE, score(left_over))
    drawn += [left_over.fingerprint, *(each.fingerprint for each in worked_off(again, score))]
    assert drawn == undisturbed


def test_cells_of_equal_ranges_draw_different_configurations() -> None:
    settings = {"label_fractions": [1.0], "temporal_lengths": [1, 3]}
    one, other = in_memory(smooth("random", 4, settings=settings, neighbours=False)).cells.values()
    assert not {place(trial) for trial in worked_off(one)[1:]} & {
        place(trial) for trial in worked_off(other)[1:]
    }


# Pruners

GOOD, BAD = (0.3, 0.5, 0.6, 0.7, 0.75, 0.8), (0.3, 0.2, 0.1, 0.05, 0.05, 0.05)
"""mIoU at steps 10, 20 and so on; the bad one falls."""
PRUNERS: dict[str, Any] = {
    "median": {"name": "median", "startup_trials": 2, "warmup_steps": 15},
    "successive_halving": {"name": "successive_halving", "min_steps": 20, "reduction": 2},
    "hyperband": {"name": "hyperband", "min_steps": 20, "reduction": 2},
    "patience": {"name": "patience", "validations": 1, "tolerance": 0.05},
}


def stopped_after(cell: CellLedger, curve: tuple[float, ...]) -> int | None:
    """Run the cell's next trial along a curve; return after how many validations it was stopped."""
    trial = cell.next()
    assert trial is not None
    for count, miou in enumerate(curve, start=1):
        if cell.report(trial, 10 * count, miou):
            cell.end(trial, State.PRUNED)
            return count
    cell.end(trial, State.COMPLETE, max(curve))
    return None


def with_pruner(name: str) -> list[CellLedger]:
    settings = {"label_fractions": [1.0], "temporal_lengths": [1, 3]}
    sweep = smooth("random", 40, settings=settings, pruner=PRUNERS.get(name, name), neighbours=False)
    return list(in_memory(sweep).cells.values())


@pytest.mark.parametrize("name", PRUNERS)
def test_a_pruner_stops_what_is_clearly_worse_and_lets_the_better_ones_end(name: str) -> None:
    cell, _ = with_pruner(name)
    rising = [tuple(miou + 0.001 * number for miou in GOOD) for number in range(6)]
    assert [stopped_after(cell, curve) for curve in rising] == [None] * 6
    ends = [stopped_after(cell, BAD) for _ in range(6)]
    assert any(end is not None for end in ends) if name == "hyperband" else None not in ends
    assert all(end is None or 2 <= end < 6 for end in ends)  # by equal steps, not at once
    assert stopped_after(cell, tuple(miou + 0.1 for miou in GOOD)) is None


@pytest.mark.parametrize("name", sorted(set(PRUNERS) - {"patience"}))  # which compares a trial with itself
def test_no_pruner_stops_a_trial_because_of_another_cell(name: str) -> None:
    easy, hard = with_pruner(name)
    for number in range(6):
        stopped_after(easy, tuple(miou + 0.001 * number for miou in GOOD))
    poor = [tuple(miou / 10 + 0.001 * number for miou in GOOD) for number in range(6)]
    assert [stopped_after(hard, curve) for curve in poor] == [None] * 6


def test_patience_lets_a_trial_stay_below_its_best_by_the_tolerance() -> None:
    cell, _ = with_pruner("patience")
    assert stopped_after(cell, (0.50, 0.46, 0.46, 0.46)) is None
    assert stopped_after(cell, (0.50, 0.44, 0.44, 0.44)) == 3


def test_none_stops_nothing() -> None:
    cell, _ = with_pruner("none")
    assert [stopped_after(cell, curve) for curve in (GOOD, GOOD, GOOD, BAD, BAD)] == [None] * 5


@pytest.mark.parametrize("name", ["tpe", "sobol", "cma_es", "gaussian_process"])
def test_every_sampler_asks_beside_hyperband_which_shows_it_one_bracket_at_a_time(name: str) -> None:
    sweep = smooth(SAMPLERS[name], 10, pruner=PRUNERS["hyperband"])
    cell = only(in_memory(sweep))
    for _ in range(10):
        trial = waited_for(cell)
        assert trial is not None
        for step in (20, 40, 60):
            cell.report(trial, step, peaked(trial))
        cell.end(trial, State.COMPLETE, peaked(trial))
    assert not cell.has_work()


# Neighbours

FRACTIONS = [0.1, 0.2, 0.4, 0.7, 1.0]


def row(neighbours: bool, seed: int = 0, trials: int = 12) -> list[list[LedgerTrial]]:
    """Work off a row of cells whose peak shifts a little from one to the next; return their trials."""
    settings = {"label_fractions": FRACTIONS, "temporal_lengths": [1]}
    ledger = in_memory(smooth("tpe", trials, settings=settings, seed=seed, neighbours=neighbours))
    return [
        worked_off(cell, lambda trial, at=index: peaked(trial, (0.75 + 0.04 * at, 0.8 - 0.04 * at)))
        for index, cell in enumerate(ledger.cells.values())
    ]


def trials_needed(trials: list[LedgerTrial], good: float = 0.99) -> int:
    """Return how many trials a cell took to come within a tenth of the square of its peak."""
    return next(
        (count for count, trial in enumerate(trials, 1) if (trial.score or 0) >= good), len(trials) + 1
    )


def test_with_neighbours_a_good_value_is_found_in_fewer_trials() -> None:
    needed = {
        neighbours: statistics.mean(
            trials_needed(cell) for seed in range(4) for cell in row(neighbours, seed)[1:]
        )
        for neighbours in (True, False)
    }
    assert needed[True] < 0.6 * needed[False]


def test_a_cell_starts_from_the_file_then_from_its_neighbour_and_says_so_in_its_trials() -> None:
    first, second, *_ = row(neighbours=True)
    assert [trial.origin for trial in second[:3]] == [
        "default",
        "neighbour utae/labels=0.1/dates=1",
        "sampler",
    ]
    best = max(first, key=lambda trial: trial.score or 0)
    assert second[1].sampled == best.sampled
    assert "neighbour" not in " ".join(trial.origin for trial in first)


def test_neighbours_can_be_switched_off() -> None:
    assert not any(NEIGHBOUR in trial.origin for cell in row(neighbours=False) for trial in cell)


def test_at_most_half_of_a_cells_trials_come_from_its_neighbours() -> None:
    settings = {"label_fractions": [0.1, 0.5, 1.0], "temporal_lengths": [1, 3, 6]}
    ledger = in_memory(smooth("random", 6, settings=settings))
    middle = ledger.cells["utae/labels=0.5/dates=3"]
    for cell in ledger.cells.values():
        if cell is not middle:
            worked_off(cell, lambda trial: float(trial.origin == "sampler"))  # each has a best of its own
    assert len(middle.neighbours) == 4
    origins = [trial.origin.split()[0] for trial in worked_off(middle)]
    assert origins == ["default", "neighbour", "neighbour", "neighbour", "sampler", "sampler"]


@pytest.mark.parametrize(("complete", "origin"), [(2, "sampler"), (3, "neighbour utae/labels=0.5/dates=1")])
def test_a_neighbour_whose_search_goes_on_is_asked_after_three_complete_trials(
    complete: int, origin: str
) -> None:
    settings = {"label_fractions": [0.5, 1.0], "temporal_lengths": [1]}
    one, other = in_memory(smooth("random", 9, settings=settings)).cells.values()
    worked_off(one, by_origin, most=complete)
    assert [trial.origin for trial in worked_off(other, most=2)] == ["default", origin]


def test_a_neighbour_that_has_few_trials_is_asked_when_they_have_ended() -> None:
    settings = {"label_fractions": [0.5, 1.0], "temporal_lengths": [1]}
    one, other = in_memory(smooth("random", 2, settings=settings)).cells.values()
    worked_off(one, by_origin, most=1)
    assert one.advice() is None
    worked_off(one, by_origin)
    assert [trial.origin.split()[0] for trial in worked_off(other)] == ["default", "neighbour"]


def test_each_new_best_of_a_neighbour_is_tried_until_half_of_the_trials_are_from_there() -> None:
    settings = {"label_fractions": [0.5, 1.0], "temporal_lengths": [1]}
    one, other = in_memory(smooth("random", 8, settings=settings)).cells.values()
    worked_off(one, lambda trial: trial.number / 100, most=3)
    for _ in range(5):
        worked_off(other, lambda trial: 0.0, most=1)
        worked_off(one, lambda trial: trial.number / 100, most=1)  # each is better than the one before
    worked_off(other, lambda trial: 0.0)
    origins = [trial.origin.split()[0] for trial in other.search_trials()]
    assert origins == ["default", *["neighbour"] * 4, *["sampler"] * 3]
    assert len({trial.fingerprint for trial in other.search_trials()}) == 8


def by_origin(trial: LedgerTrial) -> float:
    """Score what the file says below all that it does not say."""
    return float(trial.origin != "default")


@pytest.mark.parametrize("slots", [1, 9, 18])
def test_cells_learn_from_one_another_also_when_all_of_them_are_at_work_at_once(slots: int) -> None:
    settings = {"label_fractions": [0.1, 0.5, 1.0], "temporal_lengths": [1, 3, 6]}
    cells = list(in_memory(smooth("random", 6, settings=settings)).cells.values())
    running: list[tuple[CellLedger, LedgerTrial]] = []
    while any(cell.has_work() for cell in cells) or running:
        for cell in sorted(cells, key=lambda cell: len(cell.unfinished())):
            if len(running) < slots and (trial := cell.next()):
                running.append((cell, trial))
        cell, trial = running.pop(0)
        cell.end(trial, State.COMPLETE, peaked(trial))
    taken = [sum(NEIGHBOUR in trial.origin for trial in cell.search_trials()) for cell in cells]
    assert sum(taken) >= len(cells)
    assert max(taken) <= 3


# Fixed grids


@pytest.mark.parametrize("sampler", ["random", "gaussian_process"])
def test_a_fixed_grid_stays_even_where_the_sampler_repeats_itself(sampler: str) -> None:
    search = {"training.batch_size": {"grid": [2, 4, 8]}, "training.steps": {"int": [8, 40], "step": 4}}
    cell = only(in_memory(smooth(sampler, 21, search=search)))
    trials = worked_off(cell, lambda trial: 1 - abs(trial.sampled["training.steps"] - 24) / 40)
    sizes = Counter(trial.sampled["training.batch_size"] for trial in trials)
    assert sizes == {2: 7, 4: 7, 8: 7}
    asked = len(cell._studies.study(Role.SEARCH).get_trials(deepcopy=False))
    assert asked > len(trials) or sampler == "random"  # it did repeat itself


def test_a_fixed_grid_stays_even_where_draws_are_rare_that_keep_the_constraints() -> None:
    search = {"training.batch_size": {"grid": [2, 4, 8]}} | SMOOTH
    rare = ["training.optimiser.lr < 0.00012"]
    trials = worked_off(only(in_memory(smooth("random", 12, search=search, constraints=rare))))
    assert Counter(trial.sampled["training.batch_size"] for trial in trials) == {2: 4, 4: 4, 8: 4}


def test_a_fixed_grid_whose_value_has_no_more_to_try_leaves_its_turn_to_the_others() -> None:
    search = {
        "training.optimiser": {"grid": ["sgd", "adamw"]},
        "training.gradient_clip": {"uniform": [0.5, 2.0], "when": {"training.optimiser": "adamw"}},
    }
    trials = worked_off(only(in_memory(smooth("random", 6, search=search))), lambda trial: 0.5)
    assert [trial.sampled["training.optimiser"] for trial in trials] == ["sgd", *["adamw"] * 5]
