from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import replace
from random import Random
from typing import Any

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.importance import FanovaImportanceEvaluator, get_param_importances

from shapeft_tune.config import Cell
from shapeft_tune.report import Run, compare
from shapeft_tune.report.hyperparameters import StrategySearch, searches_of
from shapeft_tune.report.hyperparameters.best_values import best_values
from shapeft_tune.report.hyperparameters.fields import fields_of, short_names
from shapeft_tune.report.hyperparameters.importances import (
    FEWEST_TRIALS,
    MOST_TREES,
    SEED,
    Scored,
    chance_levels,
    importances_of,
    mean_importances,
    predictability,
)
from shapeft_tune.report.hyperparameters.words import findings_on_search, number_words
from tests.report.searched import (
    BATCH,
    DECAY,
    DROPOUT,
    LOSS,
    LR,
    SIZE,
    TEMPORAL,
    everything,
    search_run,
    searched_sweep,
    tried,
)
from tests.report.synthetic import synthetic_runs, synthetic_sweep

RATIO = "model.tuning.encoder_lr_ratio"
LR_RANGE: Mapping[str, Any] = {LR: {"log_uniform": [1e-4, 1e-2]}}
TWO: Mapping[str, Any] = {**LR_RANGE, LOSS: {"choice": ["cross_entropy", "weighted_cross_entropy"]}}
DISTRIBUTIONS = {
    "lr": FloatDistribution(1e-4, 1e-2, log=True),
    "decay": FloatDistribution(0.0, 0.1),
    "loss": CategoricalDistribution(["a", "b"]),
}


def scored(count: int, seed: int = 0) -> list[Scored]:
    """Return trials whose score the learning rate decides, and the loss by a little."""
    random = Random(seed)
    trials = []
    for _ in range(count):
        lr, decay, loss = 10 ** random.uniform(-4, -2), random.uniform(0, 0.1), random.choice("ab")
        score = 0.5 - 0.1 * abs(math.log10(lr) + 3) + 0.02 * (loss == "b") + random.gauss(0, 0.01)
        trials.append(Scored({"lr": lr, "decay": decay, "loss": loss}, score))
    return trials


def search_of(fields: Mapping[str, Any], runs: list[Run], **other: Any) -> StrategySearch:
    return searches_of(searched_sweep(fields, **other), runs)[0]


def one_cell(fields: Mapping[str, Any], **other: Any) -> Cell:
    return searched_sweep(fields, **other).cells[0]


@pytest.fixture(scope="module")
def simulated() -> tuple[StrategySearch, ...]:
    sweep = synthetic_sweep(trials=40)
    return searches_of(sweep, synthetic_runs(sweep))


# What a search is made of


def test_every_strategy_has_its_search_with_the_sweeps_cells_in_order() -> None:
    sweep = synthetic_sweep(("utae", "croma_finetune"), trials=3)
    searches = searches_of(sweep, synthetic_runs(sweep))
    assert [search.strategy for search in searches] == ["utae", "croma_finetune"]
    for search in searches:
        cells = [cell for cell in sweep.cells if cell.strategy == search.strategy]
        assert [cell.setting for cell in search.cells] == [
            (cell.label_fraction, cell.temporal_length) for cell in cells
        ]
        assert {len(cell.trials) for cell in search.cells} == {3}


def test_the_best_trial_is_the_comparisons() -> None:
    sweep = synthetic_sweep(trials=12)
    runs = synthetic_runs(sweep)
    comparison = compare(sweep, runs)
    for search in searches_of(sweep, runs):
        for cell in search.cells:
            summary = comparison.cell(search.strategy, *cell.setting)
            assert cell.best is not None
            assert (cell.best.values, cell.best.val_miou) == (summary.best_config, summary.val_miou_best)


def test_trials_are_in_the_records_order_with_state_steps_and_origin() -> None:
    cell = one_cell(LR_RANGE)
    runs = [search_run(cell, {LR: lr}, score) for lr, score in ((1e-3, 0.4), (3e-3, 0.5), (2e-3, 0.3))]
    trials = search_of(LR_RANGE, runs).cells[0].trials
    assert [trial.values[LR] for trial in trials] == [1e-3, 3e-3, 2e-3]
    assert {(trial.state, trial.steps, trial.origin) for trial in trials} == {("complete", 2000.0, "sampler")}


