"""One strategy in one setting, and the trials that it can make."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from random import Random
from typing import Any

from pydantic import ValidationError

from shapeft_tune.config.axes import Axes, CircularConditions, Picks
from shapeft_tune.config.base import Violation
from shapeft_tune.config.constraints import constraint
from shapeft_tune.config.ranges import Range
from shapeft_tune.config.resources import Resources
from shapeft_tune.config.trial import TrialConfig

MOST_CHOICES = 256
"""Combinations of choices that are tried for what they say of folds."""
MOST_COUNTED = 20_000
"""Configurations that are looked at for how many there are; where there are more, there are enough."""
MOST_COMBINED = 10_000
"""Combinations of a grid: its trials would take longer than anyone waits."""
MOST_TRIES = 100
"""Random draws in which a combination of some values is looked for that keeps the constraints."""


@dataclass(frozen=True)
class Cell:
    """One strategy in one setting: the unit in which hyperparameters are tuned and results compared."""

    strategy: str
    label_fraction: float
    temporal_length: int
    template: Mapping[str, Any]
    ranges: Mapping[str, Range]
    wanted_trials: int
    resources: Resources
    constraints: tuple[str, ...] = ()
    """What must hold between the values of a trial."""
    rotations: int = 1
    """Confirmation trials of one seed, each with the folds one further than the one before."""
    grid_points: int | None = None
    """Where the search is a full grid, how many values of a continuous range are in it."""

    @property
    def key(self) -> str:
        """A readable name, unique in the sweep: ``utae/labels=0.1/dates=6``."""
        return f"{self.strategy}/labels={self.label_fraction:g}/dates={self.temporal_length}"

    @cached_property
    def axes(self) -> Axes:
        """Its ranges, in an order in which their conditions can be decided."""
        return Axes(self.ranges, self.template)

    @cached_property
    def trials(self) -> int:
        """Search trials to run: what was asked for, or fewer where the ranges hold fewer configurations."""
        lists = [self.listed(name) for name in self.axes.searched]
        sizes = [math.inf if listed is None else len(listed) for listed in lists]
        if not self.constraints and not self.axes.conditional:
            return int(min(self.wanted_trials, math.prod(sizes)))
        found = 0
        for looked_at, counts in enumerate(self._counted(), start=1):
            found += counts
            if found >= self.wanted_trials or looked_at >= MOST_COUNTED:
                return self.wanted_trials
        return found

    def listed(self, name: str) -> Sequence[Any] | None:
        """Return every value of a range that the search may try; None where there is no end of them."""
        range_ = self.ranges[name]
        return range_.listed if self.grid_points is None else range_.points(self.grid_points)

    @cached_property
    def first_corners(self) -> dict[str, Any]:
        """One value for every searched field: a trial to judge the cell by where any will do."""
        corners = self.axes.combinations(lambda name: self.ranges[name].corners)
        drawn = (self.axes.drawn(Random(seed)) for seed in range(MOST_TRIES))
        tried = map(self.axes.values, itertools.chain(itertools.islice(corners, MOST_CHOICES), drawn))
        first = next(filter(self.keeps_constraints, tried), None)
        return self.axes.values(self.axes.walk(self._first)) if first is None else first

    def option_values(self) -> Iterator[dict[str, Any]]:
        """Yield values for all searched fields: the first ones, then each option of a list with any others.

        Options that cannot occur, by their conditions or the constraints, are left out.
        """
        yield self.first_corners
        for name in self.axes.with_options():
            for option in self.ranges[name].corners:
                found = self.occurring({name: option})
                if found is not None and (values := self.axes.values(found)) != self.first_corners:
                    yield values

    def combined_options(self) -> Iterator[dict[str, Any]]:
        """Yield values for all searched fields: combinations of the lists' options, 256 of them at most."""
        lists = self.axes.with_options()
        combined = self.axes.combinations(
            lambda name: self.ranges[name].corners if name in lists else self.ranges[name].corners[:1]
        )
        yield from map(self.axes.values, itertools.islice(combined, MOST_CHOICES))

    @property
    def grid_size(self) -> int:
        """How many combinations the fixed grid has, were all conditions met and no constraints there."""
        return math.prod(len(self.ranges[name].corners) for name in self.axes.grid())

    @cached_property
    def grid_combinations(self) -> tuple[Picks, ...]:
        """What the fixed grid's ranges are worked through in: their combinations that can occur, in order."""
        grid = self.axes.grid()
        if not grid:
            return ()
        combined = self.axes.combinations(
            lambda name: self.ranges[name].corners if name in grid else self.ranges[name].corners[:1]
        )
        of_grid = [{name: pick for name, pick in picks.items() if name in grid} for picks in combined]
        different = {repr(picks): picks for picks in of_grid}.values()
        return tuple(picks for picks in different if self.occurring(picks) is not None)

    def occurring(self, given: Picks) -> Picks | None:
        """Return picks that hold the given ones and keep the constraints; None where none were found."""
        corners = self.axes.combinations(
            lambda name: [given[name]] if name in given else self.ranges[name].corners
        )
        drawn = (self.axes.drawn(Random(seed), given) for seed in range(MOST_TRIES))
        for picks in itertools.chain(itertools.islice(corners, MOST_CHOICES), drawn):
            if given.keys() <= picks.keys() and self.keeps_constraints(self.axes.values(picks)):
                return picks
        return None

    def keeps_constraints(self, values: Mapping[str, Any]) -> bool:
        """Whether the trial with these values keeps every constraint, whether or not it is valid."""
        if not self.constraints:
            return True
        draft = self.draft(values)
        return all(constraint(text).holds(draft) for text in self.constraints)

    def allows(self, values: Mapping[str, Any]) -> bool:
        """Whether these values make a valid trial that keeps every constraint."""
        try:
            self.trial(values)
        except ValidationError:
            return False
        return self.keeps_constraints(values)

    def draft(self, values: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Return the unchecked trial with these values; other fields keep the template's."""
        return self.axes.draft(values or {})

    def trial(
        self, values: Mapping[str, Any] | None = None, seed: int | None = None, rotation: int = 0
    ) -> TrialConfig:
        """Build the trial with these values for searched fields.

        Args:
            values: value by dotted path; fields left out keep the template's value.
            seed: replaces the template's.
            rotation: how many places every fold of the template is moved on.

        Raises:
            pydantic.ValidationError: the values do not make a valid trial.
        """
        draft = self.draft(values)
        trial = TrialConfig.model_validate(draft if seed is None else draft | {"seed": seed})
        if rotation == 0:
            return trial
        data = trial.data.model_copy(update={"folds": trial.data.folds.rotated(rotation)})
        return TrialConfig.model_validate(dict(trial) | {"data": data})  # judged anew: weights know folds

    def _first(self, name: str) -> Any:
        return self.ranges[name].corners[0]

    def _counted(self) -> Iterator[int]:
        """Yield one for each configuration: without end where a continuous range is active."""
        endless = {name for name in self.axes.searched if self.listed(name) is None}
        of_lists = self.axes.combinations(lambda name: [None] if name in endless else self.listed(name) or ())
        for picks in of_lists:
            given = {name: pick for name, pick in picks.items() if name not in endless}
            if len(given) == len(picks):
                yield int(self.keeps_constraints(self.axes.values(picks)))
            elif self.occurring(given) is not None:
                yield from itertools.repeat(1)


def cannot_rotate(cell: Cell) -> Iterator[Violation]:
    """Yield why the folds of a strategy must stay fixed; a trial that is broken otherwise is not judged."""
    try:
        combined = list(cell.combined_options())
    except CircularConditions:  # told of where all conditions are checked
        return
    for values in combined:
        try:
            trial = cell.trial(values)
        except ValidationError:
            continue
        test, seen = trial.data.folds.test, sorted(trial.model.seen_folds)
        if len(test) != 1:
            expected = "fixed, or one test fold: rotation tests every fold once"
            yield Violation("folds", expected, f"rotate, with test folds {list(test)} in {cell.strategy}")
        if seen:
            expected = f"fixed: the pretrained weights of {cell.strategy} have seen folds {seen}"
            yield Violation("folds", expected, "rotate, which tests on them too")


def beyond_grid(cell: Cell, most: int = MOST_COMBINED) -> Iterator[Violation]:
    """Yield why a full grid of a cell cannot be worked through: it has too many combinations."""
    with suppress(CircularConditions):  # told of where all conditions are checked
        if (count := math.prod(len(cell.listed(name) or ()) for name in cell.axes.searched)) > most:
            expected = f"a grid of at most {most} combinations, by fewer points or ranges"
            yield Violation("optimisation.sampler", expected, f"{count} in {cell.strategy}")


def beyond_cma_es(cell: Cell) -> Iterator[Violation]:
    """Yield why CMA-ES cannot search a cell: it knows numbers only, the same ones in every trial."""
    try:
        searched, lists = cell.axes.searched, cell.axes.with_options()
    except CircularConditions:  # told of where all conditions are checked
        return
    if lists:
        said = f"{', '.join(lists)} of {cell.strategy}"
        yield Violation(
            "optimisation.sampler", "another one than cma_es beside a choice, grid or one_of", said
        )
    if conditional := [name for name in searched if cell.ranges[name].when]:
        said = f"{', '.join(conditional)} of {cell.strategy}"
        yield Violation("optimisation.sampler", "another one than cma_es beside a range with `when`", said)
    if len(searched) == 1:
        expected = "another one than cma_es, which needs two ranges or more"
        yield Violation("optimisation.sampler", expected, f"one range in {cell.strategy}")
