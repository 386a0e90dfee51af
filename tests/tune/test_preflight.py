"""What is checked before a sweep, and what of the disk belongs to the meaning of its trials."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from shapeft_tune.config import SweepConfig
from shapeft_tune.config.places import Places
from shapeft_tune.errors import LedgerError
from shapeft_tune.models import load_encoder
from shapeft_tune.tune.ledger import Ledger
from shapeft_tune.tune.preflight import check_sweep, check_trial
from tests.tune.small import SMALL, UTAE, small
from tests.tune.test_ledger import worked_off

ONE_SETTING = {"label_fractions": [1.0], "temporal_lengths": [1]}


def croma(weights: str) -> dict[str, Any]:
    tuning = {"mode": "frozen", "weights": weights}
    return {"config": {"model": {"name": "croma_optical", "size": "small", "tuning": tuning}}}


def sweep(**strategies: dict[str, Any]) -> SweepConfig:
    return small(strategies=strategies, settings=ONE_SETTING)


@pytest.fixture
def places(tmp_path: Path) -> Places:
    places = Places(tmp_path / "home")
    places.weights_folder.mkdir(parents=True)
    for number, name in enumerate(("mine.pt", "theirs.pt")):
        save_croma(places.weights_folder / name, number)
    return places


def save_croma(path: Path, seed: int) -> None:
    torch.manual_seed(seed)
    torch.save({"s2_encoder": load_encoder("croma_optical", "none", size="small").state_dict()}, path)


def test_the_weights_of_every_option_of_a_strategy_are_among_its_contents(places: Places) -> None:
    searched = croma("mine.pt") | {"search": {"model.tuning.weights": {"choice": ["mine.pt", "theirs.pt"]}}}
    scratch = {"config": {"model": UTAE}}
    weights = check_sweep(sweep(frozen=searched, scratch=scratch), places).weights
    assert {strategy: set(names) for strategy, names in weights.items()} == {
        "frozen": {"mine.pt", "theirs.pt"},
        "scratch": set(),
    }
    assert weights["frozen"]["mine.pt"] != weights["frozen"]["theirs.pt"]


def test_a_sweep_goes_on_with_the_same_checkpoint_and_not_with_another_under_its_name(places: Places) -> None:
    def opened() -> Ledger:
        declared = sweep(frozen=croma("mine.pt"))
        contents = check_sweep(declared, places)
        return Ledger.open(places.sweep_folder("small"), declared, contents.data, contents.weights)

    assert worked_off(opened())
    assert worked_off(opened()) == []
    save_croma(places.weights_folder / "mine.pt", seed=7)
    with pytest.raises(LedgerError, match=r"weights mine\.pt was"):
        opened()


def test_a_single_trial_amounts_to_something_else_with_another_checkpoint(places: Places) -> None:
    trial = sweep(frozen=croma("mine.pt")).cells[0].trial({"training.optimiser.lr": 0.01})
    before = check_trial(trial, places)
    assert check_trial(trial, places) == before
    save_croma(places.weights_folder / "mine.pt", seed=7)
    assert check_trial(trial, places) != before


def test_the_contents_of_a_trial_from_scratch_are_those_of_its_data(places: Places) -> None:
    declared = small(strategies=SMALL["strategies"], settings=ONE_SETTING)
    trial = declared.cells[0].trial({"training.optimiser.lr": 0.01})
    assert check_trial(trial, places) == check_sweep(declared, places).data
