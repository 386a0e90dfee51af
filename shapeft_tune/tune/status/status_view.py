"""What `status` shows of a sweep: tables and sentences for people, numbers for machines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from shapeft_tune.tune.ledger.counts import CellCounts
from shapeft_tune.tune.ledger.generations import generation_number
from shapeft_tune.tune.ledger.trials import LedgerTrial
from shapeft_tune.tune.status.display import Slots, cells_table, clock, fitting
from shapeft_tune.tune.status.reason import short_reason
from shapeft_tune.tune.status.standing import AtWork, Standing, cell_json

MOST_FAILURES = 5
"""Shown while the table is refreshed; the whole list is for a look without a hurry."""


def whole_view(standing: Standing) -> RenderableType:
    """Return everything that there is to see."""
    return Group(
        cells_table(standing.counts, slots_by_cell(standing.at_work)),
        *_work(standing, len(standing.at_work)),
        *(Text(line, style="red") for line in failures(standing)),
        *map(Text, sentences(standing)),
    )


def fitting_view(standing: Standing, console: Console) -> RenderableType:
    """Return what fits the screen: cells and trials at work first, and the latest failures."""
    failed = [Text(line, style="red", no_wrap=True) for line in failures(standing)][-MOST_FAILURES:]
    said = [Text(line) for line in sentences(standing)]
    room = console.height - len(failed) - len(said) - 5  # two headers, a blank line and those who wait
    for_cells = max(room - len(standing.at_work), room // 2)
    cells = fitting(standing.counts, for_cells)
    return Group(
        cells_table(cells, slots_by_cell(standing.at_work)),
        *_work(standing, max(room - len(cells), 3)),
        *failed,
        *said,
    )


def slots_by_cell(at_work: Sequence[AtWork]) -> dict[str, Slots]:
    """Return how many trials run and how many wait for a slot, by the key of their cell."""
    running = Counter(each.trial.cell.key for each in at_work if not each.waits)
    waiting = Counter(each.trial.cell.key for each in at_work if each.waits)
    return {key: Slots(running[key], waiting[key]) for key in running | waiting}


def failures(standing: Standing) -> Iterator[str]:
    """Yield a line for each failed trial: which, why, and where its folder is."""
    for trial in standing.failed:
        why = short_reason(trial.message)
        yield f"{trial.cell.key} {trial.role} failed: {why} ({standing.folder_of(trial)})"


def sentences(standing: Standing) -> Iterator[str]:
    """Yield how far the sweep is, what it took, how fast it goes and who is at work."""
    yield progress(standing)
    if not standing.begun:
        where = "this ledger" if standing.in_database else str(standing.folder.parent)
        yield f"Nothing was run under the name {standing.sweep.name!r} in {where} yet."
    yield _used(standing)
    if standing.trials_per_hour and standing.seconds_left:
        rate = standing.trials_per_hour
        per_hour = f"{rate:.0f}" if rate >= 10 else f"{rate:.1f}"
        yield f"About {per_hour} trials an hour, about {clock(standing.seconds_left)} left."
    if standing.left_open:
        number = len(standing.left_open)
        were = "1 trial was" if number == 1 else f"{number} trials were"
        goes = "it goes" if number == 1 else "they go"
        yield f"{were} running when the driver ended; {goes} on with the next sweep."
    if standing.driver:
        yield f"At work: {standing.driver}."


def progress(standing: Standing) -> str:
    """Return how far the sweep is, in one sentence."""
    done, todo, best = standing.trials_done, standing.trials_todo, standing.best
    found = f"; best val mIoU {best.best_miou:.3f} ({best.cell.key})" if best else ""
    return f"{standing.sweep.name}: {done} of {done + todo} trials have ended, {todo} to do{found}."


def status_json(standing: Standing) -> dict[str, Any]:
    """Return all that is known, for machines: durations in seconds, null where there is no number."""
    slots = slots_by_cell(standing.at_work)
    best, total = standing.best, standing.sweep.budget.total
    return {
        "sweep": standing.sweep.name,
        "generation": generation_number(standing.sweep),
        "driver": standing.driver,
        "done": standing.done,
        "trials_done": standing.trials_done,
        "trials_to_do": standing.trials_todo,
        "trials_per_hour": standing.trials_per_hour,
        "seconds_left": standing.seconds_left,
        "best": cell_json(best) | {"val_miou": best.best_miou} if best else None,
        "spent": {
            "steps": standing.spent.steps,
            "seconds": standing.spent.seconds,
            "device_seconds": standing.spent.device_seconds,
            "lost_device_seconds": standing.spent.lost_device_seconds,
            "wall_seconds": standing.wall_seconds,
        },
        "budget_total": {"wall_hours": total.wall_hours, "device_hours": total.device_hours},
        "cells": [_cell(count, slots.get(count.cell.key, Slots(0, 0))) for count in standing.counts],
        "at_work": [_at_work(each, standing) for each in standing.at_work],
        "left_open": [_trial(trial) for trial in standing.left_open],
        "failed": [
            _trial(trial) | {"reason": short_reason(trial.message), "folder": str(standing.folder_of(trial))}
            for trial in standing.failed
        ],
    }


def _work(standing: Standing, room: int) -> Iterator[RenderableType]:
    """Yield the trials that have a slot, and how many have none."""
    running = [each for each in standing.at_work if not each.waits]
    if running:
        yield Text()
        yield _running_table(running[:room], standing)
    if len(running) > room:
        yield Text(f"{len(running) - room} more are running.")
    if waiting := len(standing.at_work) - len(running):
        yield Text("1 trial waits for a slot." if waiting == 1 else f"{waiting} trials wait for a slot.")


def _running_table(running: Sequence[AtWork], standing: Standing) -> Table:
    table = Table(pad_edge=False, box=None, header_style="bold")
    for name in ("running", "host", "process", "device", "step", "for"):
        table.add_column(name, justify="left" if name in ("running", "host", "device") else "right")
    for each in running:
        trial, place = each.trial, each.place
        name = f"{trial.cell.key} {trial.role} {trial.fingerprint[:6]}"
        if place is None:
            table.add_row(name, "?")
            continue
        step = f"{place.step}/{place.steps}" if place.steps else ""
        lasts = clock(standing.moment.timestamp() - place.since)
        table.add_row(name, place.host, str(place.process), place.device, step, lasts)
    return table


def _used(standing: Standing) -> str:
    spent, total = standing.spent, standing.sweep.budget.total
    hours = _of("device hours", spent.charged_device_seconds / 3600, total.device_hours)
    wall = _of("wall hours", standing.wall_seconds / 3600, total.wall_hours)
    return f"Used: {spent.steps} steps, {hours}, {wall}."


def _of(unit: str, used: float, limit: float | None) -> str:
    number = f"{used:.2f}" if used >= 0.1 or not used else f"{used:.2g}"
    return f"{number} {unit}" if limit is None else f"{number} of {limit:g} {unit}"


def _cell(count: CellCounts, slots: Slots) -> dict[str, Any]:
    return cell_json(count) | {
        "running": slots.running,
        "waiting": slots.waiting,
        "left_open": count.running - slots.running - slots.waiting,
        "complete": count.complete,
        "pruned": count.pruned,
        "failed": count.failed,
        "retried": count.retried,
        "to_do": count.search_todo + count.confirmations_todo,
        "confirmations": count.confirmations_done,
        "confirmations_failed": count.confirmations_failed,
        "val_miou_best": count.best_miou,
        "budget_reached": count.budget_reached or None,
        "done": count.done,
    }


def _at_work(each: AtWork, standing: Standing) -> dict[str, Any]:
    place = each.place
    where = {
        "waits": each.waits if place else None,
        "host": place.host if place and not place.waits else None,
        "process": place.process if place and not place.waits else None,
        "device": place.device if place and not place.waits else None,
        "step": place.step if place else None,
        "steps": place.steps if place and place.steps else None,
        "seconds": standing.moment.timestamp() - place.since if place else None,
    }
    return _trial(each.trial) | where | {"retried": len(each.trial.retried)}


def _trial(trial: LedgerTrial) -> dict[str, Any]:
    return {"cell": trial.cell.key, "role": str(trial.role), "fingerprint": trial.fingerprint}
