"""A generation's own copy of its file."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from shapeft_tune.config import SweepConfig, load_sweep
from shapeft_tune.config.places import Places
from shapeft_tune.errors import LedgerError
from shapeft_tune.tune.declared import DECLARED_FILE, declared_generation, keep_declared
from shapeft_tune.tune.ledger.generations import numbered
from shapeft_tune.tune.ledger.ledger import Ledger
from tests.tune.small import small

SHIPPED = sorted((Path(__file__).resolve().parents[2] / "search_spaces").glob("*.yaml"))
CHANGED = {"budget": {"trials": 7, "confirmation_seeds": 2}}


def begun(home: Path, sweep: SweepConfig) -> None:
    folder = home / sweep.name
    ledger = Ledger.open(folder, sweep, "digest")
    next(iter(ledger.cells.values())).next()
    keep_declared(folder, sweep)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_the_copy_of_every_shipped_file_is_read_back_as_the_same_sweep(path: Path, tmp_path: Path) -> None:
    sweep = load_sweep(path)
    begun(tmp_path, sweep)
    begun(tmp_path, numbered(sweep, 2))
    file_now = small(name=sweep.name)
    assert declared_generation(file_now, Places(tmp_path), number=1) == sweep


def test_an_older_generation_is_as_it_last_ran_and_the_newest_as_the_file_is(tmp_path: Path) -> None:
    begun(tmp_path, small())
    begun(tmp_path, numbered(small(), 2))
    now = small(**CHANGED)
    old = declared_generation(now, Places(tmp_path), number=1)
    assert (old.name, old.budget.trials) == ("small", 3)
    new = declared_generation(now, Places(tmp_path))
    assert (new.name, new.budget.trials) == ("small+2", 7)
    assert declared_generation(now, Places(tmp_path), number=2) == new
    with pytest.raises(LedgerError, match="which has 1, 2"):
        declared_generation(now, Places(tmp_path), number=3)


def test_a_copy_of_a_second_generation_keeps_its_name(tmp_path: Path) -> None:
    for number in (1, 2, 3):
        begun(tmp_path, numbered(small(), number))
    assert declared_generation(small(**CHANGED), Places(tmp_path), number=2) == numbered(small(), 2)


@pytest.mark.parametrize("damage", ["", "{", '{"name": "small"}', "[]"])
def test_a_copy_that_is_not_there_or_damaged_leaves_the_file_as_it_is_now(
    tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    begun(tmp_path, small())
    begun(tmp_path, numbered(small(), 2))
    copy = tmp_path / "small" / DECLARED_FILE
    copy.write_text(damage)
    now = small(**CHANGED)
    with caplog.at_level(logging.WARNING):
        assert declared_generation(now, Places(tmp_path), number=1) == now
    assert DECLARED_FILE in caplog.text
    caplog.clear()
    copy.unlink()
    assert declared_generation(now, Places(tmp_path), number=1) == now
    assert caplog.text == ""


def test_without_any_ledger_a_number_is_taken_as_given(tmp_path: Path) -> None:
    assert declared_generation(small(), Places(tmp_path), number=4).name == "small+4"
    assert declared_generation(small(), Places(tmp_path)).name == "small"
