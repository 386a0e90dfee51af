"""How far a spool has been written into each store, beside the spool.

It may lag behind, never run ahead: telling a store again what it has changes nothing. A store is known by its
address and by the sweep's own run in it, so a database that was deleted and made again counts as a new one.
"""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel, NonNegativeInt, ValidationError

from shapeft_tune.atomic import write_atomically
from shapeft_tune.tracking.connection import file_of, is_file, without_password
from shapeft_tune.tracking.spooling.spool import begins_a_line

logger = logging.getLogger(__name__)

POSITION_FILE = "record.position.json"


class _Known(BaseModel):
    """What the file says of one store."""

    spool: str
    offset: NonNegativeInt
    refused: set[NonNegativeInt] = set()


@dataclass
class Position:
    """How far one store is."""

    file: Path
    store: str
    """Its name in the file."""
    spool: str
    """Digest of the spool's first line; another one is another spool."""
    offset: int = 0
    """Bytes of the spool that were told."""
    refused: set[int] = field(default_factory=set)
    """Where the lines begin that a store that answered did not take, in whole or in part."""

    @classmethod
    def of(cls, spool: Path, tracking_uri: str, experiment_id: str, sweep_run_id: str) -> Position:
        """Read how far a store is; at the beginning where nobody knows."""
        file = spool.with_name(POSITION_FILE)
        name = f"{_address(tracking_uri, spool.parent.parent)} experiment {experiment_id} run {sweep_run_id}"
        position = cls(file, name, _first_line(spool))
        known = _known(_content(file).get(name))
        if known and known.spool == position.spool and _is_within(spool, known.offset):
            position.offset, position.refused = known.offset, known.refused
        return position

    def save(self) -> None:
        """Write it down; where that fails it lags behind."""
        mine = {"spool": self.spool, "offset": self.offset, "refused": sorted(self.refused)}
        content = _content(self.file) | {self.store: mine}
        try:
            write_atomically(self.file, json.dumps(content, indent=1).encode())
        except OSError as error:
            logger.warning("cannot write %s: %s", self.file, error)


def _address(tracking_uri: str, home: Path) -> str:
    """Name a store; a database in the home by its place there, because a home can be moved."""
    if is_file(tracking_uri) and file_of(tracking_uri).is_relative_to(home):
        return f"HOME/{file_of(tracking_uri).relative_to(home)}"
    return without_password(tracking_uri, tracking_uri)


def _known(told: Any) -> _Known | None:
    """Return what is known of a store; None where nothing is, or nothing that makes sense."""
    try:
        return _Known.model_validate(told)
    except ValidationError:
        return None


def _is_within(spool: Path, offset: int) -> bool:
    return offset <= spool.stat().st_size and begins_a_line(spool, offset)


def _content(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        return content if isinstance(content, dict) else {}
    except (OSError, ValueError):
        return {}


def _first_line(spool: Path) -> str:
    with spool.open("rb") as file:
        return hashlib.sha256(file.readline()).hexdigest()[:16]
