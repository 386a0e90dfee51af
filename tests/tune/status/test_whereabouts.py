from __future__ import annotations

import time
from pathlib import Path

import pytest

from shapeft_tune.tune.ledger.trials import LedgerTrial
from shapeft_tune.tune.status import whereabouts
from shapeft_tune.tune.status.whereabouts import FILE, Place, Whereabouts, places_in
from tests.tune.synthetic import in_memory, only, smooth


@pytest.fixture
def trial() -> LedgerTrial:
    found = only(in_memory(smooth())).next()
    assert found is not None
    return found


def test_the_file_says_where_a_trial_is_from_its_order_to_its_end(trial: LedgerTrial, tmp_path: Path) -> None:
    now = 100.0

    def clock() -> float:
        return now

    kept = Whereabouts(tmp_path, clock)
    kept.handed_out("a", trial)
    place = Place(trial.cell.key, "search", trial.fingerprint, since=100.0)
    assert places_in(tmp_path) == (place,)
    assert place.waits
    now = 102.0
    kept.began("a", "node7", 4711, "gpu 0")
    now = 104.0
    kept.reached("a", 40, 200, 3.5)
    (place,) = places_in(tmp_path)
    assert (place.host, place.process, place.device, place.since) == ("node7", 4711, "gpu 0", 100.0)
    assert (place.step, place.steps, place.seconds, place.waits) == (40, 200, 3.5, False)
    now = 106.0
    kept.left("a")
    assert places_in(tmp_path) == ()
    kept.close()
    assert not (tmp_path / FILE).exists()


def test_what_follows_at_once_is_written_a_little_later_though_nothing_else_happens(
    trial: LedgerTrial, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(whereabouts, "WRITE_EVERY", 0.05)
    kept = Whereabouts(tmp_path)
    for name in ("a", "b", "c"):
        kept.handed_out(name, trial)
    kept.left("a")
    deadline = time.monotonic() + 10
    while len(places_in(tmp_path)) != 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert len(places_in(tmp_path)) == 2
    kept.left("b")
    kept.close()
    time.sleep(0.15)
    assert list(tmp_path.iterdir()) == []  # nothing is written after the end


def test_there_are_no_places_where_no_driver_wrote_or_another_version_did(tmp_path: Path) -> None:
    assert places_in(tmp_path / "none") == ()
    (tmp_path / FILE).write_text('[{"strange": 1}]')
    assert places_in(tmp_path) == ()
    (tmp_path / FILE).write_text('[{"ce')
    assert places_in(tmp_path) == ()
