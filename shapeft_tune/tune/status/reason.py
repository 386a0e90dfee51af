"""Why a trial failed, in one line."""

from __future__ import annotations


def short_reason(message: str) -> str:
    """Return the line of a failure's message that says most: the last, also of a traceback."""
    return (message.strip().splitlines() or ["no reason known"])[-1]
