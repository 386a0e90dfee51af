"""From a YAML file to a checked ``SweepConfig`` or ``TrialConfig``, or to every problem at once."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from shapeft_tune.config.merge import TAGS
from shapeft_tune.config.ranges import Choice
from shapeft_tune.config.sweep import Cell, SweepConfig
from shapeft_tune.config.trial import TrialConfig
from shapeft_tune.config.yaml_file import YamlFile, read_yaml
from shapeft_tune.errors import ConfigError, Problem

MOST_CORNERS = 256
"""Combinations of extremes tried per cell; where there are more, a draw of this many."""

Path_ = tuple[str | int, ...]
Found = tuple[Path_, Problem]
Kind = TypeVar("Kind", bound=BaseModel)


def load_trial(path: Path) -> TrialConfig:
    """Read one trial.

    Raises:
        ConfigError: with every problem of the file.
    """
    file = read_yaml(path)
    return checked(TrialConfig, file.content, file.source, file)


def load_sweep(path: Path) -> SweepConfig:
    """Read a sweep and try every cell at the corners of its ranges.

    Raises:
        ConfigError: with every problem of the file, nothing having been started.
    """
    file = read_yaml(path)
    sweep = checked(SweepConfig, file.content, file.source, file)
    found = [
        *_set_by_settings(sweep),
        *_not_to_be_searched(sweep),
        *(found for cell in sweep.cells for found in _cell_problems(cell, file)),
    ]
    if found:
        raise ConfigError(file.source, _located(found, file))
    return sweep


def checked(kind: type[Kind], content: Mapping[str, Any], source: str, file: YamlFile | None = None) -> Kind:
    """Build a configuration class from plain values.

    Raises:
        ConfigError: with every problem, and its line where the values come from a file.
    """
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        found = problems_of(error, content)
        located = _located(found, file) if file else [problem for _, problem in found]
        raise ConfigError(source, located) from error


def problems_of(error: ValidationError, given: Any) -> list[Found]:
    """Translate pydantic's findings: where in ``given``, what was expected, what came."""
    found: list[Found] = []
    for item in error.errors():
        place = _place(item["loc"], given, keep_last=item["type"] in ("missing", "extra_forbidden"))
        if item["type"] == "rules":
            for violation in item["ctx"]["violations"]:
                inner = (*place, *filter(None, violation.field.split(".")))
                found.append((inner, Problem(_dotted(inner), violation.expected, violation.got)))
        else:
            found.append((place, Problem(_dotted(place), *_expected(item, given))))
    deeper = {place[:end] for place, _ in found for end in range(len(place))}
    # An item that is wrong also makes pydantic count its list as too short.
    return [each for each in found if not (each[0] in deeper and "after validation" in each[1].expected)]


NOT_SEARCHED = (
    "seed",
    "validation",
    "data.dataset",
    "data.folds",
    "data.label_fraction",
    "data.temporal_length",
)
"""What a cell's trials must share, or they could not be compared; a seed is what confirmations vary."""


def _not_to_be_searched(sweep: SweepConfig) -> Iterator[Found]:
    searches: list[tuple[Path_, Mapping[str, Any]]] = [(("search",), sweep.search)]
    searches += [(("strategies", name, "search"), each.search) for name, each in sweep.strategies.items()]
    for place, ranges in searches:
        for path in ranges:
            for kept in NOT_SEARCHED:
                if f"{path}.".startswith(f"{kept}.") or f"{kept}.".startswith(f"{path}."):
                    yield (*place, path), Problem("", "a field that trials of a cell may differ in", path)
                    break


def _set_by_settings(sweep: SweepConfig) -> Iterator[Found]:
    places: list[tuple[Path_, Mapping[str, Any]]] = [(("base",), sweep.base)]
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


def _cell_problems(cell: Cell, file: YamlFile) -> list[Found]:
    found = list(_broken_rules(cell, file))
    return found or list(_same_options(cell, file))


def _broken_rules(cell: Cell, file: YamlFile) -> Iterator[Found]:
    for values in corner_values(cell):
        try:
            cell.trial(values)
        except ValidationError as error:
            tried = ", ".join(f"{path}={value!r}" for path, value in values.items())
            for place, problem in problems_of(error, cell.draft(values)):
                hint = problem.hint or (f"tried with {tried}" if tried else "")
                yield _origin(place, cell, file), Problem("", problem.expected, problem.got, hint)


