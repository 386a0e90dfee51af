"""What a plan puts together: shares of a GPU that were measured, this machine, epochs over the data."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pytest

from shapeft_tune.config import SweepConfig
from shapeft_tune.config.places import Places
from shapeft_tune.tune.cluster.sharing import Gpus, Peak, shares_of
from shapeft_tune.tune.planning.measured import Measured, keep, meaning_of_kind
from shapeft_tune.tune.planning.plan import draw_up, this_machine
from shapeft_tune.tune.planning.work import Machine
from tests.tune.small import small

AUTO = {"cpu": 1, "gpu": "auto"}


def calibrated(sweep: SweepConfig, places: Places) -> None:
    """Keep a measurement of a second a step for every cell of a sweep."""
    for cell in sweep.cells:
        meaning = meaning_of_kind(cell.trial(cell.first_corners))
        measured = Measured(cell.strategy, cell.temporal_length, 1.0, "calibration", meaning=meaning)
        keep(measured, places.sweep_folder(sweep.name))


def test_shares_of_a_gpu_are_known_once_they_were_measured(tmp_path: Path) -> None:
    sweep, places, machine = small(resources=AUTO), Places(tmp_path), Machine(cpus=8, gpus=2)
    calibrated(sweep, places)
    assert draw_up(sweep, places, machine).estimate.device_hours is None
    third = Peak(reserved=3 * 2**30, total=13 * 2**30)  # with margin and context, three fit
    shares_of(
        sweep.cells,
        Gpus("some GPU", 4),
        places.sweep_folder(sweep.name),
        lambda groups: [third for _ in groups],
        lambda sentence: None,
    )
    cells = draw_up(sweep, places, machine).estimate.cells
    assert [cell.work.slot.gpu for cell in cells] == [pytest.approx(1 / 3)] * 2
    assert cells[0].device_hours == pytest.approx(5 * 8 / 3 / 3600)


def test_without_a_gpu_a_share_to_be_measured_is_none(tmp_path: Path) -> None:
    sweep, places = small(resources=AUTO), Places(tmp_path)
    calibrated(sweep, places)
    (first, _) = draw_up(sweep, places, Machine(cpus=8, gpus=0)).estimate.cells
    assert first.work.slot.gpu == 0
    assert first.device_hours == pytest.approx(5 * 8 / 3600)


def test_a_machine_is_counted_or_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,2,3")
    assert this_machine().gpus == 3
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert this_machine(cpus=5).gpus == 0
    assert asdict(this_machine(cpus=5, gpus=4)) == {"cpus": 5, "gpus": 4}
