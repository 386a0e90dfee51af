"""Generations of a sweep: results that a change of file, data or weights would alter stay as they are.

The first generation of sweep ``mine`` has its name, the next is ``mine+2``: that names its folder, its
studies and its experiment in MLflow. A sweep's own name holds no ``+``. Which generations there are, ledgers
alone say: one that never came so far as to have a ledger does not count.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from optuna.storages import BaseStorage

from shapeft_tune.config.places import Places
from shapeft_tune.config.sweep import SweepConfig
from shapeft_tune.errors import LedgerError
from shapeft_tune.tune.ledger.lease import MARK as LEASE
from shapeft_tune.tune.ledger.ledger import Ledger
from shapeft_tune.tune.ledger.ledger_storage import LEDGER_FILE, ledger_errors, look_storage

MARK = "+"


def chosen_generation(
    sweep: SweepConfig, places: Places, url: str | None = None, number: int | None = None
) -> SweepConfig:
    """Return the sweep under the name of its newest generation, or of the one with this number.

    Args:
        sweep: as declared in its file.
        places: where things lie.
        url: of a database that holds the ledger; None for a file in each generation's folder.
        number: of the generation; None for the newest.

    Raises:
        LedgerError: there is no generation of this number, or the database does not answer.
    """
    there = generations_of(sweep.name, places.home, url) or (1,)
    if number is not None and number not in there:
        raise LedgerError(
            f"--generation {number}: expected one of sweep {sweep.name!r}, which has "
            f"{', '.join(map(str, there))} - `sweep --new` starts another"
        )
    return numbered(sweep, there[-1] if number is None else number)


def next_generation(
    sweep: SweepConfig,
    places: Places,
    data_digest: str,
    contents: Mapping[str, Mapping[str, str]],
    url: str | None = None,
) -> SweepConfig:
    """Return the sweep under the name of a new generation; of the first one where there is none yet.

    Args:
        sweep: as declared in its file.
        places: where things lie.
        data_digest: what the data amounts to now.
        contents: what else a strategy reads amounts to now, by strategy and name.
        url: as in :func:`chosen_generation`.

    Raises:
        LedgerError: the newest generation can go on, because nothing that gives its trials their meaning is
            another now.
    """
    there = generations_of(sweep.name, places.home, url)
    if not there:
        return sweep
    newest = numbered(sweep, there[-1])
    with ledger_errors(url):
        changes = Ledger.changes(places.sweep_folder(newest.name), newest, data_digest, contents, url)
    if not changes:
        raise LedgerError(
            f"--new: expected a change of what the trials of {newest.name!r} mean; nothing differs in file, "
            "data and weights - leave out --new to go on with it"
        )
    return numbered(sweep, there[-1] + 1)


def generations_of(name: str, home: Path, url: str | None = None) -> tuple[int, ...]:
    """Return the numbers of a sweep's generations in ascending order; empty where it has not begun."""
    if url is None:
        folders = home.iterdir() if home.is_dir() else ()
        names = [folder.name for folder in folders if (folder / LEDGER_FILE).is_file()]
    else:
        with ledger_errors(url):
            names = _names_in(look_storage(url, home))
    numbers = {number for each in names if (number := _number_of(each, name))}
    return tuple(sorted(numbers))


def generation_number(sweep: SweepConfig) -> int:
    """Return the number of the generation whose name a sweep has."""
    _, _, number = sweep.name.partition(MARK)
    return int(number or 1)


def _names_in(storage: BaseStorage) -> list[str]:
    """Return the names of the sweeps that a storage holds studies of; a lease alone makes no sweep."""
    studies = (study.study_name for study in storage.get_all_studies())
    return [study.split(":")[0] for study in studies if LEASE not in study]


def _number_of(generation: str, name: str) -> int | None:
    found = re.fullmatch(rf"{re.escape(name)}(?:\{MARK}([1-9][0-9]*))?", generation)
    return int(found[1] or 1) if found else None


def numbered(sweep: SweepConfig, number: int) -> SweepConfig:
    """Return a sweep under the name of one of its generations."""
    # Not validated again: a file must not be able to have such a name. Cells do not know it.
    return sweep if number == 1 else sweep.model_copy(update={"name": f"{sweep.name}{MARK}{number}"})
