"""What the trials of a cell mean: a file that changes it cannot go on with them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from shapeft_tune.config.cell import Cell
from shapeft_tune.config.log_normal import LogNormal
from shapeft_tune.config.ranges import Range, WithOptions

PROTOCOL = ("data", "metric")
"""Parts of a cell's meaning that are not in the file, beside the content of what its strategy reads."""
CONTENT = "content of "
"""What the name of a checkpoint, say, has before it in a cell's meaning."""


def meaning_of(cell: Cell, searched: tuple[str, ...]) -> dict[str, Any]:
    """Return everything that all trials of the cell share, flat, and what its searched fields stand for.

    Bounds may become wider, and so are no part of it.

    Args:
        cell: the cell.
        searched: names of what is searched.
    """
    flat = dict(_flat(cell.trial(cell.first_corners).canonical()))
    set_by_search = [path for name in searched for path in cell.axes.paths(name)]
    fixed = {
        path: value
        for path, value in flat.items()
        if not any(path == name or path.startswith(f"{name}.") for name in set_by_search)
    }
    ranges = {name: range_ for name, range_ in cell.ranges.items() if range_.count > 1}
    kinds = {f"search {name}": _kind(range_) for name, range_ in ranges.items()}
    conditions = {
        f"search {name} when": _plain(dict(range_.when)) for name, range_ in ranges.items() if range_.when
    }
    return fixed | kinds | conditions


def _kind(range_: Range) -> Any:
    """Return what turns a number or an option in the ledger into a value of the trial."""
    if isinstance(range_, WithOptions):
        return _plain(list(range_.options))
    if isinstance(range_, LogNormal):  # the ledger holds quantiles
        return {"log_normal": _plain(range_.around.model_dump(mode="json"))}
    return type(range_).__name__


def _plain(value: Any) -> Any:
    """Return a value as it comes back from the ledger: tuples are lists there."""
    return json.loads(json.dumps(value))


def not_in_file(noted: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parts of a noted meaning that a file alone says nothing about."""
    return {key: value for key, value in noted.items() if key in PROTOCOL or key.startswith(CONTENT)}


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Return a line for each thing that was and is another."""
    return [
        f"{key} was {before.get(key, 'not set')!r}, is now {after.get(key, 'not set')!r}"
        for key in sorted(before.keys() | after.keys())
        if before.get(key) != after.get(key)
    ]


def _flat(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in config.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
