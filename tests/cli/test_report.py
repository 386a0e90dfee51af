"""``report`` as a user types it, on sweeps that lie in a real store, with ledgers and files of trials."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shapeft_tune.config import SweepConfig
from shapeft_tune.report import Run
from shapeft_tune.scores import CONFUSION_FILE
from shapeft_tune.tracking import Ending, Recorder, TrialEnd
from shapeft_tune.tune.declared import keep_declared
from shapeft_tune.tune.ledger.generations import numbered
from shapeft_tune.tune.ledger.ledger import Ledger
from shapeft_tune.tune.ledger.lock import sole_driver
from tests.report.synthetic import synthetic_runs, synthetic_sweep
from tests.test_cli import Command, mistake
from tests.test_cli import shapeft as shapeft
from tests.tune.small import written

STRATEGIES = ("utae", "croma_frozen")


@dataclass(frozen=True)
class Sweeps:
    """A home with two generations of one sweep and the first of another, and their files."""

    home: Path
    old: Path
    """The file as it was for the first generation."""
    new: Path
    """As it is now: the second generation has longer training."""
    other: Path


def content(**sections: Any) -> dict[str, Any]:
    sweep = synthetic_sweep(STRATEGIES, trials=2)
    settings = {"label_fractions": [0.1], "temporal_lengths": [6, 24]}
    dumped = sweep.model_dump(mode="json", by_alias=True, exclude_unset=True)
    return dumped | {"name": "mine", "settings": settings} | sections


def longer(steps: int) -> dict[str, Any]:
    return {"data": {"dataset": "pastis"}, "training": {"steps": steps, "optimiser": "adamw"}}


def recorded(home: Path, sweep: SweepConfig, runs: Sequence[Run], with_ledger: bool = True) -> None:
    """Write a sweep to its home: ledger, files of its trials, and record."""
    folder = home / sweep.name
    if with_ledger:
        ledger = Ledger.open(folder, sweep, "digest")
        keep_declared(folder, sweep)
        next(iter(ledger.cells.values())).next()
    record = Recorder.open(f"sqlite:///{home / 'mlflow.db'}", sweep.name, folder, home / "artifacts")
    for run in runs:
        lay_down(folder / "trials", run)
        record.trial_ended(run.facts, TrialEnd(Ending(run.state), run.metrics))
    record.close()
    assert record.problems == ()


def lay_down(trials: Path, run: Run) -> None:
    """Write what a trial leaves of its test patches."""
    if run.test_patches is None:
        return
    folder = trials / run.facts.strategy / run.facts.fingerprint
    folder.mkdir(parents=True)
    np.savez(
        folder / CONFUSION_FILE,
        test_ids=np.array(run.test_patches.ids),
        test_counts=run.test_patches.counts_NKK,
        class_names=np.array(run.test_patches.class_names),
    )
    (folder / "result.json").write_text(json.dumps({"fingerprint": run.facts.fingerprint}))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Sweeps:
    root = tmp_path_factory.mktemp("sweeps")
    home = root / "home"
    home.mkdir()
    files = Sweeps(
        home,
        written(root / "old.yaml", content()),
        written(root / "mine.yaml", content(base=longer(4000))),
        written(root / "other.yaml", content(name="other", strategies=alone("utae"))),
    )
    sweeps = [SweepConfig.model_validate(content()), SweepConfig.model_validate(content(base=longer(4000)))]
    for number, sweep in enumerate(sweeps, 1):
        named = numbered(sweep, number)
        recorded(home, named, synthetic_runs(named, seed=number))
    third = SweepConfig.model_validate(content(name="other", strategies=alone("utae")))
    recorded(home, third, synthetic_runs(third)[:-1])
    return files


def alone(name: str) -> dict[str, Any]:
    return {name: content()["strategies"][name]}


@pytest.fixture
def sweeps(made: Sweeps, tmp_path: Path) -> Sweeps:
    """Return a copy to write reports into."""
    home = Path(shutil.copytree(made.home, tmp_path / "home"))
    return Sweeps(home, made.old, made.new, made.other)


def test_a_report_prints_table_findings_and_where_its_page_is(shapeft: Command, sweeps: Sweeps) -> None:
    outcome = shapeft("report", sweeps.new, "--home", sweeps.home)
    assert outcome.code == 0, outcome.err
    page = sweeps.home / "mine+2" / "report" / "report.html"
    assert f"Report: {page}\n" in outcome.out
    assert f"{page.with_suffix('.md')}\n" in outcome.out
    assert page.is_file()
    assert "10 % labels, 6 dates: " in outcome.out
    assert "croma_frozen against utae: " in outcome.out


def test_the_baseline_can_be_chosen_and_an_unknown_one_lists_the_strategies(
    shapeft: Command, sweeps: Sweeps
) -> None:
    outcome = shapeft("report", sweeps.new, "--home", sweeps.home, "--baseline", "croma_frozen")
    assert "utae against croma_frozen: " in outcome.out
    unknown = shapeft("report", sweeps.new, "--home", sweeps.home, "--baseline", "resnet")
    mistake(unknown, "baseline", "resnet", "utae", "croma_frozen")


def test_published_numbers_are_in_the_page_only_where_they_were_asked_for(
    shapeft: Command, sweeps: Sweeps
) -> None:
    page = sweeps.home / "mine+2" / "report" / "report.html"
    shapeft("report", sweeps.new, "--home", sweeps.home)
    assert "Published numbers" not in page.read_text()
    assert shapeft("report", sweeps.new, "--home", sweeps.home, "--published").code == 0
    assert "Published numbers" in page.read_text()


def test_where_no_published_numbers_are_known_the_terminal_says_so(
    shapeft: Command, sweeps: Sweeps, tmp_path: Path
) -> None:
    base = {"data": {"dataset": "sample"}, "training": {"steps": 4000, "optimiser": "adamw"}}
    on_sample = written(tmp_path / "mine.yaml", content(base=base))
    asked = shapeft("report", sweeps.new, "--home", sweeps.home, "--published")
    assert "Published numbers" not in asked.out
    home = tmp_path / "sampled"
    home.mkdir()
    sweep = SweepConfig.model_validate(content(base=base))
    recorded(home, sweep, synthetic_runs(sweep)[:4], with_ledger=False)
    asked = shapeft("report", on_sample, "--home", home, "--published")
    assert "Published numbers: None are known for this data set" in asked.out, asked.err
    assert "Published numbers" not in shapeft("report", on_sample, "--home", home).out


def test_a_report_while_a_driver_runs_says_that_results_may_be_on_their_way(
    shapeft: Command, sweeps: Sweeps
) -> None:
    folder = sweeps.home / "mine+2"
    with sole_driver(folder):
        out = shapeft("report", sweeps.new, "--home", sweeps.home).out
    told = re.search(r"A driver runs this sweep now \(process \d+ on .+\): .*on their way", out)
    assert told
    for name in ("report.html", "report.md"):
        assert "on their way" in (folder / "report" / name).read_text()
    assert "on their way" not in shapeft("report", sweeps.new, "--home", sweeps.home).out


def test_json_is_all_that_is_printed(shapeft: Command, sweeps: Sweeps) -> None:
    told = json.loads(shapeft("report", sweeps.new, "--home", sweeps.home, "--json").out)
    assert (told["sweep"], len(told["cells"])) == ("mine+2", 4)
    both = json.loads(shapeft("report", sweeps.new, sweeps.other, "--home", sweeps.home, "--json").out)
    assert (both["a"], both["b"]) == ("mine+2", "other")


def test_an_unfinished_sweep_is_reported_with_what_is_missing(shapeft: Command, sweeps: Sweeps) -> None:
    out = shapeft("report", sweeps.other, "--home", sweeps.home).out
    assert "The sweep is unfinished: 1 confirmation is missing, in 1 of 2 cells." in out


def test_an_older_generation_is_reported_as_it_ran_whatever_the_file_says_now(
    shapeft: Command, sweeps: Sweeps
) -> None:
    for arguments in ((sweeps.new, "--generation", 1), (f"{sweeps.new}+1",)):
        outcome = shapeft("report", *arguments, "--home", sweeps.home)
        assert outcome.code == 0, outcome.err
        assert "no result yet" not in outcome.out
        assert f"{sweeps.home / 'mine' / 'report' / 'report.html'}\n" in outcome.out


def test_two_generations_of_one_file_are_set_side_by_side_with_what_was_changed(
    shapeft: Command, sweeps: Sweeps
) -> None:
    outcome = shapeft("report", f"{sweeps.new}+1", f"{sweeps.new}+2", "--home", sweeps.home)
    assert outcome.code == 0, outcome.err
    assert "mine+2 against mine: " in outcome.out
    assert "Declared otherwise, every strategy: training.steps: 2000 -> 4000" in outcome.out
    folder = sweeps.home / "mine" / "report" / "against-mine+2"
    assert f"{folder / 'report.md'}\n" in outcome.out
    told = json.loads((folder / "report.json").read_text())
    assert [each["path"] for each in told["declared"]["every strategy"]] == ["training.steps"]
    assert [cell["paired"] for cell in told["cells"]] == [True] * 4
    assert {cell["seeds"] for cell in told["cells"]} == {3}


def test_the_file_as_it_was_serves_for_an_older_generation_without_its_own_copy(
    shapeft: Command, sweeps: Sweeps
) -> None:
    (sweeps.home / "mine" / "sweep.json").unlink()
    refused = shapeft("report", f"{sweeps.new}+1", sweeps.new, "--home", sweeps.home)
    mistake(refused, "'mine'", "give the file as it was")
    assert shapeft("report", f"{sweeps.old}+1", sweeps.new, "--home", sweeps.home).code == 0


def test_two_sweeps_are_set_side_by_side_and_cells_of_one_alone_listed(
    shapeft: Command, sweeps: Sweeps
) -> None:
    out = shapeft("report", f"{sweeps.new}+1", sweeps.other, "--home", sweeps.home).out
    assert "other against mine: " in out
    assert "Only in mine: croma_frozen (10 % labels, 6 dates; 10 % labels, 24 dates)." in out


def test_a_record_is_reported_where_no_ledger_is(shapeft: Command, sweeps: Sweeps, tmp_path: Path) -> None:
    uri = f"sqlite:///{sweeps.home / 'mlflow.db'}"
    outcome = shapeft(
        "report", f"{sweeps.old}+1", f"{sweeps.new}+2", "--home", tmp_path / "away", "--tracking-uri", uri
    )
    assert outcome.code == 0, outcome.err
    assert "mine+2 against mine: " in outcome.out
    missing = shapeft("report", f"{sweeps.new}+3", "--home", tmp_path / "away", "--tracking-uri", uri)
    mistake(missing, "'mine+3'", "run the sweep first")


def test_mistakes_in_what_is_compared_are_told_with_what_to_do(shapeft: Command, sweeps: Sweeps) -> None:
    def refused(*arguments: object) -> Any:
        return shapeft("report", *arguments, "--home", sweeps.home)

    mistake(refused(sweeps.new, sweeps.new), "mine+2 twice", "FILE+N")
    mistake(refused(sweeps.new, f"{sweeps.new}+2"), "mine+2 twice")
    mistake(refused(sweeps.new, sweeps.home / "no.yaml"), "no.yaml")
    mistake(refused(sweeps.new, f"{sweeps.home / 'no.yaml'}+1"), "no.yaml")
    mistake(refused(sweeps.new, f"{sweeps.new}+7"), "7", "which has 1, 2")
    mistake(refused(f"{sweeps.new}+0"), "mine.yaml+0", "from 1 on", "mine.yaml+1")
    mistake(refused(f"{sweeps.new}+1", f"{sweeps.new}+2", "--baseline", "utae"), "such as mine.yaml+2")
    mistake(refused(f"{sweeps.new}+1", "--generation", 2), "leave one out")
    mistake(refused(sweeps.new, sweeps.other, "--baseline", "utae"), "--baseline", "leave it out")
    mistake(refused(sweeps.new, sweeps.other, "--generation", 1), "--generation", "mine.yaml+2")
    never = written(sweeps.home.parent / "never.yaml", content(name="never"))
    mistake(refused(sweeps.new, never), "'never'", "run the sweep first")


def test_help_shows_how_the_command_is_used(shapeft: Command) -> None:
    out = shapeft("report", "--help").out
    for word in ("Examples:", "report mine.yaml+1 mine.yaml+2", "--baseline", "--published", "OTHER"):
        assert word in out


def test_pages_on_a_port_that_is_in_use_are_refused(shapeft: Command, sweeps: Sweeps) -> None:
    import socket

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        mistake(shapeft("ui", "--home", sweeps.home, "--port", port), f"--port {port}", "choose another")
