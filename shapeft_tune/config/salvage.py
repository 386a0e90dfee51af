"""Reading as much of a faulty sweep as can be read, so that all of its faults are told at once."""

from __future__ import annotations

import copy
import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from shapeft_tune.config.problems import EMPTY, Found, Place, problems_of
from shapeft_tune.config.sweep import Strategy, SweepConfig

MOST_ROUNDS = 5
"""Times that faulty places are taken out; each may lay open others, such as rules between sections."""
STAND_INS: dict[Place, Any] = {
    ("name",): "sweep",
    ("settings",): {"label_fractions": [1.0], "temporal_lengths": [1]},
    ("settings", "label_fractions"): [1.0],
    ("settings", "temporal_lengths"): [1],
}
"""What cannot be left out, and what stands there while the rest is checked."""


@dataclass(frozen=True)
class Salvaged:
    """What could be read of a sweep, and what could not."""

    sweep: SweepConfig | None
    """None where too little is left to make trials of."""
    found: list[Found]
    lost: Mapping[str, set[str]]
    """By strategy whose trials can still be judged: the fields whose ranges were taken out. An empty one
    stands for any: a range of unknown purpose was taken out."""


def salvaged(content: Mapping[str, Any]) -> Salvaged:
    """Validate a sweep; where it fails, take the faulty places out and validate what is left."""
    left = copy.deepcopy(dict(content))
    found: list[Found] = []
    removed: list[Place] = []
    for _ in range(MOST_ROUNDS):
        try:
            sweep = SweepConfig.model_validate(left)
        except ValidationError as error:
            emptied = {place[:-1] for place in removed}
            new = [
                (place, problem)
                for place, problem in problems_of(error, left)
                if place not in removed and not (place in emptied and problem.expected == EMPTY)
            ]
            found += new
            places = sorted({_whole(place) for place, _ in new}, key=len, reverse=True)
            if not places or False in [_take_out(left, place) for place in places]:
                break
            removed += places
        else:
            return Salvaged(sweep, found, _lost(sweep, removed, content))
    return Salvaged(None, found, {})


def _whole(place: Place) -> Place:
    """Return the range, list or field that a place lies in: none of these makes sense in part."""
    if place[:1] == ("search",):
        return place[:2]
    if place[:1] == ("strategies",) and place[2:3] == ("search",):
        return place[:4]
    end = next((index for index, step in enumerate(place) if isinstance(step, int)), len(place))
    return place[:end]


def _take_out(content: dict[str, Any], place: Place) -> bool:
    """Remove what is at a place, or the nearest section around it; return whether anything changed."""
    if place in STAND_INS:
        section: Any = content
        for step in place[:-1]:
            section = section[step]
        section[place[-1]] = copy.deepcopy(STAND_INS[place])
        return True
    for end in range(len(place), 0, -1):
        section = content
        for step in place[: end - 1]:
            section = section.get(step) if isinstance(section, Mapping) else None
        if isinstance(section, dict) and place[end - 1] in section:
            del section[place[end - 1]]
            return True
    return False


def _lost(sweep: SweepConfig, removed: list[Place], content: Mapping[str, Any]) -> dict[str, set[str]]:
    """Return what each strategy lacks; a strategy that lacks what its trials are built from is left out."""
    lost: dict[str, set[str]] = {}
    for name in sweep.strategies:
        own = [place[2:] for place in removed if place[:2] == ("strategies", name)]
        shared = [place for place in removed if place[0] != "strategies"]
        sections = [(place, SweepConfig) for place in shared] + [(place, Strategy) for place in own]
        if not any(_is_foundation(place, kind) for place, kind in sections):
            lost[name] = {
                path
                for place, _ in sections
                if place[:1] == ("search",)
                for path in _aimed_at(place, content, name)
            }
    return lost


def _is_foundation(place: Place, kind: type[SweepConfig] | type[Strategy]) -> bool:
    """Whether trials cannot be judged without what was taken out: a section, or what was meant for one."""
    if len(place) > 1:
        return False
    if not place or place[0] in ("base", "config", "search"):
        return True
    meant = difflib.get_close_matches(str(place[0]), kind.model_fields, n=1)
    return place[0] not in kind.model_fields and meant[:1] in (["base"], ["config"], ["search"])


def _aimed_at(place: Place, content: Mapping[str, Any], strategy: str) -> set[str]:
    """Return the fields of a range that was taken out; also an empty one for a group: its own are unread."""
    name = str(place[1]) if len(place) > 1 else ""
    own = content.get("strategies", {}).get(strategy, {}).get("search", {}) or {}
    written = own.get(name, (content.get("search") or {}).get(name))
    return {name, ""} if isinstance(written, Mapping) and "one_of" in written else {name}
