"""Laying one partial configuration over another, and setting single fields by dotted path."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

TAGS = ("name", "mode")
"""Keys that tell the members of a union apart; see ``config/base.py``, ``named``."""


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``below`` with ``above`` laid over it, mapping by mapping; neither is changed.

    Where ``above`` names another member of a union (another optimiser, say), nothing of ``below``'s is kept.
    """
    result = dict(below)
    for key, value in above.items():
        under = result.get(key)
        if isinstance(value, Mapping) and isinstance(under, str | Mapping):
            under = _spelled_out(under, value)
            value = dict(value) if _other_member(under, value) else merged(under, value)
        result[key] = value
    return result


def with_values(below: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``below`` with the field at each dotted path replaced."""
    result = dict(below)
    for path, value in sorted(values.items()):  # sorted: a whole section before the fields inside it
        head, _, rest = path.partition(".")
        if rest:
            under = result.get(head, {})
            under = {"mode" if head == "tuning" else "name": under} if isinstance(under, str) else under
            result[head] = with_values(under if isinstance(under, Mapping) else {}, {rest: value})
        else:
            result[head] = value
    return result


def value_at(config: Mapping[str, Any], path: str) -> Any:
    """Return the value at a dotted path, None where there is none."""
    here: Any = config
    for key in path.split("."):
        here = here.get(key) if isinstance(here, Mapping) else None
    return here


def _spelled_out(short: str | Mapping[str, Any], beside: Mapping[str, Any]) -> Mapping[str, Any]:
    if not isinstance(short, str):
        return short
    return {"mode" if "mode" in beside else "name": short}


def _other_member(below: Mapping[str, Any], above: Mapping[str, Any]) -> bool:
    return any(tag in above and tag in below and above[tag] != below[tag] for tag in TAGS)
