"""What is checked before a sweep, and what of the disk belongs to the meaning of its trials."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from shapeft_tune.config import SweepConfig
from shapeft_tune.config.places import Places
from shapeft_tune.data import PastisFolder, Patch
from shapeft_tune.data.sources import S2, Source
from shapeft_tune.errors import DataError, LedgerError, UserError
from shapeft_tune.models import load_encoder
from shapeft_tune.tune.ledger.ledger import Ledger
from shapeft_tune.tune.preflight import check_sweep, check_trial
from tests.tune.ledger.test_ledger import worked_off
from tests.tune.small import SMALL, UTAE, small

ONE_SETTING = {"label_fractions": [1.0], "temporal_lengths": [1]}

SMALL_CROMA = {"name": "croma_optical", "size": "small", "tuning": "scratch"}


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
    weights = check_sweep(sweep(frozen=searched, scratch=scratch), places).by_strategy
    assert {strategy: set(names) for strategy, names in weights.items()} == {
        "frozen": {"weights mine.pt", "weights theirs.pt"},
        "scratch": set(),
    }
    assert weights["frozen"]["weights mine.pt"] != weights["frozen"]["weights theirs.pt"]


def test_a_sweep_goes_on_with_the_same_checkpoint_and_not_with_another_under_its_name(places: Places) -> None:
    def opened() -> Ledger:
        declared = sweep(frozen=croma("mine.pt"))
        contents = check_sweep(declared, places)
        return Ledger.open(places.sweep_folder("small"), declared, contents.data, contents.by_strategy)

    assert worked_off(opened())
    assert worked_off(opened()) == []
    save_croma(places.weights_folder / "mine.pt", seed=7)
    with pytest.raises(LedgerError, match=r"weights mine\.pt was"):
        opened()


def test_a_network_that_takes_no_patches_of_this_size_is_told_before_anything_runs(places: Places) -> None:
    hybrid = {"name": "timm:test_vit3", "tuning": "scratch", "temporal": "mean"}  # cells of 16 px
    data = {"dataset": {"name": "sample", "patches": 10, "patch_size": 24, "dates": 6}}
    declared = sweep(odd={"config": {"model": hybrid, "data": data}})
    with pytest.raises(UserError, match="multiples of 16 px"):
        check_sweep(declared, places)


def test_a_batch_too_small_for_batch_statistics_is_told_before_anything_runs(places: Places) -> None:
    small = {
        "name": "croma_optical",
        "size": "small",
        "tuning": "scratch",
        "input": {"name": "resize", "side": 8},
    }
    with pytest.raises(UserError, match=r"got 1 at a time.*training\.batch_size"):
        check_sweep(sweep(small={"config": {"model": small, "training": {"batch_size": 1}}}), places)


def test_a_tuning_that_selects_nothing_is_told_before_anything_runs(places: Places) -> None:
    flat = {"name": "timm:test_resnet", "layers": [0], "temporal": "mean"}
    tuning = {"mode": "lora", "weights": "none"}
    with pytest.raises(UserError, match="selects no parameter"):
        check_sweep(sweep(flat={"config": {"model": flat | {"tuning": tuning}}}), places)


def test_radar_is_part_of_what_a_strategy_reads_only_where_it_does(places: Places, shared: Path) -> None:
    radar = {"name": "croma_sar", "size": "small", "tuning": "scratch"}
    data = {"dataset": "pastis"}
    declared = sweep(
        optical={"config": {"model": radar | {"name": "croma_optical"}, "data": data}},
        radar={"config": {"model": radar, "data": data}},
    )
    tiles = replace(places, data=shared / "data" / "flanders")
    contents = check_sweep(declared, tiles).by_strategy
    assert {strategy: set(names) for strategy, names in contents.items()} == {
        "optical": set(),
        "radar": {"DATA_S1A"},
    }


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


def test_each_series_is_looked_at_once_however_many_settings_ask_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_at: Counter[tuple[int, str]] = Counter()
    shape = PastisFolder.shape

    def counting(folder: PastisFolder, patch: Patch, source: Source = S2) -> tuple[int, int, int, int]:
        looked_at[patch.id, source.name] += 1
        return shape(folder, patch, source)

    monkeypatch.setattr(PastisFolder, "shape", counting)
    utae, croma = {"config": {"model": UTAE}}, {"config": {"model": SMALL_CROMA}}
    many = {"label_fractions": [0.5, 1.0], "temporal_lengths": [1, 2, 3, 4, 5]}
    check_sweep(small(strategies={"utae": utae, "croma": croma}, settings=many), Places(tmp_path))
    assert len(looked_at) == looked_at.total() == 10


def test_every_setting_is_still_judged_by_its_own_model(places: Places) -> None:
    windows = SMALL_CROMA | {"input": {"name": "windows", "side": 24}}
    strategies = {"fits": {"config": {"model": SMALL_CROMA}}, "too_large": {"config": {"model": windows}}}
    with pytest.raises(DataError, match=r"model\.input\.side: expected at most the patches' 16 pixels"):
        check_sweep(small(strategies=strategies, settings=ONE_SETTING), places)