def corner_values(cell: Cell) -> Iterator[dict[str, Any]]:
    """Yield the values that rules are tried on: every probe of each range, and combinations of extremes."""
    names = [name for name, range_ in cell.ranges.items() if range_.count > 1]
    first = {name: cell.ranges[name].corners[0] for name in names}
    yield first
    yield from (first | {name: probe} for name in names for probe in cell.ranges[name].probes[1:])
    corners = [cell.ranges[name].corners for name in names]
    combinations: Iterator[tuple[Any, ...]] = itertools.product(*corners)
    if math.prod(map(len, corners)) > MOST_CORNERS:
        draw = random.Random(0)
        drawn = (tuple(draw.choice(options) for options in corners) for _ in range(MOST_CORNERS))
        combinations = itertools.chain([tuple(options[-1] for options in corners)], drawn)
    yield from (dict(zip(names, combination, strict=True)) for combination in combinations)


def _same_options(cell: Cell, file: YamlFile) -> Iterator[Found]:
    """Yield the choices with two options that amount to the same trial, written differently."""
    for name, range_ in cell.ranges.items():
        if isinstance(range_, Choice):
            drafts = [cell.trial(cell.first_corners | {name: option}) for option in range_.options]
            if len({draft.fingerprint() for draft in drafts}) < len(drafts):
                place = _range_in_file(cell, file, lambda searched, name=name: searched == name)  # type: ignore[misc]
                yield (
                    place or ("search", name),
                    Problem("", "options that differ", _short(list(range_.options))),
                )


def _origin(place: Path_, cell: Cell, file: YamlFile) -> Path_:
    """Return where the file says what is at ``place`` of a trial: in a range, the strategy, or the base."""
    dotted = _dotted(place)
    if inside := _range_in_file(cell, file, lambda name: dotted == name or dotted.startswith(f"{name}.")):
        return inside
    sections: tuple[Path_, ...] = (("strategies", cell.strategy, "config"), ("base",))
    if written := next(
        ((*section, *place) for section in sections if (*section, *place) in file.lines), None
    ):
        return written
    if around := _range_in_file(cell, file, lambda name: name.startswith(f"{dotted}.")):
        return around
    for end in range(len(place), 0, -1):
        for section in sections:
            if (*section, *place[:end]) in file.lines:
                return (*section, *place)
    return ("strategies", cell.strategy, "config", *place)


def _range_in_file(cell: Cell, file: YamlFile, fits: Callable[[str], bool]) -> Path_ | None:
    searches: tuple[Path_, ...] = (("strategies", cell.strategy, "search"), ("search",))
    places = ((*section, name) for section in searches for name in cell.ranges if fits(name))
    return next((place for place in places if place in file.lines), None)


def _located(found: list[Found], file: YamlFile) -> list[Problem]:
    return [
        Problem(_dotted(place), problem.expected, problem.got, problem.hint, file.line(place))
        for place, problem in _first_at_each_place(found)
    ]


def _first_at_each_place(found: list[Found]) -> list[Found]:
    kept: dict[tuple[Path_, str], Found] = {}
    for place, problem in found:
        kept.setdefault((place, problem.expected), (place, problem))
    return list(kept.values())


def _place(location: tuple[str | int, ...], given: Any, keep_last: bool) -> Path_:
    """Drop from pydantic's location the names of union members, which are not in the file."""
    kept: list[str | int] = []
    current = given
    for index, step in enumerate(location):
        known = isinstance(current, Mapping) and step in current
        known |= isinstance(current, list | tuple) and isinstance(step, int) and step < len(current)
        if known or (keep_last and index == len(location) - 1):
            kept.append(step)
        if known:
            current = current[step]
    return tuple(kept)


def _dotted(place: Path_) -> str:
    return ".".join(map(str, place)) or "file"


def _expected(item: Mapping[str, Any], given: Any) -> tuple[str, str, str]:
    """Return (expected, got, hint) for one of pydantic's findings in what was given."""
    context = item.get("ctx", {})
    got = _short(item["input"])
    match item["type"]:
        case "missing":
            return "a value (the key is missing)", "", ""
        case "extra_forbidden":
            kind = _kind_around(item["loc"], given)
            return f"no such key{f' of {kind}' if kind else ''}", got, "check the spelling, or remove it"
        case "union_tag_invalid":
            return f"{context['discriminator']}: one of {context['expected_tags']}", repr(context["tag"]), ""
        case "union_tag_not_found":
            return f"a mapping with the key {context['discriminator']}", got, "name which one is meant"
        case _:
            message = item["msg"].removeprefix("Input should be ").removeprefix("Value error, ")
            return message[0].lower() + message[1:], got, ""


def _kind_around(location: tuple[str | int, ...], given: Any) -> str:
    """Return the name or mode of the part of ``given`` that a finding lies in; empty where it has none."""
    around = given
    for step in _place(location, given, keep_last=True)[:-1]:
        around = around[step]
    named = around if isinstance(around, Mapping) else {}
    return next((str(named[tag]) for tag in TAGS if tag in named), "")


def _short(value: Any) -> str:
    text = repr(value.model_dump(mode="json") if isinstance(value, BaseModel) else value)
    return text if len(text) <= 80 else f"{text[:77]}..."