def test_a_pruned_trial_shows_its_last_validation_and_is_never_the_best() -> None:
    cell = one_cell(LR_RANGE)
    runs = [
        search_run(cell, {LR: 1e-3}, 0.4),
        search_run(cell, {LR: 2e-3}, None, "pruned", metrics={"val/miou": 0.9}),
    ]
    search = search_of(LR_RANGE, runs)
    assert [trial.val_miou for trial in search.cells[0].trials] == [0.4, 0.9]
    assert search.cells[0].best == search.cells[0].trials[0]
    assert search.pruned_share == 0.5


def test_a_failed_trial_is_there_without_a_score() -> None:
    cell = one_cell(LR_RANGE)
    runs = [search_run(cell, {LR: 1e-3}, 0.4), search_run(cell, {LR: 2e-3}, None, "failed")]
    search = search_of(LR_RANGE, runs)
    failed = search.cells[0].trials[1]
    assert (failed.state, failed.val_miou, failed.is_complete) == ("failed", None, False)
    assert (search.pruned_share, len(search.cells[0].complete)) == (0.0, 1)


def test_running_trials_confirmations_and_those_of_another_meaning_are_left_out() -> None:
    cell = one_cell(LR_RANGE)
    training = {"steps": 500, "optimiser": "adamw"}
    other = one_cell(LR_RANGE, base={"data": {"dataset": "pastis"}, "training": training})
    own = search_run(cell, {LR: 1e-3}, 0.4)
    runs = [own, search_run(cell, {LR: 2e-3}, None, "running"), search_run(other, {LR: 3e-3}, 0.9)]
    confirmed = cell.trial({LR: 1e-3}, 1, 0)
    facts = replace(own.facts, role="confirmation", seed=1, fingerprint=confirmed.fingerprint())
    runs.append(replace(own, facts=facts))
    assert [trial.values[LR] for trial in search_of(LR_RANGE, runs).cells[0].trials] == [1e-3]


def test_a_sweep_without_trials_has_empty_searches() -> None:
    search = search_of(TWO, [])
    assert (search.cells[0].trials, search.cells[0].best, search.pruned_share) == ((), None, None)
    assert (search.importances, search.predictability) == ({}, None)
    assert findings_on_search([search]) == ()


# Fields


def test_fields_know_their_ranges() -> None:
    fields = {field.name: field for field in fields_of(one_cell(everything()))}
    lr, batch, decay = fields[LR], fields[BATCH], fields[DECAY]
    assert (lr.low, lr.high, lr.log, lr.numbers) == (1e-5, 1e-2, True, ())
    assert (batch.low, batch.high, batch.log, batch.numbers) == (4, 16, False, (4, 8, 12, 16))
    assert decay.log
    assert decay.low is not None
    assert decay.low < 1e-2 < (decay.high or 0)
    assert fields[LOSS].options == ("cross_entropy", "weighted_cross_entropy", "dice")
    assert fields[TEMPORAL].options == ("ltae", "mean")
    assert (fields[DROPOUT].conditional, fields[TEMPORAL].conditional) == (True, False)
    assert fields[SIZE].options == ("size=small, steps=2000", "size=base, steps=1000")
    assert fields[SIZE].paths == ("model.size", "training.steps")


def test_a_field_with_one_value_is_not_searched() -> None:
    assert [
        field.name for field in fields_of(one_cell(LR_RANGE | {LOSS: "focal", BATCH: {"choice": [8]}}))
    ] == [LR]


def test_a_trials_values_are_found_in_numbers_options_and_groups() -> None:
    fields = {field.name: field for field in fields_of(one_cell(everything()))}
    values = {LR: 1e-3, TEMPORAL: "mean", "model.size": "base", "training.steps": 1000}
    found = {name: field.value_in(values) for name, field in fields.items()}
    assert (found[LR], found[TEMPORAL], found[SIZE]) == (1e-3, "mean", "size=base, steps=1000")
    assert (found[DROPOUT], found[LOSS]) == (None, None)


