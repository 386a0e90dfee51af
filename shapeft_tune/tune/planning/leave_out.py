"""What of a sweep takes most of its time, and what changes to the file would save: facts, not advice."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from shapeft_tune.config.optimisation import Hyperband, NoPruner, SuccessiveHalving
from shapeft_tune.config.sweep import SweepConfig
from shapeft_tune.tune.planning.estimate import CellEstimate, Estimate
from shapeft_tune.tune.planning.pruned_share import expected_share

LEAST_SHARE = 0.25
"""Of the device hours that a setting or strategy must take to be named."""
LEAST_EXCESS = 1.3
"""So many times its part of the cells."""
LEAST_SAVING = 0.03
"""Of the device hours that a change must save to be named."""
MOST_GROUPS = 3


@dataclass(frozen=True)
class Saving:
    """One thing that takes, or would save, much."""

    words: str
    device_hours: float


def could_be_left_out(sweep: SweepConfig, estimate: Estimate) -> tuple[Saving, ...]:
    """Return the largest settings and strategies, then what fewer seeds or a pruner would save.

    Nothing where hours are unknown for more than half of the cells that have work.
    """
    cells = [cell for cell in estimate.cells if cell.device_hours]
    hours = sum(cell.device_hours or 0.0 for cell in cells)
    if not hours or 2 * len(estimate.unknown) > len(cells) + len(estimate.unknown):
        return ()
    groups = sorted(_groups(cells, hours), key=lambda group: -group.device_hours)[:MOST_GROUPS]
    changes = (*_fewer_seeds(sweep, cells), *_halving(sweep, cells))
    return (*groups, *(change for change in changes if change.device_hours >= LEAST_SAVING * hours))


def _groups(cells: list[CellEstimate], hours: float) -> Iterator[Saving]:
    axes: tuple[Callable[[CellEstimate], str], ...] = (
        lambda cell: f"T = {cell.work.cell.temporal_length}",
        lambda cell: f"labels = {100 * cell.work.cell.label_fraction:g} %",
        lambda cell: f"strategy {cell.work.cell.strategy}",
    )
    for name_of in axes:
        groups: dict[str, list[float]] = {}
        for cell in cells:
            groups.setdefault(name_of(cell), []).append(cell.device_hours or 0.0)
        for name, taken in groups.items():
            share = sum(taken) / hours
            if len(groups) > 1 and share >= max(LEAST_SHARE, LEAST_EXCESS * len(taken) / len(cells)):
                words = f"{name}: {100 * share:.0f} % of the hours, {len(taken)} of {len(cells)} cells"
                yield Saving(words, sum(taken))


def _fewer_seeds(sweep: SweepConfig, cells: list[CellEstimate]) -> Iterator[Saving]:
    seeds = sweep.budget.confirmation_seeds
    if seeds < 2:
        return
    saved = 0.0
    for cell in cells:
        todo = cell.work.confirmations_todo
        if todo and cell.confirmation_device_hours:
            saved += cell.confirmation_device_hours * min(cell.work.cell.rotations, todo) / todo
    yield Saving(f"confirmation seeds {seeds} -> {seeds - 1} saves {hours_in_words(saved)}", saved)


def _halving(sweep: SweepConfig, cells: list[CellEstimate]) -> Iterator[Saving]:
    now = sweep.optimisation.stopping
    if isinstance(now, SuccessiveHalving | Hyperband) or sweep.optimisation.objective != "miou":
        return
    other, saved, hours = SuccessiveHalving(), 0.0, sum(cell.device_hours or 0.0 for cell in cells)
    for cell in cells:
        demand = cell.work.demand
        search = (cell.device_hours or 0.0) - (cell.confirmation_device_hours or 0.0)
        if demand.steps is not None:
            share = expected_share(other, demand.steps, demand.every, cell.work.cell.trials)
            saved += search * (1 - share.value)
    words = "about" if isinstance(now, NoPruner) else "up to"
    yield Saving(
        f"pruner {now.name} -> successive_halving (min_steps {other.min_steps}, reduction {other.reduction})"
        f" would save {words} {100 * saved / hours:.0f} %, {hours_in_words(saved)}",
        saved,
    )


def hours_in_words(hours: float) -> str:
    """Return device hours with as many digits as mean something, small ones in minutes or seconds."""
    if hours >= 10:
        return f"{hours:,.0f} h"
    if hours >= 1:
        return f"{hours:.1f} h"
    return f"{60 * hours:.0f} min" if hours >= 1 / 60 else f"{3600 * hours:.0f} s"
