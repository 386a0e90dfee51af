"""How fast a sweep goes, by the trials that ended lately."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from shapeft_tune.tune.ledger.trials import LedgerTrial

WINDOWS = (timedelta(minutes=10), timedelta(hours=1), timedelta(days=1))
"""Looked back over: the shortest one in which enough trials ended."""
ENOUGH = 5


def trials_per_hour(trials: Iterable[LedgerTrial], now: datetime) -> float | None:
    """Return how many trials end in an hour, by those that ended lately; None where none has for a day.

    A window that reaches back beyond the start of what ended in it is cut there, so that a young sweep is not
    taken for a slow one. Times are those of the driver's machine, and so must ``now`` be: none of them knows
    its time zone.
    """
    begun_and_ended = [(trial.began, trial.ended) for trial in trials if trial.began and trial.ended]
    rate = None
    for window in WINDOWS:
        lately = [(began, ended) for began, ended in begun_and_ended if now - window < ended <= now]
        if lately:
            since = max(now - window, min(began for began, _ in lately))
            hours = max((now - since) / timedelta(hours=1), 1 / 3600)
            rate = len(lately) / hours
        if len(lately) >= ENOUGH:
            break
    return rate
