"""Which patches the trials of a sweep learn from, before any of them runs: for ``plan --labels``.

Legend: K classes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from rich.table import Table

from shapeft_tune.config.data import DataConfig, Dataset
from shapeft_tune.config.places import Places
from shapeft_tune.config.protocol import Role
from shapeft_tune.config.sweep import SweepConfig
from shapeft_tune.data import Folder, class_pixels_of, open_dataset
from shapeft_tune.data.labels import Draw, draw_labels, sum_of_pixels
from shapeft_tune.tune.preflight import variants

SHOWN = 6
"""Patches that a person is shown of each subset."""
COLUMNS = ("labels", "draw", "seed", "folds", "patches", "classes", "which", "strategies")


@dataclass(frozen=True)
class LabelledSubset:
    """What the trials with one label fraction, draw and seed learn from, whatever their dates."""

    label_fraction: float
    draw: Draw
    seed: int
    role: Role
    """Whose seed it is: the search's, or one of the confirmations'."""
    strategies: tuple[str, ...]
    """Which of the sweep's trials learn from it."""
    train_folds: tuple[int, ...]
    """Where they come from: other ones in each rotation."""
    patches: tuple[int, ...]
    """Ids, ascending."""
    names: tuple[str, ...]
    """What the data set's owner calls them."""
    class_names: tuple[str, ...]
    pixels_K: tuple[int, ...]
    """Labelled pixels of each class, void left out."""
    whole_K: tuple[int, ...]
    """Those of all patches of the training folds."""

    @property
    def classes(self) -> int:
        """How many classes occur in it."""
        return sum(map(bool, self.pixels_K))

    @property
    def possible_classes(self) -> int:
        """How many occur in the training folds."""
        return sum(map(bool, self.whole_K))


def labelled_subsets(sweep: SweepConfig, places: Places) -> tuple[LabelledSubset, ...]:
    """Return what the sweep's search and confirmation trials would learn from, by fraction, draw and seed.

    Reads the labels of the training folds where they have not been counted yet, and no image; a sample that
    is not there yet is generated.

    Raises:
        DataError: the data set is not given or cannot be read.
    """
    folders: dict[Dataset, Folder] = {}
    subsets: dict[tuple[Any, ...], LabelledSubset] = {}
    for strategy, config, role, seed in _asked_for(sweep):
        key = (config.label_fraction, config.labels, role, seed, config.dataset, config.folds.train)
        if key not in subsets:
            if config.dataset not in folders:
                folders[config.dataset] = open_dataset(config.dataset, data=places.data, home=places.home)
            subsets[key] = _subset(config, role, seed, folders[config.dataset])
        if strategy not in subsets[key].strategies:
            subsets[key] = replace(subsets[key], strategies=(*subsets[key].strategies, strategy))
    return tuple(sorted(subsets.values(), key=_place))


def _place(subset: LabelledSubset) -> tuple[float, str, bool, int, tuple[int, ...]]:
    return (
        subset.label_fraction,
        subset.draw,
        subset.role is Role.CONFIRMATION,
        subset.seed,
        subset.train_folds,
    )


def _asked_for(sweep: SweepConfig) -> Iterator[tuple[str, DataConfig, Role, int]]:
    """Yield what every option of a choice asks for: which labels are drawn may be searched too."""
    for cell in sweep.cells:
        for trial in variants(cell):
            yield cell.strategy, trial.data, Role.SEARCH, trial.seed
        for rotation in range(cell.rotations):
            for trial in variants(cell, rotation):
                for number in range(sweep.budget.confirmation_seeds):
                    yield cell.strategy, trial.data, Role.CONFIRMATION, trial.seed + 1 + number


def _subset(config: DataConfig, role: Role, seed: int, folder: Folder) -> LabelledSubset:
    labelled = draw_labels(config, seed, folder)
    pixels = class_pixels_of(folder, folder.in_folds(config.folds.train))
    return LabelledSubset(
        label_fraction=config.label_fraction,
        draw=config.labels,
        seed=seed,
        role=role,
        strategies=(),
        train_folds=config.folds.train,
        patches=tuple(patch.id for patch in labelled.patches),
        names=tuple(map(folder.name_of, labelled.patches)),
        class_names=folder.class_names,
        pixels_K=labelled.pixels_K,
        whole_K=sum_of_pixels(pixels.values(), len(folder.class_names)),
    )