def test_short_names_are_the_shortest_ends_that_no_other_shares() -> None:
    names = ["training.optimiser.lr", "model.a.size", "model.b.size", "loss", "training.loss"]
    assert list(short_names(names).values()) == ["lr", "a.size", "b.size", "loss", "training.loss"]


# Importances


def test_importances_are_optunas_on_a_study_built_by_hand() -> None:
    trials = scored(30)
    study = optuna.create_study(direction="maximize")
    by_hand = {
        **DISTRIBUTIONS,
        "lr": FloatDistribution(-4, -2),
    }  # evenly searched, as the range is by factors
    for trial in trials:
        params = {**trial.parameters, "lr": math.log10(trial.parameters["lr"])}
        study.add_trial(optuna.trial.create_trial(params=params, distributions=by_hand, value=trial.score))
    theirs = get_param_importances(study, evaluator=FanovaImportanceEvaluator(n_trees=MOST_TREES, seed=SEED))
    ours = importances_of(DISTRIBUTIONS, trials)
    assert list(ours) == list(theirs)
    assert ours == pytest.approx(theirs)


def test_importances_add_up_to_1_the_largest_first_and_are_the_same_each_time() -> None:
    found = importances_of(DISTRIBUTIONS, scored(30))
    assert sum(found.values()) == pytest.approx(1)
    assert list(found.values()) == sorted(found.values(), reverse=True)
    assert found == importances_of(DISTRIBUTIONS, scored(30))


def test_pedanova_agrees_on_what_matters_most() -> None:
    trials = scored(60)
    study = optuna.create_study(direction="maximize")
    study.add_trials(
        optuna.trial.create_trial(params=dict(each.parameters), distributions=DISTRIBUTIONS, value=each.score)
        for each in trials
    )
    assert (
        next(iter(get_param_importances(study))) == next(iter(importances_of(DISTRIBUTIONS, trials))) == "lr"
    )


def test_the_simulated_truth_is_found(simulated: tuple[StrategySearch, ...]) -> None:
    for search in simulated:
        assert next(iter(search.importances)) == LR
        assert search.importances[LR] > 0.9
        assert search.matters(LR)
        assert search.predictability is not None
        assert search.predictability > 0.5
    finetune = simulated[2]
    assert not finetune.matters(RATIO)


def test_a_small_effect_is_found_once_there_are_trials_enough() -> None:
    found = importances_of(DISTRIBUTIONS, scored(200))
    assert list(found) == ["lr", "loss", "decay"]
    levels = chance_levels(DISTRIBUTIONS, scored(200), found)
    assert found["loss"] > levels["loss"]
    assert found["decay"] < levels["decay"]


def test_random_scores_are_predicted_by_nothing() -> None:
    random = Random(1)
    trials = [replace(trial, score=random.gauss(0.4, 0.02)) for trial in scored(60)]
    assert (predictability(DISTRIBUTIONS, trials) or 0) < 0.1
    assert (predictability(DISTRIBUTIONS, scored(60)) or 0) > 0.7


def test_a_field_at_the_level_of_chance_does_not_matter() -> None:
    search = StrategySearch("a", (), {"x": 0.7, "y": 0.2, "z": 0.1}, None, (), {"y": 0.15, "z": 0.1}, 0.5)
    assert [search.matters(name) for name in "xyz"] == [True, True, False]
    assert not replace(search, predictability=0.05).matters("x")


@pytest.mark.parametrize("count", [0, 1, FEWEST_TRIALS - 1])
def test_few_trials_have_no_importances(count: int) -> None:
    assert importances_of(DISTRIBUTIONS, scored(count)) == {}
    assert predictability(DISTRIBUTIONS, scored(count)) is None
    assert importances_of(DISTRIBUTIONS, scored(FEWEST_TRIALS)) != {}


def test_equal_scores_and_a_single_field_have_no_importances() -> None:
    assert importances_of(DISTRIBUTIONS, [replace(trial, score=0.4) for trial in scored(20)]) == {}
    assert importances_of({"lr": DISTRIBUTIONS["lr"]}, scored(20)) == {}


