"""Whether a cluster has room for another trial, where some trials are shared by several processes.

Tune places trials of one process by itself. Those of a shared one are placed as a group when the trial
begins, and would wait for ever behind trials that need less and take every slot that becomes free. So in a
sweep that has any, trials are handed out in turn, and only what fits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from shapeft_tune.tune.cluster.slots import Slot

ROUNDING = 1e-6


@dataclass(frozen=True)
class Capacity:
    """All that a cluster has."""

    cpus: float
    gpus: float


class Room:
    """Knows what is taken of the cluster."""

    def __init__(self, slots: Iterable[Slot], capacity: Callable[[], Capacity]) -> None:
        self._watched = any(slot.workers > 1 for slot in slots)
        self._capacity = capacity

    def has(self, slot: Slot, taken: Iterable[Slot]) -> bool:
        """Whether a trial of this slot may be handed out beside others."""
        if not self._watched:
            return True
        slots = [slot, *taken]
        cpus = sum(each.workers * each.cpu for each in slots)
        gpus = sum(each.workers * each.gpu for each in slots)
        there = self._capacity()
        return cpus <= there.cpus + ROUNDING and gpus <= there.gpus + ROUNDING
