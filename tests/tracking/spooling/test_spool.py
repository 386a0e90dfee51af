from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shapeft_tune.config.protocol import Role
from shapeft_tune.tracking import Ending, Place, TrialEnd, TrialFacts
from shapeft_tune.tracking.spooling.fact_lines import Kind, end_content, key_of, numbers
from shapeft_tune.tracking.spooling.position import Position
from shapeft_tune.tracking.spooling.spool import FACTS_KEPT, SPOOL_FILE, Spool, TrialsInSpool, spool_lines

Trial = Callable[..., TrialFacts]
ROOT = Path(__file__).resolve().parents[2]
STORE = "http://127.0.0.1:5000"


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    spool = Spool(tmp_path / "home" / "demo")
    spool.append(Kind.OPENED, 1, question="", metric=["miou", 1])
    yield spool
    spool.close()


def steps_in(file: Path) -> list[int]:
    return [each.line.step for each in spool_lines(file) if each.line.kind is Kind.PROGRESS]


def progress(spool: Spool, facts: TrialFacts, step: int, **metrics: float) -> None:
    spool.append(Kind.PROGRESS, step, facts, step=step, metrics=numbers(metrics))


def test_facts_come_back_as_they_were_told(spool: Spool, trial: Trial) -> None:
    facts = replace(
        trial(role=Role.CONFIRMATION, seed=3),
        origin="neighbour utae/labels=0.1/dates=1",
        data_digest="0123456789abcdef",
        contents={"weights CROMA_base.pt": "0a1b"},
    )
    untold = [field.name for field in fields(facts) if not getattr(facts, field.name)]
    assert untold == [], "every field is to be told with a value of its own"
    spool.append(Kind.STARTED, 2, facts)
    *_, last = spool_lines(spool.file)
    assert last.line.facts == facts
    assert isinstance(last.line.facts.role, Role)
    assert last.line.key == key_of(facts)


def test_an_end_comes_back_as_it_was_told_in_a_home_that_was_moved(
    spool: Spool, trial: Trial, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere.json"
    end = TrialEnd(
        Ending.FAILED,
        {"cost/seconds": 1.5, "val/loss": float("nan"), "test/iou/fruits, vegetables": 0.25},
        'a "quoted" line\nand another',
        {"result.json": spool.folder / "trials" / "result.json", "other.json": elsewhere},
        environment={"device": "cpu"},
        test_counts_KK=np.arange(9).reshape(3, 3) * 10**12,
    )
    untold = [field.name for field in fields(end) if getattr(end, field.name) is None]
    assert untold == []
    spool.append(Kind.ENDED, 2, trial(), end=end_content(end, spool.folder))
    home = spool.folder.parent.rename(tmp_path / "moved")
    *_, last = spool_lines(home / "demo" / SPOOL_FILE)
    found = last.line.end(home / "demo")
    moved = {"result.json": home / "demo" / "trials" / "result.json", "other.json": elsewhere}
    metrics = {"cost/seconds": 1.5, "test/iou/fruits, vegetables": 0.25}  # what no store takes is left out
    assert found == replace(end, metrics=metrics, artifacts=moved)
    assert np.array_equal(found.test_counts_KK, end.test_counts_KK)
    assert last.line.ending is Ending.FAILED


def test_a_place_comes_back_as_it_was_told(spool: Spool, trial: Trial) -> None:
    spool.append(Kind.BEGAN, 2, trial(), place=vars(Place("node", "gpu 1")))
    *_, last = spool_lines(spool.file)
    assert last.line.place == Place("node", "gpu 1")


def test_facts_stand_where_a_trial_starts_and_in_the_first_line_about_it(spool: Spool, trial: Trial) -> None:
    started, unheard = trial(lr=0.001), trial(lr=0.002)
    spool.append(Kind.STARTED, 2, started)
    progress(spool, started, 10)
    spool.append(Kind.ENDED, 3, unheard, end=end_content(TrialEnd(Ending.PRUNED), spool.folder))
    progress(spool, unheard, 10)
    spool.append(Kind.STARTED, 4, started)
    told = [each.line.facts for each in spool_lines(spool.file)]
    assert told == [None, started, None, unheard, None, started]


def test_the_facts_of_a_trial_are_found_from_any_line_about_it(spool: Spool, trial: Trial) -> None:
    trials = [replace(trial(), fingerprint=f"f{number}") for number in range(2 * FACTS_KEPT)]
    for facts in trials:
        spool.append(Kind.STARTED, 2, facts)
    middle = spool.size
    for step in (10, 20):
        for facts in trials:
            progress(spool, facts, step)
    known = TrialsInSpool(spool.file)
    assert [known.of(each) for each in spool_lines(spool.file, middle)] == trials * 2
    assert known.keys() == set(map(key_of, trials))


def test_a_torn_last_line_is_passed_over_and_the_next_one_is_whole(spool: Spool, trial: Trial) -> None:
    progress(spool, trial(), 10)
    progress(spool, trial(), 20)
    whole = spool.file.read_bytes()
    for cut in range(1, len(whole.splitlines(keepends=True)[-1])):
        spool.file.write_bytes(whole[:-cut])
        after = Spool(spool.folder)
        progress(after, trial(), 30)
        after.close()
        assert steps_in(spool.file) == ([10, 20, 30] if cut == 1 else [10, 30])


def test_a_line_of_a_later_version_is_passed_over(spool: Spool, trial: Trial) -> None:
    with spool.file.open("ab") as file:
        file.write(b'{"kind":"weather","time":5,"trial":["a","b","c"]}\n\0\0\0\n[1, 2]\n')
    later = Spool(spool.folder)
    facts = json.dumps(vars(trial()) | {"mood": "good"})
    with spool.file.open("ab") as file:
        file.write(b'{"kind":"started","time":5,"trial":["a","b","c"],"facts":%s}\n' % facts.encode())
    later.close()
    *_, last = spool_lines(spool.file)
    assert last.line.facts == trial()


FILLING = """
import resource, sys
from pathlib import Path
from shapeft_tune.tracking.spooling.fact_lines import Kind
from shapeft_tune.tracking.spooling.spool import Spool
from tests.tracking.conftest import facts

spool = Spool(Path(sys.argv[1]))
soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
def tell(step):
    spool.append(Kind.PROGRESS, step, facts(), step=step, metrics={"val/miou": 0.5})
tell(10)
resource.setrlimit(resource.RLIMIT_FSIZE, (spool.size + 20, hard))
for step in (20, 30):
    try:
        tell(step)
    except OSError as error:
        print("refused", step)
resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
tell(40)
"""


def test_a_disk_that_is_full_for_a_while_tears_no_line_but_the_one_it_cut(spool: Spool) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FILLING, str(spool.folder)], cwd=ROOT, capture_output=True, text=True
    )
    assert done.stdout.split("\n")[:2] == ["refused 20", "refused 30"], done.stderr
    assert steps_in(spool.file) == [10, 40]
    assert all(map(json.loads, spool.file.read_bytes().splitlines()))


