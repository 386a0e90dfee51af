"""What is seen of a sweep from outside, and how `status` shows it."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from rich.console import Console

from shapeft_tune.config.places import Places
from shapeft_tune.tune.ledger.cell_ledger import CellLedger
from shapeft_tune.tune.ledger.cell_studies import CellStudies
from shapeft_tune.tune.ledger.lease import Holder, Sign, sole_driver_of
from shapeft_tune.tune.ledger.ledger import Ledger
from shapeft_tune.tune.ledger.ledger_storage import LEDGER_FILE, open_storage
from shapeft_tune.tune.ledger.lock import sole_driver
from shapeft_tune.tune.ledger.trials import LedgerTrial, Spent, State
from shapeft_tune.tune.status import status_view
from shapeft_tune.tune.status.onlooking import events_between, watch
from shapeft_tune.tune.status.standing import Onlooker, Standing
from shapeft_tune.tune.status.status_view import fitting_view, sentences, status_json, whole_view
from shapeft_tune.tune.status.whereabouts import Whereabouts
from tests.tune.small import SMALL, small


@dataclass
class Driven:
    """A sweep that a driver, played by the test, has begun."""

    home: Path
    cells: list[CellLedger]
    whereabouts: Whereabouts

    def onlooker(self, **changes: object) -> Onlooker:
        return Onlooker(small(**changes), Places(self.home))

    def hand_out(self, cell: int = 0) -> LedgerTrial:
        trial = self.cells[cell].next()
        assert trial is not None
        self.whereabouts.handed_out(trial.fingerprint, trial)
        return trial

    def give_slot(self, trial: LedgerTrial, step: int = 0) -> None:
        self.whereabouts.began(trial.fingerprint, "node1", 42, "cuda:1")
        if step:
            self.whereabouts.reached(trial.fingerprint, step, 8, 1.5)

    def end(self, trial: LedgerTrial, state: State = State.COMPLETE, score: float | None = 0.5) -> None:
        self.whereabouts.left(trial.fingerprint)
        cell = next(each for each in self.cells if each.cell == trial.cell)
        cell.spend(trial, Spent(8, 2.0, 7200.0))
        cell.end(trial, state, score, "" if score else "Traceback\nNonFiniteLoss: at step 3")


@pytest.fixture
def driven(tmp_path: Path) -> Driven:
    folder = tmp_path / "small"
    cells = list(Ledger.open(folder, small(), "d").cells.values())
    ticks = iter(range(10**9))  # every word is written at once
    return Driven(tmp_path, cells, Whereabouts(folder, lambda: float(2 * next(ticks))))


@pytest.fixture
def at_work(driven: Driven) -> Iterator[None]:
    with sole_driver(driven.home / "small"):
        yield


def shown(standing: Standing) -> str:
    console = Console(file=io.StringIO(), width=140)
    console.print(whole_view(standing))
    return console.file.getvalue()  # type: ignore[attr-defined]


@pytest.mark.usefixtures("at_work")
def test_trials_with_a_slot_and_trials_that_wait_are_told_apart(driven: Driven) -> None:
    running, waiting = driven.hand_out(), driven.hand_out(cell=1)
    driven.give_slot(running, step=4)
    standing = driven.onlooker().look()
    by_fingerprint = {each.trial.fingerprint: each for each in standing.at_work}
    assert by_fingerprint[waiting.fingerprint].waits
    place = by_fingerprint[running.fingerprint].place
    assert place is not None
    assert (place.host, place.process, place.device, place.step, place.steps) == ("node1", 42, "cuda:1", 4, 8)
    text = shown(standing)
    assert "node1" in text
    assert "4/8" in text
    assert "1 trial waits for a slot" in text
    first, second = status_json(standing)["cells"]
    assert (first["running"], first["waiting"]) == (1, 0)
    assert (second["running"], second["waiting"]) == (0, 1)


@pytest.mark.usefixtures("at_work")
def test_a_trial_that_its_driver_has_not_written_down_yet_waits(driven: Driven) -> None:
    driven.cells[0].next()
    standing = driven.onlooker().look()
    assert [each.waits for each in standing.at_work] == [True]


def test_nothing_runs_once_the_driver_is_gone_whatever_the_file_says(driven: Driven) -> None:
    driven.give_slot(driven.hand_out(), step=4)
    standing = driven.onlooker().look()
    assert standing.driver is None
    assert standing.at_work == ()
    assert len(standing.left_open) == 1
    assert "1 trial was running when the driver ended" in shown(standing)
    content = status_json(standing)
    assert [cell["running"] for cell in content["cells"]] == [0, 0]
    assert [cell["left_open"] for cell in content["cells"]] == [1, 0]


@pytest.mark.usefixtures("at_work")
def test_the_pace_says_about_how_long_the_rest_takes(driven: Driven) -> None:
    driven.end(driven.hand_out())
    in_an_hour = driven.onlooker().look(datetime.now() + timedelta(minutes=59))
    assert in_an_hour.trials_todo == 9
    assert in_an_hour.trials_per_hour == pytest.approx(60 / 59, rel=0.05)
    assert in_an_hour.seconds_left == pytest.approx(9 * 59 * 60, rel=0.05)
    assert "About 1.0 trials an hour, about 8:5" in shown(in_an_hour)


def test_a_sweep_that_nobody_works_on_has_no_pace(driven: Driven) -> None:
    driven.end(driven.hand_out())
    standing = driven.onlooker().look()
    assert (standing.trials_per_hour, standing.seconds_left) == (None, None)


def test_the_budget_is_shown_with_what_it_took_and_which_limit_ended_a_search(driven: Driven) -> None:
    driven.end(driven.hand_out())
    budget = SMALL["budget"] | {"device_hours": 1.5, "total": {"device_hours": 10}}
    standing = driven.onlooker(budget=budget).look()
    text = shown(standing)
    assert "device_hours" in text.splitlines()[1]
    assert "Used: 8 steps, 2.00 of 10 device hours" in text
    content = status_json(standing)
    assert [cell["budget_reached"] for cell in content["cells"]] == ["device_hours", None]
    assert content["budget_total"] == {"wall_hours": None, "device_hours": 10}


def test_a_small_part_of_a_budget_is_not_shown_as_nothing() -> None:
    assert status_view._of("wall hours", 0.00021, 0.0002) == "0.00021 of 0.0002 wall hours"
    assert status_view._of("wall hours", 0.0, 2.0) == "0.00 of 2 wall hours"


def test_a_sweep_that_never_ran_is_named_with_where_it_was_looked_for(tmp_path: Path) -> None:
    said = shown(Onlooker(small(), Places(tmp_path / "home")).look()).replace("\n", "")
    assert f"Nothing was run under the name 'small' in {tmp_path / 'home'} yet." in said


def test_a_sweep_that_ran_is_not_called_new(driven: Driven) -> None:
    driven.hand_out()
    assert "Nothing was run" not in shown(driven.onlooker().look())


@pytest.mark.usefixtures("at_work")
def test_faults_and_failures_are_counted_and_the_last_ones_reason_is_shown(driven: Driven) -> None:
    failed, again = driven.hand_out(), driven.hand_out()
    driven.end(failed, State.FAILED, None)
    driven.cells[0].retry(again, "its worker died")
    standing = driven.onlooker().look()
    assert "failed: NonFiniteLoss: at step 3" in shown(standing).replace("\n", "")
    content = status_json(standing)
    assert (content["cells"][0]["failed"], content["cells"][0]["retried"]) == (1, 1)
    assert content["failed"][0]["reason"] == "NonFiniteLoss: at step 3"
    assert content["failed"][0]["folder"].endswith(f"small/trials/utae/{failed.fingerprint}")


def test_what_machines_read_is_json_also_of_a_sweep_that_never_ran(tmp_path: Path) -> None:
    content = json.loads(json.dumps(status_json(Onlooker(small(), Places(tmp_path)).look())))
    assert (content["trials_done"], content["trials_to_do"], content["done"]) == (0, 10, False)
    assert (content["best"], content["driver"], content["generation"]) == (None, None, 1)
    assert list(tmp_path.iterdir()) == []


def test_a_later_look_sees_what_came_since_and_reads_no_ended_trial_again(
    driven: Driven, monkeypatch: pytest.MonkeyPatch
) -> None:
    onlooker = driven.onlooker()
    driven.end(driven.hand_out(), score=0.3)
    assert onlooker.look().trials_done == 1
    driven.end(driven.hand_out(), score=0.6)
    opened = driven.hand_out()
    read: list[int] = []
    original = CellStudies.read
    monkeypatch.setattr(
        CellStudies, "read", lambda self, role, each: read.append(each.number) or original(self, role, each)
    )
    standing = onlooker.look()
    assert read == [1, opened.number]
    assert standing == driven.onlooker().look(standing.moment)
    assert standing.best is not None
    assert standing.best.best_miou == 0.6


def test_an_onlooker_who_came_before_the_ledger_sees_it_once_it_is_there(tmp_path: Path) -> None:
    onlooker = Onlooker(small(), Places(tmp_path))
    assert onlooker.look().ended == ()
    cell = next(iter(Ledger.open(tmp_path / "small", small(), "d").cells.values()))
    cell.end(cell.next(), State.COMPLETE, 0.5)
    assert len(onlooker.look().ended) == 1


def test_failed_trials_that_are_run_again_do_not_count_as_failed_any_more(driven: Driven) -> None:
    onlooker = driven.onlooker()
    driven.end(driven.hand_out(), State.FAILED, None)
    before = onlooker.look()
    assert len(before.failed) == 1
    Ledger.open(driven.home / "small", small(), "d").reopen_failed()
    after, afresh = onlooker.look(), driven.onlooker().look()
    assert after.failed == afresh.failed == ()
    assert after.spent == afresh.spent == before.spent  # its time is gone all the same
    assert onlooker.look().spent == before.spent


def test_the_driver_of_another_home_is_known_by_its_lease(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    (tmp_path / "theirs").mkdir()
    storage = open_storage(url, tmp_path)
    cell = next(iter(Ledger.open(tmp_path / "theirs", small(), "d", storage=storage).cells.values()))
    cell.next()
    onlooker = Onlooker(small(), Places(tmp_path / "mine"), url)
    with sole_driver_of(storage, "small", Holder("process 7 on far", "/far", "elsewhere")):
        standing = onlooker.look()
        assert standing.driver == "process 7 on far, home /far"
        assert [each.place for each in standing.at_work] == [None]
        assert "?" in shown(standing)
    assert onlooker.look().driver is None


def test_a_driver_of_another_home_that_gives_no_sign_of_life_counts_as_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    storage = open_storage(url, tmp_path)
    onlooker = Onlooker(small(), Places(tmp_path / "mine"), url)
    sign = Sign(3, "process 7 on far", "/far", "elsewhere")
    monkeypatch.setattr("shapeft_tune.tune.status.standing.sign_of", lambda storage, sweep: sign)
    Ledger.open(tmp_path, small(), "d", storage=storage)
    assert onlooker.look().driver is not None
    monkeypatch.setattr("shapeft_tune.tune.status.standing.PATIENCE", 0.0)
    assert onlooker.look().driver is None


# --watch


def watched(onlooker: Onlooker, steps: list[Callable[[], object]], *, terminal: bool = False) -> str:
    """Watch a sweep while in each pause the next step happens; nothing may wait for a step too many."""
    console = Console(file=io.StringIO(), force_terminal=terminal, width=140, height=20)
    pending = iter(steps)
    watch(onlooker, console, every=5, sleep=lambda seconds: next(pending)())
    assert next(pending, None) is None, "it ended before the sweep did"
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_watching_prints_a_line_for_each_change_and_ends_with_the_driver(driven: Driven) -> None:
    lock = sole_driver(driven.home / "small")
    lock.__enter__()
    trial = driven.hand_out()
    lines = watched(
        driven.onlooker(),
        [
            lambda: driven.give_slot(trial),
            lambda: None,
            lambda: driven.end(trial, score=0.25),
            lambda: lock.__exit__(None, None, None),
        ],
    ).splitlines()
    assert "0 of 10 trials" in lines[0]
    assert [line.partition(trial.fingerprint[:6])[2] for line in lines[1:]] == [
        " has its slot",
        " complete, val mIoU 0.250 (best of the cell 0.250)",
    ]


@pytest.mark.usefixtures("at_work")
def test_watching_ends_when_all_is_done_though_the_driver_still_writes_its_report(driven: Driven) -> None:
    def work_off() -> None:
        for cell in driven.cells:
            while trial := cell.next():
                cell.end(trial, State.COMPLETE, 0.5)

    assert "10 of 10" in watched(driven.onlooker(), [work_off], terminal=True)


def test_watching_what_nobody_works_on_ends_at_once(driven: Driven) -> None:
    assert "0 of 10 trials" in watched(driven.onlooker(), [])


@pytest.mark.usefixtures("at_work")
def test_a_fault_between_two_looks_is_told(driven: Driven) -> None:
    onlooker, trial = driven.onlooker(), driven.hand_out()
    driven.give_slot(trial)
    before = onlooker.look()
    driven.cells[0].retry(trial, "its worker died")
    (event,) = events_between(before, onlooker.look())
    assert (event.kind, event.message) == ("retried", "its worker died")


@pytest.mark.usefixtures("at_work")
def test_what_is_refreshed_fits_the_screen_and_shows_what_is_at_work(tmp_path: Path) -> None:
    wide = {"label_fractions": [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8], "temporal_lengths": [1, 2, 3]}
    sweep = small(settings=wide, name="wide")
    folder = tmp_path / "wide"
    ledger = Ledger.open(folder, sweep, "d")
    last = list(ledger.cells.values())[-1]
    trial = last.next()
    assert trial is not None
    whereabouts = Whereabouts(folder)
    whereabouts.handed_out("a", trial)
    with sole_driver(folder):
        standing = Onlooker(sweep, Places(tmp_path)).look()
        console = Console(file=io.StringIO(), force_terminal=True, width=140, height=20)
        lines = console.render_lines(fitting_view(standing, console))
    assert len(standing.counts) == 24
    assert len(lines) <= 20
    assert any("80 %" in "".join(part.text for part in line) for line in lines)


def test_a_later_generation_is_named(driven: Driven) -> None:
    later = small().model_copy(update={"name": "small+2"})
    standing = Onlooker(later, Places(driven.home)).look()
    assert next(sentences(standing)).startswith("small+2: 0 of 10 trials")
    assert status_json(standing)["generation"] == 2
    assert not (driven.home / "small+2" / LEDGER_FILE).exists()