def labels_json(subsets: Iterable[LabelledSubset]) -> list[dict[str, Any]]:
    """Return every subset with all its patch ids, and its class shares beside the training folds'."""
    return [
        {
            "label_fraction": subset.label_fraction,
            "labels": subset.draw,
            "seed": subset.seed,
            "role": subset.role.value,
            "strategies": list(subset.strategies),
            "train_folds": list(subset.train_folds),
            "count": len(subset.patches),
            "patches": list(subset.patches),
            "names": list(subset.names),
            "class_shares": dict(zip(subset.class_names, _shares(subset.pixels_K), strict=True)),
            "class_shares_of_all": dict(zip(subset.class_names, _shares(subset.whole_K), strict=True)),
        }
        for subset in subsets
    ]


def labels_tables(subsets: Sequence[LabelledSubset], sweep: SweepConfig) -> list[Table]:
    """Return what a person is shown: the subsets, then the class shares of the search's."""
    return [_subsets_table(subsets, sweep), *_shares_tables(subsets)]


def _subsets_table(subsets: Iterable[LabelledSubset], sweep: SweepConfig) -> Table:
    """Return a row for each subset: whose it is, how many patches and classes it has, and the first ids.

    Seeds with the same patches, as all have with all labels, share a row.
    """
    rows: dict[tuple[Any, ...], list[LabelledSubset]] = {}
    for subset in subsets:
        rows.setdefault((subset.label_fraction, subset.draw, subset.strategies, subset.patches), []).append(
            subset
        )
    several = any(len(same[0].strategies) < len(sweep.strategies) for same in rows.values())
    table = _table(
        left=["draw", "seed", "folds", "which", "strategies"], columns=COLUMNS if several else COLUMNS[:-1]
    )
    for same in rows.values():
        subset = same[0]
        table.add_row(
            _percent(subset.label_fraction),
            subset.draw,
            ", ".join(filter(None, (_seeds(role, same) for role in Role))),
            " ".join(map(str, subset.train_folds)),
            str(len(subset.patches)),
            f"{subset.classes}/{subset.possible_classes}",
            _folded(subset.names),
            *([", ".join(subset.strategies)] if several else []),
        )
    return table


def _seeds(role: Role, subsets: Iterable[LabelledSubset]) -> str:
    seeds = " ".join(str(subset.seed) for subset in subsets if subset.role is role)
    return f"{role.value} {seeds}" if seeds else ""


def _shares_tables(subsets: Iterable[LabelledSubset]) -> list[Table]:
    """Return the class shares of the search's subsets beside the whole's, a table for each draw."""
    groups: dict[tuple[Any, ...], list[LabelledSubset]] = {}
    for subset in subsets:
        if subset.role is Role.SEARCH:
            groups.setdefault((subset.draw, subset.seed, subset.class_names, subset.whole_K), []).append(
                subset
            )
    return [_shares_table(draw, seed, group) for (draw, seed, *_), group in groups.items()]


def _shares_table(draw: Draw, seed: int, group: Sequence[LabelledSubset]) -> Table:
    first, fractions = f"class ({draw}, seed {seed})", [_percent(subset.label_fraction) for subset in group]
    table = _table(left=[first], columns=[first, "training folds", *fractions])
    columns = [_shares(group[0].whole_K), *(_shares(subset.pixels_K) for subset in group)]
    for name, whole, *parts in zip(group[0].class_names, *columns, strict=True):
        if whole:
            table.add_row(name, *(f"{100 * share:.2f} %" if share else "-" for share in (whole, *parts)))
    return table


def _table(left: Collection[str], columns: Iterable[str]) -> Table:
    table = Table(pad_edge=False, box=None, header_style="bold")
    for name in columns:
        table.add_column(name, justify="left" if name in left else "right")
    return table


def _percent(fraction: float) -> str:
    return f"{100 * fraction:g} %"


def _folded(names: Sequence[str]) -> str:
    shown = " ".join(names[:SHOWN])
    rest = len(names) - SHOWN
    return f"{shown} and {rest} more" if rest > 0 else shown


def _shares(pixels_K: Sequence[int]) -> list[float]:
    total = max(sum(pixels_K), 1)
    return [pixels / total for pixels in pixels_K]
