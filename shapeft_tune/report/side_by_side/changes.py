"""What two sweeps declare otherwise, by the path of each field."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from shapeft_tune.config import Cell, SweepConfig
from shapeft_tune.config.fields import MISSING, look_up
from shapeft_tune.report.comparison import CellSummary
from shapeft_tune.report.tables.layout import NONE, value_text

EVERY_STRATEGY = "every strategy"
SWEEP = "the sweep"
NOT_COMPARED = ("name", "question", "base", "search", "strategies", "constraints", "resources")
"""Fields of a sweep that have no result of their own, or are compared where they come to bear."""
OF_A_SETTING = ("data.label_fraction", "data.temporal_length", "seed")
"""Fields of a trial that are another in every cell, or in every repeat."""


@dataclass(frozen=True)
class Change:
    """A field that is one thing in A and another in B."""

    path: str
    before: Any
    """In A; None where A does not have it."""
    after: Any
    """In B; None where B does not have it."""

    def __str__(self) -> str:
        """Render as ``training.steps: 2000 -> 4000``."""
        return f"{self.path}: {' -> '.join(self.texts)}"

    @property
    def texts(self) -> tuple[str, str]:
        """Both values for people; a dash where there is none."""
        before, after = (NONE if value is None else value_text(value) for value in (self.before, self.after))
        return before, after


def declared_changes(a: SweepConfig, b: SweepConfig) -> dict[str, tuple[Change, ...]]:
    """Return what the files say otherwise, of the sweep and of each strategy that both have.

    What all these strategies have in common is told once, under ``every strategy``.
    """
    strategies = [name for name in a.strategies if name in b.strategies]
    found = {name: _changes(_declared(a, name), _declared(b, name)) for name in strategies}
    shared: tuple[Change, ...] = ()
    if len(found) > 1:
        first, *others = found.values()
        shared = tuple(change for change in first if all(change in each for each in others))
    own = {name: tuple(change for change in each if change not in shared) for name, each in found.items()}
    told = {SWEEP: _changes(_of_sweep(a), _of_sweep(b)), EVERY_STRATEGY: shared, **own}
    return {where: changes for where, changes in told.items() if changes}


def best_changes(a: CellSummary, b: CellSummary) -> tuple[Change, ...]:
    """Return where the best configurations of two cells differ, of the fields that either searched."""
    if a.best_trial is None or b.best_trial is None:
        return ()
    paths = dict.fromkeys([*(a.best_config or {}), *(b.best_config or {})])
    return tuple(
        Change(path, before, after)
        for path in paths
        if (before := _found(a.best_trial, path)) != (after := _found(b.best_trial, path))
    )


def _changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[Change, ...]:
    paths = dict.fromkeys([*before, *after])
    return tuple(
        Change(path, before.get(path), after.get(path))
        for path in paths
        if before.get(path) != after.get(path)
    )


def _of_sweep(sweep: SweepConfig) -> dict[str, Any]:
    content = sweep.model_dump(mode="json", by_alias=True)
    return dict(_flat({key: value for key, value in content.items() if key not in NOT_COMPARED}))


def _declared(sweep: SweepConfig, strategy: str) -> dict[str, Any]:
    """Return what a strategy's trials are made of: a value for each fixed field, a range for each other."""
    cell = next(cell for cell in sweep.cells if cell.strategy == strategy)
    ranges = {
        name: range_.model_dump(mode="json", by_alias=True, exclude_unset=True)
        for name, range_ in cell.ranges.items()
    }
    ranged = [path for name in cell.ranges for path in (name, *cell.axes.paths(name))]
    fixed = {
        path: value
        for path, value in _flat(_any_trial(cell))
        if path not in OF_A_SETTING and not any(_lies_in(path, each) for each in ranged)
    }
    others = {
        "constraints": list(cell.constraints) or None,
        "resources": cell.resources.model_dump(mode="json", exclude_unset=True),
        "trials": cell.trials,
    }
    return fixed | ranges | others


def _any_trial(cell: Cell) -> Mapping[str, Any]:
    """Return a trial with its defaults written out or, if none is valid by itself, what the file says."""
    try:
        return cell.trial(cell.first_corners).canonical()
    except ValidationError:
        return cell.template


def _lies_in(path: str, section: str) -> bool:
    return path == section or path.startswith(f"{section}.")


def _found(config: Mapping[str, Any], path: str) -> Any:
    value = look_up(config, path)
    return None if value is MISSING else value


def _flat(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in config.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
