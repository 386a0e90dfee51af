from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from shapeft_tune.config import SweepConfig
from shapeft_tune.config.places import Places
from shapeft_tune.errors import LedgerError
from shapeft_tune.tune.ledger.generations import (
    chosen_generation,
    generation_number,
    generations_of,
    next_generation,
)
from shapeft_tune.tune.ledger.lease import Holder, sole_driver_of
from shapeft_tune.tune.ledger.ledger import Ledger
from shapeft_tune.tune.ledger.ledger_storage import LEDGER_FILE, open_storage
from shapeft_tune.tune.ledger.trials import LedgerTrial, State
from tests.tune.small import SMALL, run, small, written

OTHER_SEED = small(base=SMALL["base"] | {"seed": 5})


def one_trial(sweep: SweepConfig, home: Path, data: str = "d", url: str | None = None) -> LedgerTrial:
    """Run one trial of a generation."""
    folder = home / sweep.name
    folder.mkdir(parents=True, exist_ok=True)
    cell = next(iter(Ledger.open(folder, sweep, data, storage=open_storage(url, folder)).cells.values()))
    trial = cell.next()
    assert trial is not None
    return cell.end(trial, State.COMPLETE, 0.5)


def begun(sweep: SweepConfig, home: Path, data: str = "d", url: str | None = None) -> SweepConfig:
    """Begin a new generation as `sweep --new` does."""
    generation = next_generation(sweep, Places(home), data, {}, url)
    one_trial(generation, home, data, url)
    return generation


