"""What a sweep's trials will learn from is known before they run, and is what they then learn from."""

from __future__ import annotations

from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from shapeft_tune.config import SweepConfig
from shapeft_tune.config.places import Places
from shapeft_tune.config.protocol import Role
from shapeft_tune.data import class_pixels_of, open_dataset, open_splits
from shapeft_tune.errors import DataError
from shapeft_tune.tune.ledger.ledger import Ledger
from shapeft_tune.tune.ledger.trials import State
from shapeft_tune.tune.planning.labels import labelled_subsets, labels_json, labels_tables
from tests.tune.small import SMALL, UTAE, small

LABELS = {"label_fractions": [0.3, 1.0], "temporal_lengths": [1, 3]}
DATA = {"dataset": {"name": "sample", "patches": 30, "patch_size": 16, "dates": 6}}
BASE = SMALL["base"] | {"data": DATA}


def sweep(**changes: Any) -> SweepConfig:
    return small(**{"base": BASE, "settings": LABELS} | changes)


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Places:
    return Places(tmp_path_factory.mktemp("home"))


def test_each_fraction_has_a_subset_for_every_seed_whatever_the_dates(places: Places) -> None:
    subsets = labelled_subsets(sweep(), places)
    assert [(subset.label_fraction, subset.role.value, subset.seed) for subset in subsets] == [
        (fraction, role, seed)
        for fraction in (0.3, 1.0)
        for role, seed in (("search", 0), ("confirmation", 1), ("confirmation", 2))
    ]
    assert [len(subset.patches) for subset in subsets] == [5] * 3 + [18] * 3


def test_they_are_what_the_sweeps_trials_then_learn_from(places: Places, tmp_path: Path) -> None:
    declared = sweep(budget={"trials": 1, "confirmation_seeds": 2})
    planned = {(s.label_fraction, s.role, s.seed): s.patches for s in labelled_subsets(declared, places)}
    learnt: dict[tuple[float, Role, int], tuple[int, ...]] = {}
    for cell in Ledger.open(tmp_path / "ledger", declared, "data").cells.values():
        while trial := cell.next():
            cell.end(trial, State.COMPLETE, 0.5)
            folder = open_dataset(trial.config.data.dataset, data=None, home=places.home)
            labelled = open_splits(trial.config, folder, trial.role).train.patches
            key = (cell.cell.label_fraction, trial.role, trial.config.seed)
            learnt[key] = tuple(patch.id for patch in labelled)
    assert learnt == planned


def test_every_draw_that_is_searched_is_there_with_the_strategies_that_use_it(places: Places) -> None:
    oversampled = {"config": {"model": UTAE, "data": {"labels": "oversampled"}}}
    searched = {
        "config": {"model": UTAE},
        "search": {"data.labels": {"choice": ["oversampled", "random"]}},
    }
    declared = sweep(strategies={"fixed": oversampled, "searched": searched}, settings=LABELS)
    subsets = labelled_subsets(declared, places)
    uses = {subset.draw: subset.strategies for subset in subsets if subset.label_fraction < 1}
    assert uses == {"oversampled": ("fixed", "searched"), "random": ("searched",)}


def test_the_shares_are_those_of_the_subset_and_of_all_training_folds(places: Places) -> None:
    subsets = labelled_subsets(sweep(), places)
    folder = open_dataset(sweep().cells[0].trial().data.dataset, data=None, home=places.home)
    pixels = class_pixels_of(folder, folder.patches)
    for subset, content in zip(subsets, labels_json(subsets), strict=True):
        for shares, ids in (
            (content["class_shares"], subset.patches),
            (content["class_shares_of_all"], [patch.id for patch in folder.in_folds({1, 2, 3})]),
        ):
            total = sum(sum(pixels[id]) for id in ids)
            expected = [sum(pixels[id][label] for id in ids) / total for label in range(19)]
            assert list(shares.values()) == pytest.approx(expected)
        assert content["patches"] == list(subset.patches)
        assert content["count"] == len(subset.patches)


def test_people_see_few_ids_and_one_row_for_seeds_with_the_same_patches(places: Places) -> None:
    declared = sweep()
    console = Console(width=160, file=(shown := StringIO()))
    for table in labels_tables(labelled_subsets(declared, places), declared):
        console.print(table)
    lines = [line.split() for line in shown.getvalue().splitlines()]
    (all_of_them,) = [line for line in lines if line[:2] == ["100", "%"]]
    assert all_of_them[2:8] == ["stratified", "search", "0,", "confirmation", "1", "2"]
    assert all_of_them[-3:] == ["and", "12", "more"]
    (background,) = [line for line in lines if line[:1] == ["background"]]
    assert background[1] == background[5]  # all patches, and 100 % of them


def test_a_data_set_that_was_not_given_is_named(places: Places) -> None:
    with pytest.raises(DataError, match="--data DIR"):
        labelled_subsets(sweep(base=SMALL["base"] | {"data": {"dataset": "pastis"}}), places)


def test_every_option_of_a_choice_is_shown_for_every_rotation(places: Places) -> None:
    searched = {
        "config": {"model": UTAE},
        "search": {"data.labels": {"choice": ["stratified", "oversampled"]}},
    }
    declared = sweep(strategies={"searched": searched}, settings=LABELS, folds="rotate")
    seen = {"stratified": [], "oversampled": []}
    for subset in labelled_subsets(declared, places):
        if subset.label_fraction < 1:
            seen[subset.draw].append((subset.role, subset.seed, subset.train_folds))
    folds = [(1, 2, 3), (2, 3, 4), (3, 4, 5), (4, 5, 1), (5, 1, 2)]
    confirmed = [(Role.CONFIRMATION, seed, each) for seed in (1, 2) for each in folds]
    for of_draw in seen.values():
        assert sorted(of_draw, key=str) == sorted([(Role.SEARCH, 0, (1, 2, 3)), *confirmed], key=str)
