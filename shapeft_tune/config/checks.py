"""What is wrong with the trials that a sweep would make, found before any of them starts."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace
from random import Random
from typing import Any

from pydantic import ValidationError

from shapeft_tune.config.cell import MOST_COMBINED, Cell
from shapeft_tune.config.constraints import BadConstraint, constraint
from shapeft_tune.config.corners import corner_values
from shapeft_tune.config.fields import members_with
from shapeft_tune.config.problems import (
    MISSING_KEY,
    NO_SUCH_KEY,
    Found,
    Place,
    cut,
    dotted,
    problems_of,
    short,
)
from shapeft_tune.config.range_checks import never_active, overlap, range_problems
from shapeft_tune.config.sweep import SweepConfig
from shapeft_tune.config.yaml_file import YamlFile
from shapeft_tune.errors import Problem

MOST_DRAWS = 2000
"""Random configurations of which one at least must keep the constraints."""


def problems_of_cells(sweep: SweepConfig, file: YamlFile, lost: Mapping[str, Collection[str]]) -> list[Found]:
    """Return everything that is wrong with a sweep whose sections are sound by themselves.

    Args:
        sweep: as far as it could be read.
        file: where it comes from.
        lost: by strategy, fields whose ranges were wrong already and are not there any more; what is found
            wrong with these is a consequence.
    """
    found = [*_set_by_settings(sweep), *(each for each in _bad_constraints(sweep))]
    good = [_without_bad_constraints(cell) for cell in sweep.cells if cell.strategy in lost]
    sound: list[Cell] = []
    hidden = {strategy: set(paths) for strategy, paths in lost.items()}
    for first in {cell.strategy: cell for cell in reversed(good)}.values():
        wrong = range_problems(first)
        found += [(_range_place(name, first, file) + inner, problem) for name, inner, problem in wrong]
        names = {name for name, _, _ in wrong}
        hidden[first.strategy] |= {path for name in names for path in _set_by(name, first)}
        kept = {name: range_ for name, range_ in first.ranges.items() if name not in names}
        sound += [replace(cell, ranges=kept) for cell in good if cell.strategy == first.strategy]
    found += [each for cell in sound for each in _cell_problems(cell, file, hidden[cell.strategy])]
    found += [
        (_range_place(name, cell, file) + inner, problem)
        for cell, name, inner, problem in never_active(
            sound, lambda name, cell: _range_place(name, cell, file)
        )
    ]
    found += _grids_without_end(sound, file)
    return found + list(_impossible(sound, sweep)) + list(_too_small_for_grid(sound, sweep))


def _set_by_settings(sweep: SweepConfig) -> Iterator[Found]:
    places: list[tuple[Place, Mapping[str, Any]]] = [(("base",), sweep.base)]
    places += [
        (("strategies", name, "config"), strategy.config) for name, strategy in sweep.strategies.items()
    ]
    for place, part in places:
        data = part.get("data", {})
        for key in ("label_fraction", "temporal_length"):
            if isinstance(data, Mapping) and key in data:
                yield (
                    (*place, "data", key),
                    Problem("", "not to be set here", repr(data[key]), "`settings` sets it for every cell"),
                )


def _bad_constraints(sweep: SweepConfig) -> Iterator[Found]:
    for place, text in _constraint_places(sweep):
        try:
            constraint(text)
        except BadConstraint as error:
            yield place, Problem("", error.expected, error.got, error.hint)


def _constraint_places(sweep: SweepConfig) -> Iterator[tuple[Place, str]]:
    yield from ((("constraints", index), text) for index, text in enumerate(sweep.constraints))
    for name, strategy in sweep.strategies.items():
        place = ("strategies", name, "constraints")
        yield from (((*place, index), text) for index, text in enumerate(strategy.constraints))


def _without_bad_constraints(cell: Cell) -> Cell:
    return replace(cell, constraints=tuple(filter(_is_readable, cell.constraints)))


def _is_readable(text: str) -> bool:
    try:
        return bool(constraint(text))
    except BadConstraint:
        return False


def _set_by(name: str, cell: Cell) -> tuple[str, ...]:
    range_ = cell.ranges[name]
    return (*getattr(range_, "paths", ()), name)


def _impossible(cells: list[Cell], sweep: SweepConfig) -> Iterator[Found]:
    """Yield the constraints that no random configuration keeps, of the first such cell of each strategy."""
    places = list(_constraint_places(sweep))
    told: set[str] = set()
    for cell in cells:
        if cell.strategy in told or not (broken := _never_kept(cell)):
            continue
        told.add(cell.strategy)
        ours = (("constraints",), ("strategies", cell.strategy, "constraints"))
        place = next(place for place, text in places if text == broken and place[:-1] in ours)
        hint = (
            f"none of {MOST_DRAWS} random ones of {cell.key} keeps all constraints: widen ranges or mend it"
        )
        yield place, Problem("", "a constraint that some configuration keeps", cut(broken), hint)


def _never_kept(cell: Cell) -> str:
    """Return the constraint that is in the way; empty where some configuration keeps all of them."""
    random = Random(0)
    kept = dict.fromkeys(cell.constraints, 0)
    for _ in range(MOST_DRAWS if cell.axes.searched else 1):
        draft = cell.draft(cell.axes.values(cell.axes.drawn(random)))
        verdicts = {text: constraint(text).holds(draft) for text in kept}
        if all(verdicts.values()):
            return ""
        kept = {text: count + verdicts[text] for text, count in kept.items()}
    return min(kept, key=lambda text: kept[text])


def _grids_without_end(cells: list[Cell], file: YamlFile) -> Iterator[Found]:
    for cell in cells:
        if cell.grid_size > MOST_COMBINED:
            got = f"{cell.grid_size} of {', '.join(cell.axes.grid())}"
            expected = f"a grid of at most {MOST_COMBINED} combinations, by fewer values or ranges"
            yield _range_place(cell.axes.grid()[0], cell, file), Problem("", expected, got)


def _too_small_for_grid(cells: list[Cell], sweep: SweepConfig) -> Iterator[Found]:
    for cell in cells:
        if cell.grid_size > MOST_COMBINED:
            continue
        needed = len(cell.grid_combinations)
        if needed > cell.wanted_trials:
            own = sweep.strategies[cell.strategy].trials is not None
            place: Place = ("strategies", cell.strategy, "trials") if own else ("budget", "trials")
            expected = f"at least {needed}, a trial for each combination of the grid in {cell.strategy}"
            yield place, Problem("", expected, str(cell.wanted_trials))


def _cell_problems(cell: Cell, file: YamlFile, hidden: Collection[str]) -> list[Found]:
    found = list(_broken_rules(cell, file, hidden))
    return found or list(_same_options(cell, file))


def _broken_rules(cell: Cell, file: YamlFile, hidden: Collection[str]) -> Iterator[Found]:
    for values in corner_values(cell):
        try:
            cell.trial(values)
        except ValidationError as error:
            tried = ", ".join(f"{path}={value!r}" for path, value in values.items())
            for place, problem in problems_of(error, cell.draft(values)):
                if any(overlap(dotted(place), path) for path in hidden):
                    continue
                if "" in hidden and problem.expected == MISSING_KEY:
                    continue
                origin = _origin(place, cell, file)
                hint = problem.hint or (f"tried with {tried}" if tried else "")
                if "search" in origin and problem.expected.startswith(NO_SUCH_KEY):
                    hint = _only_when(place) or hint
                yield origin, Problem("", problem.expected, problem.got, hint)


def _only_when(place: Place) -> str:
    """Return how to search a field only where it exists; empty where it exists nowhere."""
    section, key = dotted(place[:-1]), str(place[-1])
    members = members_with(section, key) if len(place) > 1 else ()
    wanted = members[0] if len(members) == 1 else f"[{', '.join(members)}]"
    return f"search it only where it exists: when: {{{section}: {wanted}}}" if members else ""


def _same_options(cell: Cell, file: YamlFile) -> Iterator[Found]:
    """Yield the lists with two options that amount to the same trial, written differently."""
    for name in cell.axes.with_options():
        options = cell.ranges[name].corners
        around = cell.occurring({name: options[0]}) or {}
        made = [_fingerprint(cell, around | {name: option}) for option in options]
        valid = [fingerprint for fingerprint in made if fingerprint]
        if len(set(valid)) < len(valid):
            yield _range_place(name, cell, file), Problem("", "options that differ", short(list(options)))


def _fingerprint(cell: Cell, given: Mapping[str, Any]) -> str:
    """Return that of the trial with these picks where they apply; empty where it is not valid."""
    picks = cell.axes.walk(lambda name: given.get(name, cell.ranges[name].corners[0]))
    try:
        return cell.trial(cell.axes.values(picks)).fingerprint()
    except ValidationError:
        return ""


def _origin(place: Place, cell: Cell, file: YamlFile) -> Place:
    """Return where the file says what is at ``place`` of a trial: in a range, the strategy, or the base."""
    path = dotted(place)
    if inside := _range_in_file(cell, file, lambda set_: path == set_ or path.startswith(f"{set_}.")):
        return inside
    sections: tuple[Place, ...] = (("strategies", cell.strategy, "config"), ("base",))
    if written := next(
        ((*section, *place) for section in sections if (*section, *place) in file.lines), None
    ):
        return written
    if around := _range_in_file(cell, file, lambda set_: set_.startswith(f"{path}.")):
        return around
    for end in range(len(place), 0, -1):
        for section in sections:
            if (*section, *place[:end]) in file.lines:
                return (*section, *place)
    return ("strategies", cell.strategy, "config", *place)


def _range_in_file(cell: Cell, file: YamlFile, fits: Callable[[str], bool]) -> Place | None:
    names = sorted(cell.ranges, key=len, reverse=True)  # the field inside a searched section before that
    found = (name for name in names if any(fits(path) for path in cell.axes.paths(name)))
    return next((_range_place(name, cell, file) for name in found), None)


def _range_place(name: str, cell: Cell, file: YamlFile) -> Place:
    own: Place = ("strategies", cell.strategy, "search", name)
    return own if own in file.lines else ("search", name)
