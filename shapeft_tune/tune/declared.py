"""What a generation of a sweep was last run with: its own copy of the file, which goes on changing."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

from shapeft_tune.atomic import write_atomically
from shapeft_tune.config.places import Places
from shapeft_tune.config.sweep import SweepConfig
from shapeft_tune.tune.ledger.generations import (
    MARK,
    chosen_generation,
    generation_number,
    generations_of,
    numbered,
)

logger = logging.getLogger(__name__)

DECLARED_FILE = "sweep.json"
"""In the generation's folder; holds what the file said, without defaults."""


def keep_declared(folder: Path, sweep: SweepConfig) -> None:
    """Write down what a sweep is run with, over what it was run with before."""
    write_atomically(folder / DECLARED_FILE, (json.dumps(as_declared(sweep), indent=1) + "\n").encode())


def as_declared(sweep: SweepConfig) -> dict[str, Any]:
    """Return what a sweep's file says, without defaults; of a generation under the name that all have."""
    own_name, _, _ = sweep.name.partition(MARK)
    return sweep.model_dump(mode="json", by_alias=True, exclude_unset=True) | {"name": own_name}


def declared_generation(
    sweep: SweepConfig, places: Places, url: str | None = None, number: int | None = None
) -> SweepConfig:
    """Return what is to be reported of a generation: the newest as the file has it, older ones as they ran.

    An older generation whose own copy is not on this machine is the file under that generation's name. Where
    no ledger is at hand, every number is taken as given: the record then says whether there is such a one.

    Args:
        sweep: as declared in its file.
        places: where things lie.
        url: of a database that holds the ledger; None for a file in each generation's folder.
        number: of the generation; None for the newest.

    Raises:
        LedgerError: there is no generation of this number, or the database does not answer.
    """
    there = generations_of(sweep.name, places.home, url)
    if not there and number:  # ran elsewhere, and is known by its record alone
        return numbered(sweep, number)
    chosen = chosen_generation(sweep, places, url, number)
    if not there or generation_number(chosen) == there[-1]:
        return chosen
    return _kept(places.sweep_folder(chosen.name), chosen)


def _kept(folder: Path, otherwise: SweepConfig) -> SweepConfig:
    try:
        content = json.loads((folder / DECLARED_FILE).read_text(encoding="utf-8"))
        kept = SweepConfig.model_validate(content)
    except FileNotFoundError:
        return otherwise
    except (OSError, ValueError) as error:  # pydantic's are ValueErrors
        logger.warning("%s cannot be read: %s; the file is taken as it is now", folder / DECLARED_FILE, error)
        return otherwise
    return kept.model_copy(update={"name": otherwise.name})
