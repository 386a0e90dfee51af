"""What pydantic finds wrong with a file, in this project's words, at the places where the file says it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from shapeft_tune.config.merge import TAGS
from shapeft_tune.config.yaml_file import YamlFile
from shapeft_tune.errors import Problem

Place = tuple[str | int, ...]
Found = tuple[Place, Problem]
NO_SUCH_KEY = "no such key"
EMPTY = "at least 1 item"
MISSING_KEY = "a value (the key is missing)"


def problems_of(error: ValidationError, given: Any) -> list[Found]:
    """Translate pydantic's findings: where in ``given``, what was expected, what came."""
    found: list[Found] = []
    too_short: set[Place] = set()
    for item in error.errors():
        place = _place(item["loc"], given, keep_last=item["type"] in ("missing", "extra_forbidden"))
        if item["type"] == "rules":
            for violation in item["ctx"]["violations"]:
                inner = (*place, *filter(None, violation.field.split(".")))
                found.append((inner, Problem(dotted(inner), violation.expected, violation.got)))
        else:
            found.append((place, Problem(dotted(place), *_expected(item, given))))
            too_short |= {place} if item["type"] == "too_short" else set()
    deeper = {place[:end] for place, _ in found for end in range(len(place))}
    # An item that is wrong also makes pydantic count its list as too short.
    return [each for each in found if each[0] not in deeper & too_short]


def located(found: list[Found], file: YamlFile) -> list[Problem]:
    """Give every problem its dotted path and its line; the same one at the same place once."""
    return [
        Problem(dotted(place), problem.expected, problem.got, problem.hint, file.line(place))
        for place, problem in _first_at_each_place(found)
    ]


def _first_at_each_place(found: list[Found]) -> list[Found]:
    kept: dict[tuple[Place, str], Found] = {}
    for place, problem in found:
        kept.setdefault((place, problem.expected), (place, problem))
    return list(kept.values())


def _place(location: tuple[str | int, ...], given: Any, keep_last: bool) -> Place:
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


def dotted(place: Place) -> str:
    """Return a place as a person reads it."""
    return ".".join(map(str, place)) or "file"


def _expected(item: Mapping[str, Any], given: Any) -> tuple[str, str, str]:
    """Return (expected, got, hint) for one of pydantic's findings in what was given."""
    context = item.get("ctx", {})
    got = short(item["input"])
    match item["type"]:
        case "missing":
            return MISSING_KEY, "", ""
        case "extra_forbidden":
            kind = _kind_around(item["loc"], given)
            return f"{NO_SUCH_KEY}{f' of {kind}' if kind else ''}", got, "check the spelling, or remove it"
        case "union_tag_invalid":
            return f"{context['discriminator']}: one of {context['expected_tags']}", repr(context["tag"]), ""
        case "union_tag_not_found":
            return f"a mapping with the key {context['discriminator']}", got, "name which one is meant"
        case "tuple_type" | "list_type":
            return "a list", got, ""
        case "dict_type" | "model_type" | "model_attributes_type" | "dataclass_type":
            return "a mapping", got, ""
        case "too_short":
            return EMPTY if context["min_length"] == 1 else f"at least {context['min_length']} items", got, ""
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


def short(value: Any) -> str:
    """Return a value as text, cut where it is long."""
    return cut(repr(value.model_dump(mode="json") if isinstance(value, BaseModel) else value))


def cut(text: str) -> str:
    """Return a text, or its beginning where it is longer than 80 characters."""
    return text if len(text) <= 80 else f"{text[:77]}..."
