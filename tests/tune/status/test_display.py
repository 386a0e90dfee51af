from __future__ import annotations

import io
import re
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from rich.console import Console

from shapeft_tune.tune.driver import Event
from shapeft_tune.tune.ledger.ledger import Ledger
from shapeft_tune.tune.ledger.trials import LedgerTrial, State
from shapeft_tune.tune.status.display import cells_table, described, watching
from tests.tune.small import SMALL, small


@dataclass
class Told:
    """What a person was shown of events."""

    ledger: Ledger
    terminal: bool
    console: Console = field(init=False)

    def __post_init__(self) -> None:
        self.console = Console(
            file=io.StringIO(), force_terminal=self.terminal, width=140, height=30, no_color=True
        )

    def of(self, *events: Event) -> str:
        with watching(self.console) as on_event:
            for event in events:
                on_event(event, self.ledger)
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self.console.file.getvalue())  # type: ignore[attr-defined]


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger.open(tmp_path, small(), "d")


def handed_out(ledger: Ledger) -> LedgerTrial:
    trial = next(iter(ledger.cells.values())).next()
    assert trial is not None
    return trial


def test_lines_tell_of_faults_in_words_and_keep_silent_about_validations(ledger: Ledger) -> None:
    trial = handed_out(ledger)
    text = Told(ledger, terminal=False).of(
        Event("started", trial),
        Event("began", trial),
        Event("validated", trial, step=4, miou=0.1),
        Event("retried", trial, message="Traceback\nConnectionError: gone"),
        Event("interrupted", trial),
    )
    said = [line.partition(trial.fingerprint[:6])[2].strip() for line in text.splitlines()]
    assert said == [
        "started",
        "is tried again after: ConnectionError: gone",
        "stopped, and can go on from its checkpoint",
    ]


def test_a_line_tells_of_a_start_only_when_the_trial_has_its_slot(ledger: Ledger) -> None:
    first, second = handed_out(ledger), handed_out(ledger)
    text = Told(ledger, terminal=False).of(
        Event("started", first),
        Event("continued", second),
        Event("began", second),
        Event("interrupted", first),
    )
    (line,) = text.splitlines()
    assert line.endswith(f"{second.fingerprint[:6]} continued")


def test_the_live_table_tells_trials_with_a_slot_from_those_that_wait(ledger: Ledger) -> None:
    first, second = handed_out(ledger), handed_out(ledger)
    text = Told(ledger, terminal=True).of(
        Event("started", first), Event("started", second), Event("began", first)
    )
    header = [line for line in text.splitlines() if "waiting" in line][-1]
    row = text[text.rindex(header) :].splitlines()[1]
    assert column(header, row, "running") == "1"
    assert column(header, row, "waiting") == "1"


def test_a_trial_that_is_tried_again_is_not_at_work_until_it_is_handed_out(ledger: Ledger) -> None:
    trial = handed_out(ledger)
    again = ledger.cells[trial.cell.key].retry(trial, "gone")
    text = Told(ledger, terminal=True).of(
        Event("started", trial), Event("began", trial), Event("retried", again, message="gone")
    )
    header = [line for line in text.splitlines() if "waiting" in line][-1]
    row = text[text.rindex(header) :].splitlines()[1]
    assert [column(header, row, name) for name in ("running", "waiting", "retried")] == ["", "", "1"]
    assert "is tried again after: gone" in text


def test_the_limit_that_ended_a_search_has_a_column_only_where_there_is_one(tmp_path: Path) -> None:
    limited = small(budget=SMALL["budget"] | {"steps": 1})
    ledger = Ledger.open(tmp_path, limited, "d")
    assert "ended by" not in [column.header for column in cells_table(ledger.counts()).columns]
    trial = handed_out(ledger)
    cell = ledger.cells[trial.cell.key]
    cell.spend(trial, type(trial.spent)(steps=8))
    cell.end(trial, State.COMPLETE, 0.5)
    table = cells_table(ledger.counts())
    assert [column.header for column in table.columns][-1] == "ended by"
    assert list(table.columns[-1].cells) == ["steps", ""]


def test_a_complete_trial_is_told_with_its_score_and_the_best_of_its_cell(ledger: Ledger) -> None:
    trial = handed_out(ledger)
    ledger.cells[trial.cell.key].end(trial, State.COMPLETE, 0.5)
    assert described(Event("complete", trial, miou=0.5), ledger).endswith(
        "complete, val mIoU 0.500 (best of the cell 0.500)"
    )


def column(header: str, row: str, name: str) -> str:
    """Return what stands under a right-aligned name."""
    end = header.index(name) + len(name)
    return row[:end].rjust(end)[header.index(name) :].strip()