WRITING = """
import sys
from pathlib import Path
from shapeft_tune.tracking.spooling.fact_lines import Kind
from shapeft_tune.tracking.spooling.spool import Spool
from tests.tracking.conftest import facts

spool = Spool(Path(sys.argv[1]))
trial = facts()
for step in range(1, 10**7):
    spool.append(Kind.PROGRESS, step, trial, step=step, metrics={"val/miou": step / 1e7})
    print(step, flush=True)
"""


def test_what_a_writer_said_it_had_written_is_there_after_it_was_killed(spool: Spool, trial: Trial) -> None:
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITING, str(spool.folder)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert writer.stdout is not None
    while int(writer.stdout.readline()) < 1000:
        pass
    writer.kill()
    said = [1000, *map(int, writer.stdout.read().split())][-1]
    writer.wait()
    after = Spool(spool.folder)
    progress(after, trial(), 0)
    after.close()
    steps = steps_in(spool.file)
    assert steps == [*range(1, len(steps)), 0]
    assert len(steps) - 1 >= said


def position(spool: Spool, **place: Any) -> Position:
    known = {"tracking_uri": STORE, "experiment_id": "1", "sweep_run_id": "a"} | place
    return Position.of(spool.file, **known)


def test_a_position_is_that_of_one_store_and_one_sweep_run_in_it(spool: Spool, trial: Trial) -> None:
    progress(spool, trial(), 10)
    first = position(spool)
    assert first.offset == 0
    first.offset, first.refused = spool.size, {7}
    first.save()
    again = position(spool)
    assert (again.offset, again.refused) == (spool.size, {7})
    assert position(spool, tracking_uri="http://user:secret@127.0.0.1:5000").offset == spool.size
    assert position(spool, tracking_uri="http://elsewhere:5000").offset == 0
    assert position(spool, experiment_id="2").offset == 0
    assert position(spool, sweep_run_id="b").offset == 0  # the database was deleted and made again
    assert "secret" not in first.file.read_text()


def test_a_position_in_a_spool_that_lost_lines_or_is_another_one_is_forgotten(
    spool: Spool, trial: Trial
) -> None:
    progress(spool, trial(), 10)
    known = position(spool)
    known.offset = spool.size
    known.save()
    whole = spool.file.read_bytes()
    spool.file.write_bytes(whole[:-9])  # as after a power cut
    assert position(spool).offset == 0
    spool.file.write_bytes(whole[:-9] + b"\n" + whole)
    assert position(spool).offset == 0
    spool.file.write_bytes(whole.replace(b'"time":1,', b'"time":2,', 1))
    assert position(spool).offset == 0
    spool.file.write_bytes(whole)
    assert position(spool).offset == known.offset


@pytest.mark.parametrize(
    "told", [[], 7, None, {"offset": "far"}, {"spool": None, "offset": 0}, {"offset": -5}, {"refused": 3}]
)
def test_a_position_that_makes_no_sense_is_unknown(spool: Spool, trial: Trial, told: Any) -> None:
    progress(spool, trial(), 10)
    known = position(spool)
    known.offset = spool.size
    known.save()
    content = json.loads(known.file.read_text())
    mine = content[known.store]
    content[known.store] = mine | told if isinstance(told, dict) else told
    known.file.write_text(json.dumps(content))
    again = position(spool)
    assert (again.offset, again.refused) == (0, set())


def test_a_database_in_the_home_is_the_same_store_after_the_home_was_moved(
    spool: Spool, tmp_path: Path
) -> None:
    known = position(spool, tracking_uri=f"sqlite:///{spool.folder.parent / 'mlflow.db'}")
    known.offset = spool.size
    known.save()
    home = spool.folder.parent.rename(tmp_path / "moved")
    moved = Position.of(home / "demo" / SPOOL_FILE, f"sqlite:///{home / 'mlflow.db'}", "1", "a")
    assert moved.offset == spool.size
