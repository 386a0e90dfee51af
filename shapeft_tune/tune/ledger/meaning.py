"""What the trials of a cell mean: a file that changes it cannot go on with them."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from shapeft_tune.config.cell import MOST_CHOICES, Cell
from shapeft_tune.config.fields import MISSING, canonical, look_up
from shapeft_tune.config.groups import Group
from shapeft_tune.config.log_normal import LogNormal
from shapeft_tune.config.merge import with_values
from shapeft_tune.config.ranges import Range, WithOptions
from shapeft_tune.config.trial import TrialConfig

PROTOCOL = ("data", "metric")
"""Parts of a cell's meaning that are not in the file, beside the content of what its strategy reads."""
CONTENT = "content of "
"""What the name of a checkpoint, say, has before it in a cell's meaning."""
UNSET = " where no range sets it"
"""What is behind the name of a field that ranges set in some trials only. Older ledgers note none."""


def meaning_of(cell: Cell, searched: tuple[str, ...]) -> dict[str, Any]:
    """Return everything that all trials of the cell share, flat, and what its ranges stand for.

    Bounds may become wider (but for those of a log-normal range), and so are no part of it; constraints say
    which trials there are, not what they mean.

    Args:
        cell: the cell.
        searched: names of what is searched.
    """
    single = [name for name, range_ in cell.ranges.items() if range_.count == 1 and range_.when]
    varied = [path for name in (*searched, *single) for path in cell.axes.paths(name)]
    fixed = {
        path: value
        for path, value in _flat(_any_trial(cell).canonical())
        if not any(_lies_in(path, each) for each in varied)
    }
    kinds = {f"search {name}": _kind(cell.ranges[name]) for name in searched}
    values = {f"value {name}": _plain(cell.ranges[name].corners[0]) for name in single}
    conditions = {
        f"{word} {name} when": _plain(dict(cell.ranges[name].when))
        for word, names in (("search", searched), ("value", single))
        for name in names
        if cell.ranges[name].when
    }
    return fixed | kinds | values | conditions | _unset(cell, [*searched, *single], varied)


def _any_trial(cell: Cell) -> TrialConfig:
    """Return a valid trial of the cell that a constraint makes no other."""
    corners = cell.axes.combinations(lambda name: cell.ranges[name].corners)
    for picks in itertools.islice(corners, MOST_CHOICES):
        try:
            return cell.trial(cell.axes.values(picks))
        except ValidationError:
            continue
    return cell.trial(cell.first_corners)


def _unset(cell: Cell, names: Sequence[str], varied: Sequence[str]) -> dict[str, Any]:
    """Return what the fields hold in trials in which their range is not active, or its option leaves them."""
    always = {
        path: value
        for name, range_ in cell.ranges.items()
        if range_.count == 1 and not range_.when
        for path, value in cell.axes.values_of(name, range_.corners[0]).items()
    }
    draft = with_values(cell.template, always)
    found = {}
    for path in (path for name in names for path in _sometimes(cell, name)):
        others = [each for each in varied if each != path]
        value = look_up(draft, path)
        written = {} if value is MISSING else {path: canonical(path, value)}
        for inside, held in _flat(written):
            if not any(_lies_in(inside, each) for each in others):  # those have their own word
                found[f"{inside}{UNSET}"] = held
    return found


def _sometimes(cell: Cell, name: str) -> Iterator[str]:
    """Yield the fields of a range that it does not set in every trial."""
    range_ = cell.ranges[name]
    for path in cell.axes.paths(name):
        if range_.when or (isinstance(range_, Group) and any(path not in each for each in range_.corners)):
            yield path


def _lies_in(path: str, section: str) -> bool:
    return path == section or path.startswith(f"{section}.")


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
    compared = [
        key
        for key in sorted(before.keys() | after.keys())
        if not key.endswith(UNSET) or (key in before and key in after)
    ]
    return [
        f"{key} was {before.get(key, 'not set')!r}, is now {after.get(key, 'not set')!r}"
        for key in compared
        if before.get(key) != after.get(key)
    ]


def _flat(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in config.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
