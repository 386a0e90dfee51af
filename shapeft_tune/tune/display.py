"""What a person sees of a sweep: a live table on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from shapeft_tune.tune.cell_ledger import short_reason
from shapeft_tune.tune.driver import Event
from shapeft_tune.tune.ledger import CellCounts, Ledger

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


def cells_table(counts: Iterable[CellCounts]) -> Table:
    """Return a row for each cell: how far it is and its best validation mIoU."""
    table = Table(pad_edge=False, box=None, header_style="bold")
    for name in ("strategy", "labels", "dates"):
        table.add_column(name, justify="left" if name == "strategy" else "right")
    for name in ("search", "running", "pruned", "failed", "confirmed", "best val mIoU"):
        table.add_column(name, justify="right")
    for count in counts:
        ended = count.complete + count.pruned + count.failed
        table.add_row(
            count.cell.strategy,
            f"{100 * count.cell.label_fraction:g} %",
            str(count.cell.temporal_length),
            f"{ended}/{count.cell.trials}",
            str(count.running or ""),
            str(count.pruned or ""),
            str(count.failed + count.confirmations_failed or ""),
            f"{count.confirmations_done}/{count.confirmations_wanted}",
            "" if count.best_miou is None else f"{count.best_miou:.3f}",
            style="dim" if count.done else None,
        )
    return table


class _Lines:
    """One line for each start and end, with the time since the sweep started."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._started = time.monotonic()

    def __call__(self, event: Event, ledger: Ledger) -> None:
        if event.kind != "validated":
            text = f"{_clock(time.monotonic() - self._started)}  {described(event, ledger)}"
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

    def __call__(self, event: Event, ledger: Ledger) -> None:
        if not self._counts:
            self._live.start()
            self._counts = {key: ledger.count(key) for key in ledger.cells}
            self._ended_before = sum(count.trials_done for count in self._counts.values())
        key = event.trial.cell.key
        self._counts[key] = ledger.count(key)
        if event.kind == "failed":
            self._live.console.print(Text(described(event, ledger), style="red"))
        self._live.update(Group(cells_table(self._fitting()), Text(self._summary())))

    def _fitting(self) -> list[CellCounts]:
        """Return the cells that fit the screen: those at work, then those to come, in the sweep's order."""
        room = max(self._live.console.height - 5, 3)
        by_interest = sorted(self._counts.values(), key=lambda count: (count.done, not count.running))
        shown = {count.cell.key for count in by_interest[:room]}
        return [count for key, count in self._counts.items() if key in shown]

    def _summary(self) -> str:
        done = sum(count.trials_done for count in self._counts.values())
        todo = sum(count.trials_todo for count in self._counts.values())
        spent = time.monotonic() - self._started
        here = done - (self._ended_before or 0)
        left = f", about {_clock(spent / here * todo)} left" if here and todo else ""
        return f"{done} of {done + todo} trials, {_clock(spent)} so far{left}. Ctrl-C stops in good order."


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
        case kind:
            return f"{where} {kind}"


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
