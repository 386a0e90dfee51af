"""Watching a sweep from outside until it ends: a table that is refreshed, or a line for each change."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.live import Live

from shapeft_tune.tune.driver import Event
from shapeft_tune.tune.ledger.trials import LedgerTrial
from shapeft_tune.tune.status.display import described
from shapeft_tune.tune.status.standing import Onlooker, Standing
from shapeft_tune.tune.status.status_view import fitting_view, progress

Key = tuple[str, int]
"""Names a trial of a ledger, whatever its state: role and number in the storage."""


def watch(
    onlooker: Onlooker, console: Console, every: float, sleep: Callable[[float], None] = time.sleep
) -> Standing:
    """Show a sweep until it is done or nobody is at work on it, and return how it stands then.

    Args:
        onlooker: who looks.
        console: a terminal gets a table, anything else a line for each change.
        every: seconds between two looks.
        sleep: waits so long.

    Raises:
        LedgerError: the ledger cannot be read.
    """
    show = _refreshed if console.is_terminal else _printed
    return show(onlooker, console, every, sleep)


def _refreshed(
    onlooker: Onlooker, console: Console, every: float, sleep: Callable[[float], None]
) -> Standing:
    standing = onlooker.look()
    with Live(console=console, auto_refresh=False, transient=True) as live:
        while True:
            live.update(fitting_view(standing, console), refresh=True)
            if is_over(standing):
                return standing
            sleep(every)
            standing = onlooker.look()


def _printed(onlooker: Onlooker, console: Console, every: float, sleep: Callable[[float], None]) -> Standing:
    standing = onlooker.look()
    _print(console, progress(standing))
    while not is_over(standing):
        sleep(every)
        before, standing = standing, onlooker.look()
        for event in events_between(before, standing):
            _print(console, described(event, onlooker.ledger))
    return standing


def is_over(standing: Standing) -> bool:
    """Whether nothing more will happen by itself."""
    return standing.done or standing.driver is None


def events_between(before: Standing, after: Standing) -> Iterator[Event]:
    """Yield what happened to trials between two looks: their ends, faults and new slots, in this order."""
    ended = {_key(trial) for trial in before.ended}
    for trial in after.ended:
        if _key(trial) not in ended:
            yield Event(str(trial.state), trial, miou=trial.score, message=trial.message)
    was_at_work = {_key(each.trial): each for each in before.at_work}
    for each in after.at_work:
        known = was_at_work.get(_key(each.trial))
        if len(each.trial.retried) > (len(known.trial.retried) if known else 0):
            yield Event("retried", each.trial, message=each.trial.retried[-1])
        if not each.waits and (known is None or known.waits):
            yield Event("began", each.trial)


def _key(trial: LedgerTrial) -> Key:
    return str(trial.role), trial.storage_id


def _print(console: Console, line: str) -> None:
    console.print(line, highlight=False, markup=False, soft_wrap=True)