def test_only_complete_trials_count_for_importances() -> None:
    cell = one_cell(TWO)
    runs = tried(cell, FEWEST_TRIALS - 1, lambda _, values: values[LR])
    pruned = [search_run(cell, {**run.facts.sampled, LR: 5e-3}, 0.1, "pruned") for run in runs]
    failed = [search_run(cell, {**run.facts.sampled, LR: 6e-3}, None, "failed") for run in runs]
    assert search_of(TWO, [*runs, *pruned, *failed]).importances == {}
    one_more = search_run(cell, {LR: 7e-3, LOSS: "cross_entropy"}, 0.5)
    assert search_of(TWO, [*runs, one_more]).importances != {}


def test_trials_from_outside_the_ranges_do_not_count_for_importances() -> None:
    inside = tried(one_cell(TWO), 20, lambda _, values: 0.5 - 0.1 * abs(math.log10(values[LR]) + 3))
    outside = [
        search_run(one_cell(TWO), {LR: 0.5 + index, LOSS: "cross_entropy"}, 0.01) for index in range(5)
    ]
    search = search_of(TWO, inside + outside)
    assert len(search.cells[0].trials) == 25
    assert search.importances == search_of(TWO, inside).importances


def test_a_conditional_field_counts_with_the_trials_that_have_it() -> None:
    """Where it is there, x decides alone; half of the trials have it, the others differ by y alone."""
    random = Random(2)
    distributions = {
        "kind": CategoricalDistribution(["with", "without"]),
        "y": FloatDistribution(0, 1),
        "x": FloatDistribution(0, 1),
    }
    trials = []
    for index in range(80):
        y, x = random.random(), random.random()
        if index % 2:
            trials.append(Scored({"kind": "with", "y": y, "x": x}, 0.3 + 0.1 * x))
        else:
            trials.append(Scored({"kind": "without", "y": y}, 0.35))
    found = importances_of(distributions, trials)
    assert set(found) == {"kind", "y", "x"}
    assert next(iter(found)) == "x"
    assert sum(found.values()) == pytest.approx(1)
    assert importances_of(distributions, [*trials[::2], *trials[1:10:2]]).keys() == {
        "kind",
        "y",
    }  # too few have x


def test_a_condition_that_holds_thrice_as_often_makes_its_field_thrice_as_important() -> None:
    random = Random(3)
    even = FloatDistribution(0, 1)
    distributions = {"kind": CategoricalDistribution(["a", "b"]), "x": even, "z": even, "y": even}
    trials = []
    for index in range(120):
        kind, name = ("a", "x") if index % 4 == 0 else ("b", "z")
        value = random.random()
        trials.append(Scored({"kind": kind, "y": random.random(), name: value}, 0.3 + 0.1 * value))
    found = importances_of(distributions, trials)
    assert found["z"] / found["x"] == pytest.approx(3, rel=0.4)


def test_every_kind_of_field_gets_an_importance() -> None:
    fields = everything()
    cell = one_cell(fields)

    def score(_: Cell, values: Mapping[str, Any]) -> float:
        better = 0.1 if values["model.size"] == "base" else 0.0
        return 0.4 + better - (0.3 * values[DROPOUT] if DROPOUT in values else 0.0) - values[DECAY] * 0.01

    with warnings.catch_warnings():
        warnings.simplefilter("error")  # of Optuna: nobody who reads a report can do anything about them
        search = search_of(fields, tried(cell, 60, score))
    assert set(search.importances) == {field.name for field in search.fields}
    assert list(search.importances)[:2] == [SIZE, DROPOUT]
    assert [field.name for field in search.ranked_fields] == list(search.importances)


def test_the_mean_runs_over_the_cells_that_have_importances() -> None:
    assert mean_importances([{"a": 0.2, "b": 0.8}, {}, {"a": 1.0}]) == pytest.approx({"a": 0.6, "b": 0.4})
    assert mean_importances([{}, {}]) == {}


# Best values


def test_best_values_are_those_of_the_best_trials_with_all_that_are_about_as_good() -> None:
    cell = one_cell(LR_RANGE)
    runs = [search_run(cell, {LR: lr}, score) for lr, score in ((1e-3, 0.500), (2e-3, 0.492), (3e-3, 0.489))]
    search = search_of(LR_RANGE, runs)
    (best,) = best_values(search, search.fields[0])
    assert (best.value, best.close, best.trials) == (1e-3, (1e-3, 2e-3), 3)