@pytest.fixture(params=["folder", "database"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str | None:
    return None if request.param == "folder" else f"sqlite:///{tmp_path / 'ledger.db'}"


def test_a_sweep_that_never_ran_begins_with_its_own_name(tmp_path: Path, url: str | None) -> None:
    assert chosen_generation(small(), Places(tmp_path), url) == small()
    assert next_generation(small(), Places(tmp_path), "d", {}, url) == small()
    assert list(tmp_path.iterdir()) == []


def test_a_changed_file_begins_a_generation_beside_the_old_one_and_goes_on_with_it(
    tmp_path: Path, url: str | None
) -> None:
    old = one_trial(small(), tmp_path, url=url)
    with pytest.raises(LedgerError, match=r"seed was 0, is now 5.*[\s\S]*--new"):
        one_trial(OTHER_SEED, tmp_path, url=url)
    new = begun(OTHER_SEED, tmp_path, url=url)
    assert new.name == "small+2"
    assert new.cells == OTHER_SEED.cells
    assert chosen_generation(OTHER_SEED, Places(tmp_path), url).name == "small+2"
    assert [trial.config.seed for trial in Ledger.look(tmp_path / new.name, new, url).trials()] == [5]
    first = chosen_generation(small(), Places(tmp_path), url, number=1)
    assert Ledger.look(tmp_path / first.name, first, url).trials() == (old,)


@pytest.mark.parametrize(
    ("changes", "data", "contents"),
    [
        ({}, "other data", {}),
        ({}, "d", {"utae": {"weights mine.pt": "aa"}}),
        ({"search": {"model.heads": {"choice": [1, 2]}}}, "d", {}),
    ],
)
def test_other_data_weights_or_searched_fields_are_worth_a_generation(
    tmp_path: Path, changes: dict[str, Any], data: str, contents: dict[str, dict[str, str]]
) -> None:
    one_trial(small(), tmp_path)
    assert next_generation(small(**changes), Places(tmp_path), data, contents).name == "small+2"


@pytest.mark.parametrize("changes", [{}, {"budget": {"trials": 9}}, {"question": "Why?"}])
def test_a_generation_that_could_go_on_is_not_left_for_a_new_one(
    tmp_path: Path, url: str | None, changes: dict[str, Any]
) -> None:
    one_trial(small(), tmp_path, url=url)
    with pytest.raises(LedgerError, match=r"nothing differs.*leave out --new"):
        next_generation(small(**changes), Places(tmp_path), "d", {}, url)


def test_the_newest_generation_is_the_one_that_a_change_is_held_against(tmp_path: Path) -> None:
    one_trial(small(), tmp_path)
    begun(OTHER_SEED, tmp_path)
    with pytest.raises(LedgerError, match=r"'small\+2'"):
        next_generation(OTHER_SEED, Places(tmp_path), "d", {})
    assert begun(small(), tmp_path).name == "small+3"  # as the first, but that is not the newest
    assert generations_of("small", tmp_path) == (1, 2, 3)


def test_the_tenth_generation_is_newer_than_the_ninth(tmp_path: Path) -> None:
    for name in ("small", "small+9", "small+10"):
        one_trial(small().model_copy(update={"name": name}), tmp_path)
    assert chosen_generation(small(), Places(tmp_path)).name == "small+10"


def test_a_folder_without_a_ledger_is_no_generation(tmp_path: Path) -> None:
    one_trial(small(), tmp_path)
    (tmp_path / "small+2" / "logs").mkdir(parents=True)
    assert chosen_generation(small(), Places(tmp_path)).name == "small"


def test_a_lease_alone_is_no_generation(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    one_trial(small(), tmp_path, url=url)
    with sole_driver_of(open_storage(url, tmp_path), "small+2", Holder.of(tmp_path)):
        pass
    assert generations_of("small", tmp_path, url) == (1,)


def test_other_sweeps_with_a_similar_name_are_no_generations(tmp_path: Path) -> None:
    for name in ("small.2", "smaller", "small-2", "a.small"):
        one_trial(small(name=name), tmp_path)
    assert generations_of("small", tmp_path) == ()
    assert generations_of("smal.", tmp_path) == ()


def test_an_older_generation_is_chosen_by_its_number_and_a_missing_one_refused(tmp_path: Path) -> None:
    one_trial(small(), tmp_path)
    begun(OTHER_SEED, tmp_path)
    assert chosen_generation(small(), Places(tmp_path), number=1).name == "small"
    with pytest.raises(LedgerError, match=r"--generation 3: .* 1, 2"):
        chosen_generation(small(), Places(tmp_path), number=3)


def test_a_file_cannot_have_the_name_of_a_generation() -> None:
    with pytest.raises(ValueError, match="name"):
        small(name="small+2")


def test_the_number_of_a_generation_is_in_its_name() -> None:
    assert generation_number(small()) == 1
    assert generation_number(small().model_copy(update={"name": "small+12"})) == 12


def test_options_of_a_choice_that_trials_had_and_the_file_has_no_more_are_named(tmp_path: Path) -> None:
    one_trial(small(search={"model.heads": {"choice": [1, 2]}}), tmp_path)
    fewer = small(search={"model.heads": {"choice": [1, 4]}})
    with pytest.raises(LedgerError, match=r"search model\.heads was \[1, 2\], is now \[1, 4\]"):
        Ledger.look(tmp_path / "small", fewer)
    assert next_generation(fewer, Places(tmp_path), "d", {}).name == "small+2"


def test_a_changed_file_runs_beside_the_old_results_once_it_is_asked_for(tmp_path: Path) -> None:
    one = SMALL | {
        "settings": {"label_fractions": [1.0], "temporal_lengths": [1]},
        "budget": {"trials": 1, "confirmation_seeds": 0},
    }
    home, file = tmp_path / "home", written(tmp_path / "small.yaml", one)
    first = run("sweep", file, "--home", home, "--cpus", 1)
    assert first.returncode == 0, first.stderr
    before = (home / "small" / LEDGER_FILE).read_bytes()
    written(file, one | {"base": SMALL["base"] | {"seed": 5}})
    refused = run("sweep", file, "--home", home)
    assert (refused.returncode, "seed was 0, is now 5" in refused.stderr) == (2, True)
    second = run("sweep", file, "--home", home, "--cpus", 1, "--new")
    assert second.returncode == 0, second.stderr
    assert str(home / "small+2" / "report" / "report.md") in second.stdout
    assert (home / "small+2" / "report" / "report.md").read_text().startswith("# small+2")
    again = run("sweep", file, "--home", home)
    assert (again.returncode, "started" in again.stdout) == (0, False)
    assert (home / "small" / LEDGER_FILE).read_bytes() == before
