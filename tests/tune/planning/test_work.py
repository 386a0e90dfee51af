"""What is left of a cell, counted from its ledger, and how many trials a machine runs at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from shapeft_tune.config.protocol import Role
from shapeft_tune.tune.cluster.slots import Slot
from shapeft_tune.tune.ledger.ledger import Ledger
from shapeft_tune.tune.ledger.trials import Spent, State
from shapeft_tune.tune.planning.demand import demand_of
from shapeft_tune.tune.planning.work import Machine, work_of
from tests.tune.small import small

MACHINE = Machine(cpus=8, gpus=2)


@pytest.mark.parametrize(
    ("slot", "trials"),
    [
        (Slot(cpu=2, gpu=0), 4),
        (Slot(cpu=3, gpu=0), 2),
        (Slot(cpu=0.5, gpu=0.25), 8),
        (Slot(cpu=1, gpu=1 / 3), 6),
        (Slot(cpu=1, gpu=1, workers=2), 1),
        (Slot(cpu=16, gpu=0), 0),
    ],
)
def test_trials_beside_each_other(slot: Slot, trials: int) -> None:
    assert MACHINE.at_once(slot) == trials


def test_work_is_counted_from_the_ledger_with_running_trials_among_what_is_to_do(tmp_path: Path) -> None:
    ledger = Ledger.open(tmp_path, small(), "d")
    cell = next(iter(ledger.cells.values()))
    ended, running = cell.next(), cell.next()
    assert ended
    assert running
    cell.spend(ended, Spent(8, 4.0, 4.0))
    cell.end(ended, State.COMPLETE, 0.5)
    cell.spend(running, Spent(4, 2.0, 2.0))
    counted = work_of(cell, Slot(1, 0), demand_of(cell.cell))
    assert (counted.search_done, counted.search_todo, counted.confirmations_todo) == (1, 2, 2)
    assert counted.steps_done == {Role.SEARCH: 4, Role.CONFIRMATION: 0}
    assert counted.spent_on_search == Spent(12, 6.0, 6.0)