def test_the_best_option_comes_with_the_others_about_as_good_in_the_files_order() -> None:
    cell = one_cell(TWO)
    tries = (("weighted_cross_entropy", 0.5), ("cross_entropy", 0.495), ("weighted_cross_entropy", 0.2))
    runs = [
        search_run(cell, {LR: 1e-3 * (1 + i), LOSS: loss}, score) for i, (loss, score) in enumerate(tries)
    ]
    search = search_of(TWO, runs)
    (best,) = best_values(search, search.fields[1])
    assert (best.value, best.close) == ("weighted_cross_entropy", ("cross_entropy", "weighted_cross_entropy"))


def test_a_field_that_the_best_trial_does_not_have_has_no_best_value() -> None:
    fields = {
        TEMPORAL: {"choice": ["ltae", "mean"]},
        DROPOUT: {"uniform": [0, 0.4], "when": {TEMPORAL: "ltae"}},
    }
    cell = one_cell(fields)
    runs = [
        search_run(cell, {TEMPORAL: "mean"}, 0.5),
        search_run(cell, {TEMPORAL: "ltae", DROPOUT: 0.1}, 0.4),
    ]
    search = search_of(fields, runs)
    dropout = next(field for field in search.fields if field.name == DROPOUT)
    assert best_values(search, dropout) == ()


def test_the_best_learning_rates_rise_with_the_labels_as_simulated(
    simulated: tuple[StrategySearch, ...],
) -> None:
    for search in simulated:
        field = search.fields[0]
        for best in best_values(search, field):
            truth = 10 ** (-3 + 0.3 * math.log10(best.label_fraction))
            assert min(best.close) / 1.6 < truth < max(best.close) * 1.6


# Words


def test_words_say_what_matters_and_over_how_many_trials(simulated: tuple[StrategySearch, ...]) -> None:
    said = findings_on_search(simulated[2:])
    assert said[0].startswith(f"croma_finetune: {LR} matters most for the validation mIoU (importance 0.9")
    assert "over 9 cells of 25 to 33 complete trials" in said[0]
    assert said[0].endswith("cannot be told from chance.")
    over_labels = next(each for each in said if f"the best {LR} is" in each and "1 % of the labels" in each)
    assert over_labels.endswith("the two do not overlap.")
    ratio = [each for each in said if f"the best {RATIO} is" in each]
    assert len(ratio) == 2
    assert all(each.endswith("as the field cannot be said to matter, neither can these.") for each in ratio)


def test_words_claim_nothing_of_few_trials() -> None:
    sweep = synthetic_sweep(("croma_finetune",), trials=6)
    said = findings_on_search(searches_of(sweep, synthetic_runs(sweep)))
    assert "too few trials to say which field matters" in said[0]
    assert all(
        each.endswith("too few trials to say whether it moves.") for each in said if "the best" in each
    )


def test_words_of_a_single_trial_and_of_none_complete() -> None:
    cell = one_cell(LR_RANGE)
    assert findings_on_search([search_of(LR_RANGE, [search_run(cell, {LR: 1.23e-3}, 0.4)])]) == (
        f"croma: {LR} alone is searched, with 1 complete trial in a cell.",
        f"croma: the best {LR} is 1.2e-3 (1 complete trial).",
    )
    failed = search_of(LR_RANGE, [search_run(cell, {LR: 1e-3}, None, "failed")])
    assert findings_on_search([failed]) == ("croma: no search trial is complete yet.",)


def test_words_do_not_name_what_random_scores_seem_to_say() -> None:
    random = Random(4)
    search = search_of(TWO, tried(one_cell(TWO), 40, lambda *_: random.gauss(0.4, 0.02)))
    assert findings_on_search([search])[0].startswith("croma: no field can be said to matter")


def test_numbers_are_written_as_in_a_sweep_file() -> None:
    written = [number_words(value) for value in (1.234e-4, 0.00123, 0.0456, 0.5, 16.0, 0.0)]
    assert written == ["1.2e-4", "1.2e-3", "0.046", "0.5", "16", "0"]
