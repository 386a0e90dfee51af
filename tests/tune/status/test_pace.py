from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from shapeft_tune.tune.ledger.ledger import Ledger
from shapeft_tune.tune.ledger.trials import LedgerTrial
from shapeft_tune.tune.status.pace import trials_per_hour
from tests.tune.small import small

NOON = datetime(2026, 6, 1, 12)


@pytest.fixture
def trial(tmp_path: Path) -> LedgerTrial:
    found = next(iter(Ledger.open(tmp_path, small(), "d").cells.values())).next()
    assert found is not None
    return found


def lasting(trial: LedgerTrial, began: float, ended: float | None) -> LedgerTrial:
    """Return the trial as it would be, from and until so many minutes before noon."""
    end = None if ended is None else NOON - timedelta(minutes=ended)
    return replace(trial, began=NOON - timedelta(minutes=began), ended=end)


def test_many_short_trials_are_counted_over_the_last_ten_minutes(trial: LedgerTrial) -> None:
    slow_before = [lasting(trial, 60 + each, 30 + each) for each in range(5)]
    fast_now = [lasting(trial, each + 1, each) for each in range(20)]
    assert trials_per_hour(slow_before + fast_now, NOON) == pytest.approx(60)  # 10 in ten minutes


def test_few_long_trials_are_counted_over_a_longer_time(trial: LedgerTrial) -> None:
    trials = [lasting(trial, 60 * each + 40, 60 * each + 10) for each in range(12)]
    assert trials_per_hour(trials, NOON) == pytest.approx(12 / (11 * 60 + 40) * 60)


def test_a_young_sweep_is_not_taken_for_a_slow_one(trial: LedgerTrial) -> None:
    trials = [lasting(trial, 2, 1), lasting(trial, 2, 0)]
    assert trials_per_hour(trials, NOON) == pytest.approx(60)  # 2 in two minutes


def test_there_is_no_pace_while_nothing_has_ended_lately(trial: LedgerTrial) -> None:
    assert trials_per_hour([], NOON) is None
    assert trials_per_hour([lasting(trial, 5, None), lasting(trial, 60 * 30, 60 * 25)], NOON) is None
