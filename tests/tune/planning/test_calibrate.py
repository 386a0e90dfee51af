"""Calibration: a real trial, a few steps of it, and nothing left behind but the measurement."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from shapeft_tune.config.places import Places
from shapeft_tune.tune.planning import calibrate as calibration
from shapeft_tune.tune.planning.calibrate import calibrate, measure
from shapeft_tune.tune.planning.measured import Measured
from shapeft_tune.tune.planning.plan import draw_up
from shapeft_tune.tune.planning.work import Machine
from tests.tune.small import SMALL, UTAE, small

SHORT = 0.01
MACHINE = Machine(cpus=2, gpus=0)


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Places:
    return Places(tmp_path_factory.mktemp("home"))


def test_a_calibration_measures_speed_validation_and_checkpoints(places: Places) -> None:
    measured = measure(small().cells[0], places, SHORT)
    assert measured.kind == ("utae", 1)
    assert measured.steps_per_second > 0
    assert min(measured.validation_seconds, measured.begin_seconds, measured.test_seconds) > 0
    assert measured.last_bytes > 2 * measured.best_bytes  # Adam keeps two numbers beside each weight
    assert (measured.device, measured.peak_memory_bytes, measured.source) == ("cpu", None, "calibration")


def test_the_largest_batch_of_the_ranges_is_measured(places: Places) -> None:
    searched = {"training.batch_size": {"choice": [2, 4]}}
    assert measure(small(search=searched).cells[0], places, SHORT).batch_size == 4


def test_a_plan_knows_hours_after_a_calibration_and_has_nothing_more_to_measure(places: Places) -> None:
    sweep = small(name="planned")
    before = draw_up(sweep, places, MACHINE)
    assert before.estimate.device_hours is None
    assert [cell.temporal_length for cell in before.to_measure()] == [1, 3]
    folder = places.sweep_folder("planned")
    measured = list(calibrate(before.to_measure(), places, folder, least_seconds=SHORT))
    assert len(measured) == 2
    after = draw_up(sweep, places, MACHINE)
    assert after.to_measure() == ()
    assert after.estimate.unknown == ()
    assert after.estimate.device_hours > 0
    assert [path.name for path in folder.iterdir()] == ["measured"]  # no ledger, no trial


def test_what_was_measured_before_an_interruption_is_kept(
    places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = small(name="interrupted")
    cells = draw_up(sweep, places, MACHINE).to_measure()
    real = calibration.measure

    def interrupted_at_the_second(cell, *arguments) -> Measured:
        if cell is cells[1]:
            raise KeyboardInterrupt
        return real(cell, *arguments)

    monkeypatch.setattr(calibration, "measure", interrupted_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        list(calibrate(cells, places, places.sweep_folder("interrupted"), least_seconds=SHORT))
    (first, second) = draw_up(sweep, places, MACHINE).estimate.cells
    assert (first.basis, second.basis) == ("measured", "scaled")


def test_a_changed_network_is_measured_anew(places: Places) -> None:
    sweep = small(name="changed", settings={"label_fractions": [1.0], "temporal_lengths": [1]})
    list(calibrate(sweep.cells, places, places.sweep_folder("changed"), least_seconds=SHORT))
    wider = {"utae": {"config": {"model": UTAE | {"width": 16}}}}
    changed = small(name="changed", settings=SMALL["settings"], strategies=wider)
    assert len(draw_up(changed, places, MACHINE).to_measure()) == 2


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_what_is_for_a_gpu_is_not_measured_on_a_cpu(places: Places, tmp_path: Path) -> None:
    told: list[str] = []
    cells = small(resources={"gpu": 0.5}).cells[:1]
    assert list(calibrate(cells, places, tmp_path, told.append)) == []
    assert "this machine has none; not measured" in told[0]
