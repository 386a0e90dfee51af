"""Two sweeps put beside each other, cell by cell."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from shapeft_tune.config import SweepConfig
from shapeft_tune.errors import UserError
from shapeft_tune.report.comparison import CellSummary, Comparison, compare
from shapeft_tune.report.comparison.comparison import trials_by_cell
from shapeft_tune.report.runs import Run, read_runs
from shapeft_tune.report.side_by_side.changes import Change, declared_changes
from shapeft_tune.report.side_by_side.pairs import CellPair, paired_cells


@dataclass(frozen=True)
class Side:
    """One of the two: a sweep as its record has it."""

    sweep: SweepConfig
    comparison: Comparison
    digests: frozenset[str] = frozenset()
    """What the data of its trials amount to; empty where the record does not say."""
    contents: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """What else they read amounts to, by name: ``weights CROMA_base.pt``."""

    @property
    def name(self) -> str:
        """The sweep's, with its generation: ``mine+2``."""
        return self.sweep.name


@dataclass(frozen=True)
class SideBySide:
    """A and B, cell by cell. Differences are those of B less A."""

    a: Side
    b: Side
    pairs: tuple[CellPair, ...]
    """Cells that both have, in A's order."""
    only_in_a: tuple[CellSummary, ...]
    only_in_b: tuple[CellSummary, ...]
    changes: Mapping[str, tuple[Change, ...]]
    """What the two declare otherwise: of the sweep, of every strategy, of single ones."""
    obstacles: tuple[str, ...]
    """What stands against comparing their numbers, in sentences; empty for nothing."""


def read_side(sweep: SweepConfig, tracking_uri: str, trials_folder: Path | None = None) -> Side:
    """Read one of the two from the record.

    Raises:
        TrackingError: the store cannot be read, or nothing of the sweep is in it.
        UserError: its trials are not those that the file declares.
    """
    return side_of(sweep, read_runs(tracking_uri, sweep.name, trials_folder, with_patches=True))


def side_of(sweep: SweepConfig, runs: Iterable[Run]) -> Side:
    """Return one of the two from its trials.

    Raises:
        UserError: there are trials, and none of them is one that the file declares.
    """
    runs = tuple(runs)
    own = [run for _, of_cell in trials_by_cell(sweep, runs) for run in of_cell]
    if runs and not own:
        raise UserError(
            f"sweep {sweep.name!r}: expected trials that the file declares; got {len(runs)} of other "
            "configurations - give the file as it was when they ran"
        )
    digests = frozenset(run.facts.data_digest for run in own if run.facts.data_digest)
    contents: dict[str, set[str]] = {}
    for run in own:
        for name, digest in run.facts.contents.items():
            contents.setdefault(name, set()).add(digest)
    found = {name: frozenset(each) for name, each in contents.items()}
    return Side(sweep, compare(sweep, runs), digests, found)


def side_by_side(a: Side, b: Side) -> SideBySide:
    """Match the cells of two sweeps by strategy, label fraction and number of dates, and compare them."""
    cells_of_a, cells_of_b = (
        {(cell.strategy, *cell.setting): cell for cell in side.comparison.cells} for side in (a, b)
    )
    both = [(cell, cells_of_b[place]) for place, cell in cells_of_a.items() if place in cells_of_b]
    same_metric = a.comparison.metric == b.comparison.metric and a.comparison.rotated == b.comparison.rotated
    return SideBySide(
        a,
        b,
        pairs=paired_cells(both, same_metric=same_metric, same_data=not _other_data(a, b)),
        only_in_a=tuple(cell for place, cell in cells_of_a.items() if place not in cells_of_b),
        only_in_b=tuple(cell for place, cell in cells_of_b.items() if place not in cells_of_a),
        changes=declared_changes(a.sweep, b.sweep),
        obstacles=tuple(_obstacles(a, b)),
    )


def _other_data(a: Side, b: Side) -> bool:
    """Whether data are known to differ: by what they amount to or, in older records, by what is declared."""
    if a.digests and b.digests:
        return a.digests != b.digests
    return _data_sets(a) != _data_sets(b)


def _data_sets(side: Side) -> list[object]:
    """Return the data sets that the best trials of a sweep name, each once."""
    named = [cell.best_trial["data"]["dataset"] for cell in side.comparison.cells if cell.best_trial]
    return [each for index, each in enumerate(named) if each not in named[:index]]


def _obstacles(a: Side, b: Side) -> Iterator[str]:
    metrics = [side.comparison.metric for side in (a, b)]
    if None not in metrics and metrics[0] != metrics[1]:
        said = [f"{side.name} by {_convention(side)}" for side in (a, b)]
        by = " and ".join(said)
        yield f"The two are scored by different conventions ({by}): no difference is computed."
    if a.comparison.rotated != b.comparison.rotated:
        fixed, rotated = (a, b) if b.comparison.rotated else (b, a)
        yield (
            f"{fixed.name} is tested on fixed folds, {rotated.name} on all five in turn: their scores are of "
            "other patches, and no difference is computed."
        )
    elif (folds := _test_folds(a)) != (others := _test_folds(b)) and folds and others:
        yield (
            f"The test folds differ ({_listed(folds)} in {a.name}, {_listed(others)} in {b.name}): "
            "differences are those of independent means."
        )
    if _other_data(a, b):
        yield (
            f"The data of {a.name} and of {b.name} are not the same: differences are those of independent "
            "means, and may be due to the data."
        )
    for name in sorted(a.contents.keys() & b.contents.keys()):
        if a.contents[name] != b.contents[name]:
            yield f"The content of {name} is another in {b.name} than in {a.name}."


def _convention(side: Side) -> str:
    name, version = side.comparison.metric or ("?", 0)
    return f"{name} version {version}"


def _test_folds(side: Side) -> set[int]:
    configs = [cell.best_trial for cell in side.comparison.cells if cell.best_trial]
    return {fold for config in configs for fold in config["data"]["folds"]["test"]}


def _listed(folds: set[int]) -> str:
    return ", ".join(map(str, sorted(folds)))
