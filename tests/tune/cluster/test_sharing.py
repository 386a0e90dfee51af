"""Shares of a GPU from peaks that are given, as if measured. Measured on a GPU: not here, there is none."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from shapeft_tune.config.cell import Cell
from shapeft_tune.config.places import Places
from shapeft_tune.config.trial import TrialConfig
from shapeft_tune.train import run_trial
from shapeft_tune.tune.cluster.peaks import STEPS, peak_of, shortened
from shapeft_tune.tune.cluster.sharing import Gpus, Peak, demanding, share_of, shares_of
from tests.tune.small import SMALL, UTAE, small

GIB = 2**30
GPUS = Gpus("H100", cpus_for_each=16)
AUTO = {"resources": {"cpu": 1, "gpu": "auto"}}


class Gauge:
    """Answers with given peaks and keeps what it was asked."""

    def __init__(self, *gib: float | None) -> None:
        self.peaks = [None if each is None else Peak(int(each * GIB), 80 * GIB) for each in gib]
        self.asked: list[tuple[TrialConfig, ...]] = []

    def __call__(self, groups: Sequence[tuple[TrialConfig, ...]]) -> list[Peak | None]:
        self.asked += groups
        return [self.peaks.pop(0) for _ in groups]


def cells(**changes: Any) -> tuple[Cell, ...]:
    return small(**(AUTO | changes)).cells


@pytest.mark.parametrize(
    ("gib", "share"),
    [(1, 1 / 8), (8.1, 1 / 8), (8.3, 1 / 7), (16.5, 1 / 4), (20, 1 / 3), (34, 1 / 2), (35, 1), (79, 1)],
)
def test_as_many_share_a_gpu_as_fit_with_a_margin_and_what_cuda_takes(gib: float, share: float) -> None:
    """Of 80 GiB: 8.1 x 1.15 + 0.59 = 9.9, an eighth is 10; 8.3 x 1.15 + 0.59 = 10.13."""
    assert share_of(Peak(int(gib * GIB), 80 * GIB), cpu=1, cpus_for_each=16) == pytest.approx(share)


@pytest.mark.parametrize(("cpu", "share"), [(1, 1 / 6), (2, 1 / 3), (4, 1), (8, 1)])
def test_no_more_share_a_gpu_than_there_are_cores_for(cpu: float, share: float) -> None:
    assert share_of(Peak(GIB, 80 * GIB), cpu, cpus_for_each=6) == pytest.approx(share)


def test_each_strategy_and_number_of_dates_is_measured_once_whatever_its_labels(tmp_path: Path) -> None:
    gauge, told = Gauge(1, 20), list[str]()
    asked = cells(settings={"label_fractions": [0.5, 1.0], "temporal_lengths": [1, 3]})
    shares = shares_of(asked, GPUS, tmp_path, gauge, told.append)
    assert [{trial.data.temporal_length for trial in group} for group in gauge.asked] == [{1}, {3}]
    assert {trial.data.label_fraction for group in gauge.asked for trial in group} == {1.0}
    assert shares == {
        "utae/labels=0.5/dates=1": 1 / 8,
        "utae/labels=1/dates=1": 1 / 8,
        "utae/labels=0.5/dates=3": 1 / 3,
        "utae/labels=1/dates=3": 1 / 3,
    }
    assert "gpu: auto: utae, 3 dates: took 20.0 of 80 GiB; each trial gets 1/3 of a GPU" in told


def test_a_measurement_is_kept_and_not_repeated_on_the_same_kind_of_gpu(tmp_path: Path) -> None:
    first, again, elsewhere = Gauge(1, 20), Gauge(), Gauge(30, 30)
    shares = shares_of(cells(), GPUS, tmp_path, first, lambda said: None)
    assert shares_of(cells(), GPUS, tmp_path, again, lambda said: None) == shares
    assert (tmp_path / "measured" / "shares.json").is_file()
    shares_of(cells(), Gpus("A100", 16), tmp_path, elsewhere, lambda said: None)
    assert (len(first.asked), len(again.asked), len(elsewhere.asked)) == (2, 0, 2)


def test_a_strategy_that_changed_is_measured_again(tmp_path: Path) -> None:
    shares_of(cells(), GPUS, tmp_path, Gauge(1, 1), lambda said: None)
    gauge = Gauge(20, 20)
    wider = {"utae": {"config": {"model": UTAE | {"width": 16}}}}
    assert set(shares_of(cells(strategies=wider), GPUS, tmp_path, gauge, lambda said: None).values()) == {
        1 / 3
    }
    assert len(gauge.asked) == 2


def test_what_could_not_be_measured_gets_a_whole_gpu_and_is_tried_again_next_time(tmp_path: Path) -> None:
    told = list[str]()
    shares = shares_of(cells(), GPUS, tmp_path, Gauge(None, 1), told.append)
    assert sorted(shares.values()) == [1 / 8, 1]
    assert any("1 date: could not be measured; each trial gets a whole GPU" in said for said in told)
    again = Gauge(1)
    shares_of(cells(), GPUS, tmp_path, again, told.append)
    assert len(again.asked) == 1


def test_without_a_gpu_trials_compute_on_the_cpu_and_that_is_said(tmp_path: Path) -> None:
    told = list[str]()
    assert set(shares_of(cells(), None, tmp_path, Gauge(), told.append).values()) == {0.0}
    assert told == ["gpu: auto: there is no GPU in the cluster; trials of utae compute on the CPU"]


def test_shares_that_the_file_gives_are_left_alone(tmp_path: Path) -> None:
    gauge = Gauge()
    assert shares_of(cells(resources={"gpu": 0.5}), GPUS, tmp_path, gauge, lambda said: None) == {}
    assert gauge.asked == []


def test_the_largest_batch_of_each_network_is_tried() -> None:
    search = {
        "training.batch_size": {"choice": [2, 16, 4]},
        "model.width": {"choice": [8, 32]},
        "training.optimiser.lr": {"log_uniform": [1e-3, 1e-2]},
    }
    tried = demanding(cells(search=search)[0])
    assert [(trial.model.width, trial.training.batch_size) for trial in tried] == [(32, 16), (8, 16)]


def test_a_whole_patch_is_tried_rather_than_any_crop_of_it() -> None:
    tried = demanding(cells(search={"data.augmentation.crop": {"choice": [8, None, 16]}})[0])
    assert [trial.data.augmentation.crop for trial in tried] == [None]


def test_few_networks_are_tried_the_larger_ones_first() -> None:
    search = {"model.width": {"choice": [8, 16, 24, 32, 40, 48]}}
    assert [trial.model.width for trial in demanding(cells(search=search)[0])] == [48, 40, 32, 24]


def test_what_is_measured_is_a_trial_of_a_few_steps_and_one_batch_of_validation(tmp_path: Path) -> None:
    trial = cells()[0].trial({"training.optimiser.lr": 0.005})
    short = shortened(trial.canonical())
    assert short.training.batch_size == SMALL["base"]["training"]["batch_size"]
    assert short.validation.patches == short.training.batch_size
    assert run_trial(short, Places(tmp_path), tmp_path / "trial", device="cpu").steps == STEPS


def test_a_machine_without_cuda_measures_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert peak_of([cells()[0].trial({}).canonical()], Places(tmp_path)) is None
