"""What a file says otherwise than its ledger."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from shapeft_tune.config import SweepConfig
from shapeft_tune.tune.ledger.ledger import Ledger
from shapeft_tune.tune.ledger.trials import Spent, State
from shapeft_tune.tune.planning.ledger_diff import LedgerDiff, compare
from shapeft_tune.tune.preflight import Contents
from tests.tune.ledger.test_ledger import worked_off
from tests.tune.small import SMALL, UTAE, small

ONE, THREE = "utae/labels=1/dates=1", "utae/labels=1/dates=3"


def after(tmp_path: Path, sweep: SweepConfig | None = None) -> Path:
    """Return the folder of the small sweep after all its trials."""
    worked_off(Ledger.open(tmp_path, sweep or small(), "d", {"utae": {"weights mine.pt": "aa"}}))
    return tmp_path


def changes(diff: LedgerDiff, kind: str) -> list[tuple[str, int, int]]:
    return [(change.cell, change.there, change.wanted) for change in getattr(diff, kind)]


def test_the_same_file_on_a_finished_sweep_differs_in_nothing(tmp_path: Path) -> None:
    assert compare(small(), after(tmp_path)).empty


def test_looking_leaves_no_trace(tmp_path: Path) -> None:
    assert len(compare(small(), tmp_path).new) == 2
    assert list(tmp_path.iterdir()) == []


def test_new_cells_are_listed_with_their_trials(tmp_path: Path) -> None:
    both = SMALL["strategies"] | {"other": {"config": {"model": UTAE}}}
    diff = compare(small(strategies=both), after(tmp_path))
    assert changes(diff, "new") == [("other/labels=1/dates=1", 0, 3), ("other/labels=1/dates=3", 0, 3)]
    assert not diff.refused


def test_more_trials_go_on_with_a_search_that_had_ended(tmp_path: Path) -> None:
    diff = compare(small(budget={"trials": 5, "confirmation_seeds": 2}), after(tmp_path))
    assert changes(diff, "reopened") == [(ONE, 3, 5), (THREE, 3, 5)]
    assert not diff.seeds  # of which configuration, the search has yet to say


def test_more_seeds_are_confirmations_to_come(tmp_path: Path) -> None:
    diff = compare(small(budget={"trials": 3, "confirmation_seeds": 4}), after(tmp_path))
    assert changes(diff, "seeds") == [(ONE, 2, 4), (THREE, 2, 4)]
    assert not diff.reopened


def test_cells_that_the_file_has_no_more_are_kept_and_told_of(tmp_path: Path) -> None:
    fewer = small(settings={"label_fractions": [1.0], "temporal_lengths": [1]})
    diff = compare(fewer, after(tmp_path))
    assert changes(diff, "gone") == [(THREE, 5, 0)]


def test_a_changed_meaning_is_refused_with_both_values_and_is_no_new_cell(tmp_path: Path) -> None:
    training = SMALL["base"]["training"] | {"batch_size": 4}
    diff = compare(small(base=SMALL["base"] | {"training": training}), after(tmp_path))
    assert diff.refused == {"training.batch_size was 2, is now 4": 2}
    assert not diff.new


@pytest.mark.parametrize(
    ("contents", "word"),
    [
        (Contents("other", {"utae": {"weights mine.pt": "aa"}}), "data was 'd'"),
        (Contents("d", {"utae": {"weights mine.pt": "bb"}}), "mine.pt was 'aa'"),
    ],
)
def test_other_data_or_weights_are_refused_where_they_were_looked_at(
    tmp_path: Path, contents: Contents, word: str
) -> None:
    folder = after(tmp_path)
    assert not compare(small(), folder).refused
    (line,) = compare(small(), folder, contents=contents).refused
    assert word in line


@pytest.mark.parametrize(("steps", "kind"), [(8, "ended"), (80, "unfinished")])
def test_a_search_that_a_limit_ended_goes_on_with_a_larger_one(tmp_path: Path, steps: int, kind: str) -> None:
    def limited(steps: int) -> SweepConfig:
        one: dict[str, Any] = {"label_fractions": [1.0], "temporal_lengths": [1]}
        return small(settings=one, budget={"trials": 3, "confirmation_seeds": 0, "steps": steps})

    (cell,) = Ledger.open(tmp_path, limited(8), "d").cells.values()
    trial = cell.next()
    assert trial
    cell.spend(trial, Spent(8, 1.0, 1.0))
    cell.end(trial, State.COMPLETE, 0.5)
    diff = compare(limited(steps), tmp_path)
    assert changes(diff, kind) == [(ONE, 1, 3)]
    assert getattr(diff, kind)[0].limit == ("steps" if kind == "ended" else "")
