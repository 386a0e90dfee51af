"""Which repetitions of its best configuration a cell needs, with other seeds and folds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from shapeft_tune.config.cell import Cell
from shapeft_tune.tune.ledger.trials import LedgerTrial

Repeats = Mapping[str, tuple[int, int]]
"""Seed and rotation of the folds by fingerprint: the confirmations of one configuration, in their order."""


class Confirmations:
    """Names the confirmations of whatever is the best configuration of a cell."""

    def __init__(self, cell: Cell, seeds: int) -> None:
        """Confirm with so many seeds, each with all rotations of the cell."""
        self._cell = cell
        self._seeds = seeds
        self._named: tuple[int, Repeats] = (-1, {})
        """Of which trial they were named last; it takes validating each of them."""

    def wanted(self, best: LedgerTrial | None) -> Repeats:
        """Return all confirmations of a trial: one seed with all rotations, then the next; none of none."""
        if best is None:
            return {}
        if self._named[0] != best.storage_id:
            first = best.config.seed + 1  # the search's own seed has been selected on
            wanted = {
                self._cell.trial(best.sampled, seed, rotation).fingerprint(): (seed, rotation)
                for seed in range(first, first + self._seeds)
                for rotation in range(self._cell.rotations)
            }
            self._named = (best.storage_id, wanted)
        return self._named[1]

    def missing(self, best: LedgerTrial | None, there: Iterable[LedgerTrial]) -> list[tuple[int, int]]:
        """Return seed and rotation of the confirmations of a trial that are not there yet."""
        names = {trial.fingerprint for trial in there}
        return [repeat for name, repeat in self.wanted(best).items() if name not in names]
