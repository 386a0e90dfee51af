"""What is noted of the meaning of trials, and which changes of a file it refuses."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from shapeft_tune.config import SweepConfig
from shapeft_tune.config.protocol import Role
from shapeft_tune.errors import LedgerError
from shapeft_tune.tune.ledger.cell_ledger import CellLedger
from shapeft_tune.tune.ledger.cell_studies import MEANING
from shapeft_tune.tune.ledger.ledger import Ledger
from shapeft_tune.tune.ledger.meaning import UNSET, meaning_of
from tests.tune.small import SMALL
from tests.tune.synthetic import only, smooth, worked_off

Open = Callable[..., CellLedger]
BATCH, RATE, STEPS = "training.batch_size", "training.optimiser.lr", "training.steps"
CLIP = "training.gradient_clip"


@pytest.fixture
def opened(tmp_path: Path) -> Open:
    """Return a function that opens the ledger of one cell, as a new driver would."""
    return lambda sweep: only(Ledger.open(tmp_path, sweep, "d"))


def base(**training: Any) -> dict[str, Any]:
    return SMALL["base"] | {"training": SMALL["base"]["training"] | training}


def branched(
    steps: int = 12, when: int = 4, constraints: tuple[str, ...] = (), elsewhere: int = 8
) -> SweepConfig:
    """Return a sweep with another number of steps, but only one, where the batch size is this."""
    search = {
        BATCH: {"choice": [2, 4]},
        RATE: {"log_uniform": [1e-4, 1e-1]},
        STEPS: {"value": steps, "when": {BATCH: when}},
    }
    return smooth(search=search, trials=4, constraints=list(constraints), base=base(steps=elsewhere))


@pytest.mark.parametrize(
    ("changed", "difference"),
    [
        (branched(40), "value training.steps was 12, is now 40"),
        (branched(when=2), r"value training.steps when was \{'training.batch_size': 4\}"),
        (branched(steps=20, when=2), "value training.steps was 12, is now 20"),
    ],
)
def test_another_value_of_a_field_that_is_fixed_under_a_condition_is_refused(
    opened: Open, changed: SweepConfig, difference: str
) -> None:
    worked_off(opened(branched()), lambda trial: 0.5)
    with pytest.raises(LedgerError, match=difference):
        opened(changed)


def test_what_a_field_holds_where_its_condition_does_not_is_noted_too(opened: Open) -> None:
    worked_off(opened(branched()), lambda trial: 0.5)
    with pytest.raises(LedgerError, match=f"{STEPS}{UNSET} was 8, is now 16"):
        opened(branched(elsewhere=16))


@pytest.mark.parametrize("constraint", [f"{BATCH} >= 4", f"{STEPS} > 8", f"{BATCH} == 4 or {RATE} < 0.01"])
def test_a_new_constraint_changes_no_meaning_though_it_moves_the_first_trial(
    opened: Open, constraint: str
) -> None:
    worked_off(opened(branched()), lambda trial: 0.5)
    opened(branched(constraints=(constraint,)))


def test_a_constraint_that_leaves_another_member_of_a_section_changes_no_meaning(opened: Open) -> None:
    search = {"training.optimiser.name": {"choice": ["adamw", "sgd"]}, BATCH: {"int": [1, 4]}}
    worked_off(opened(smooth(search=search, trials=3)), lambda trial: 0.5)
    opened(smooth(search=search, trials=3, constraints=["training.optimiser.name == 'sgd'"]))


def test_a_group_whose_options_leave_a_field_alone_keeps_the_files_value(opened: Open) -> None:
    def grouped(clip: float) -> SweepConfig:
        scale = {"one_of": [{BATCH: 2}, {BATCH: 4, CLIP: 2.0}]}
        return smooth(search={"scale": scale, RATE: {"uniform": [0.1, 0.2]}}, base=base(gradient_clip=clip))

    worked_off(opened(grouped(1.0)), lambda trial: 0.5)
    with pytest.raises(LedgerError, match=f"{CLIP}{UNSET} was 1.0, is now 0.5"):
        opened(grouped(0.5))


def test_a_default_inside_of_a_searched_section_has_no_meaning_of_its_own() -> None:
    search = {
        "training.optimiser": {"choice": ["adamw", "sgd"]},
        "training.optimiser.weight_decay": {
            "uniform": [0.0, 0.1],
            "when": {"training.optimiser": "adamw"},
        },
    }
    (cell,) = smooth(search=search).cells
    noted = meaning_of(cell, cell.axes.searched)
    assert not [key for key in noted if key.endswith(UNSET)]
    assert not [key for key in noted if key.startswith("training.optimiser")]


def test_an_older_ledger_that_does_not_note_what_conditions_leave_alone_goes_on(opened: Open) -> None:
    search = {
        BATCH: {"choice": [2, 4]},
        STEPS: {"int": [10, 20], "when": {BATCH: 4}},
    }
    cell = opened(smooth(search=search, trials=3))
    worked_off(cell, lambda trial: 0.5)
    study = cell._studies.study(Role.SEARCH)
    noted = study.user_attrs[MEANING]
    older = {key: value for key, value in noted.items() if not key.endswith(UNSET)}
    assert noted.keys() - older.keys() == {f"{STEPS}{UNSET}"}
    study.set_user_attr(MEANING, older)
    assert len(opened(smooth(search=search, trials=3)).search_trials()) == 3
