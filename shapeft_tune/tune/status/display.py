"""What a person sees of a sweep: a live table on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from shapeft_tune.tune.driver import Event
from shapeft_tune.tune.ledger.counts import CellCounts
from shapeft_tune.tune.ledger.ledger import Ledger
from shapeft_tune.tune.status.reason import short_reason

OnEvent = Callable[[Event, Ledger], None]


@contextmanager
def watching(console: Console) -> Iterator[OnEvent]:
    """Give the function that shows events, in the way that suits the console."""
    if not console.is_terminal:
        yield _Lines(console)
        return
    live = Live(console=console, refresh_per_second=4, transient=True)
    try:
        yield _LiveTable(live)
    finally:
        live.stop()


@dataclass(frozen=True)
class Slots:
    """How many of a cell's trials have a slot, and how many wait for one."""

    running: int
    waiting: int


def cells_table(counts: Iterable[CellCounts], slots: Mapping[str, Slots] | None = None) -> Table:
    """Return a row for each cell: how far it is and its best validation mIoU.

    Args:
        counts: of the cells.
        slots: by the key of each cell that has trials at work; where nothing is known of slots, every trial
            that was handed out counts as running.
    """
    counts = tuple(counts)
    table = Table(pad_edge=False, box=None, header_style="bold")
    for name in ("strategy", "labels", "dates"):
        table.add_column(name, justify="left" if name == "strategy" else "right")
    retried = any(count.retried for count in counts)
    rare = ["retried"] if retried else []
    for name in ("search", "running", "waiting", "pruned", "failed", *rare, "confirmed", "best val mIoU"):
        table.add_column(name, justify="right")
    limited = any(count.budget_reached for count in counts)
    if limited:
        table.add_column("ended by")
    for count in counts:
        busy = Slots(count.running, 0) if slots is None else slots.get(count.cell.key, Slots(0, 0))
        ended = count.complete + count.pruned + count.failed
        table.add_row(
            count.cell.strategy,
            f"{100 * count.cell.label_fraction:g} %",
            str(count.cell.temporal_length),
            f"{ended}/{count.cell.trials}",
            str(busy.running or ""),
            str(busy.waiting or ""),
            str(count.pruned or ""),
            str(count.failed + count.confirmations_failed or ""),
            *([str(count.retried or "")] if retried else []),
            f"{count.confirmations_done}/{count.confirmations_wanted}",
            "" if count.best_miou is None else f"{count.best_miou:.3f}",
            *([count.budget_reached] if limited else []),
            style="dim" if count.done else None,
        )
    return table


class _Lines:
    """One line for each start and end, with the time since the sweep started.

    A trial starts when it has its slot, whenever it was handed out.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._started = time.monotonic()
        self._waiting: dict[tuple[str, str, str], Event] = {}
        """How trials that wait for a slot were handed out."""

    def __call__(self, event: Event, ledger: Ledger) -> None:
        trial = _name(event)
        match event.kind:
            case "started" | "continued":
                self._waiting[trial] = event
            case "began":
                self._print(self._waiting.pop(trial, event), ledger)
            case "validated":
                pass
            case "interrupted" if self._waiting.pop(trial, None):
                pass  # nobody was told that it had started
            case _:
                self._waiting.pop(trial, None)
                self._print(event, ledger)

    def _print(self, event: Event, ledger: Ledger) -> None:
        text = f"{clock(time.monotonic() - self._started)}  {described(event, ledger)}"
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)


class _LiveTable:
    """A table of cells that follows the events; recounts only the cell that an event is about.

    It appears with the first event: before that, downloads of weights show bars of their own.
    """

    def __init__(self, live: Live) -> None:
        self._live = live
        self._started = time.monotonic()
        self._counts: dict[str, CellCounts] = {}
        self._ended_before: int | None = None
        self._waits: dict[tuple[str, str, str], bool] = {}
        """Of each trial at work, by its cell, role and fingerprint, whether it waits for a slot."""

    def __call__(self, event: Event, ledger: Ledger) -> None:
        if not self._counts:
            self._live.start()
            self._counts = {key: ledger.count(key) for key in ledger.cells}
            self._ended_before = sum(count.trials_done for count in self._counts.values())
        key = event.trial.cell.key
        self._counts[key] = ledger.count(key)
        self._note_slot(event)
        if event.kind in ("failed", "retried"):
            style = "red" if event.kind == "failed" else "yellow"
            self._live.console.print(Text(described(event, ledger), style=style))
        shown = fitting(self._counts.values(), self._live.console.height - 5)
        self._live.update(Group(cells_table(shown, self._slots()), Text(self._summary())))

    def _note_slot(self, event: Event) -> None:
        trial = _name(event)
        match event.kind:
            case "started" | "continued":
                self._waits[trial] = True
            case "began" | "validated":
                self._waits[trial] = False
            case _:  # it has ended, was interrupted, or will be handed out again
                self._waits.pop(trial, None)

    def _slots(self) -> dict[str, Slots]:
        running = Counter(key for (key, *_), waits in self._waits.items() if not waits)
        waiting = Counter(key for (key, *_), waits in self._waits.items() if waits)
        return {key: Slots(running[key], waiting[key]) for key in running | waiting}

    def _summary(self) -> str:
        done = sum(count.trials_done for count in self._counts.values())
        todo = sum(count.trials_todo for count in self._counts.values())
        spent = time.monotonic() - self._started
        here = done - (self._ended_before or 0)
        left = f", about {clock(spent / here * todo)} left" if here and todo else ""
        return f"{done} of {done + todo} trials, {clock(spent)} so far{left}. Ctrl-C stops in good order."


def _name(event: Event) -> tuple[str, str, str]:
    return event.trial.cell.key, str(event.trial.role), event.trial.fingerprint


def fitting(counts: Iterable[CellCounts], room: int) -> list[CellCounts]:
    """Return the cells that fit so many lines: those at work, then those to come, in the sweep's order."""
    counts = list(counts)
    by_interest = sorted(counts, key=lambda count: (count.done, not count.running))
    shown = {count.cell.key for count in by_interest[: max(room, 3)]}
    return [count for count in counts if count.cell.key in shown]


def described(event: Event, ledger: Ledger) -> str:
    """Return an event in words."""
    trial = event.trial
    count = ledger.count(trial.cell.key)
    where = f"{trial.cell.key} {trial.role} {trial.fingerprint[:6]}"
    best = "" if count.best_miou is None else f" (best of the cell {count.best_miou:.3f})"
    match event.kind:
        case "complete" if event.miou is not None:
            split = "val" if trial.role == "search" else "test"
            rotated = trial.role == "confirmation" and trial.cell.rotations > 1
            fold = f" on fold {trial.config.data.folds.test[0]}" if rotated else ""
            return f"{where} complete, {split} mIoU {event.miou:.3f}{fold}{best}"
        case "failed":
            return f"{where} failed: {short_reason(event.message)}"
        case "retried":
            return f"{where} is tried again after: {short_reason(event.message)}"
        case "interrupted":
            return f"{where} stopped, and can go on from its checkpoint"
        case "began":
            return f"{where} has its slot"
        case kind:
            return f"{where} {kind}"


def clock(seconds: float) -> str:
    """Return a duration as hours, minutes and seconds."""
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
