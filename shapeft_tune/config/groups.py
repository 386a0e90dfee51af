"""Fields that only make sense together: a list of partial configurations, of which a trial gets one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

from pydantic import Field

from shapeft_tune.config.base import Violation
from shapeft_tune.config.merge import TAGS
from shapeft_tune.config.searched import Searched


class Group(Searched):
    """One of several partial configurations, under a name of the user's own.

    Keys are dotted paths or nested; a nested section without a name or mode is laid over what is there, one
    with a name or mode replaces it. A field that only some options set is the template's in the others.
    """

    options: tuple[dict[str, Any], ...] = Field(alias="one_of", min_length=1)

    def rules(self) -> Iterator[Violation]:
        """Every option sets something, no field twice, and no two options set the same."""
        for number, option in enumerate(self.options):
            paths = [path for path, _ in _leaves(option)]
            for clash in clashes(paths):
                yield Violation(f"one_of.{number}", "each field once", clash)
            if not paths:
                yield Violation(f"one_of.{number}", "at least one field", str(option))
        if any(option in self.corners[:index] for index, option in enumerate(self.corners)):
            yield Violation("one_of", "different options", str(list(self.options)))

    @cached_property
    def corners(self) -> tuple[Any, ...]:
        """The options, each as values by dotted path."""
        return tuple(dict(_leaves(option)) for option in self.options)

    @property
    def paths(self) -> tuple[str, ...]:
        """Every field that some option sets."""
        return tuple(dict.fromkeys(path for option in self.corners for path in option))


def clashes(paths: list[str]) -> Iterator[str]:
    """Yield a sentence for every two paths that are the same, or one of which lies in the other."""
    for index, path in enumerate(paths):
        for other in paths[:index]:
            if path == other:
                yield f"{path} twice"
            elif path.startswith(f"{other}.") or other.startswith(f"{path}."):
                yield f"{max(path, other, key=len)} inside of {min(path, other, key=len)}"


def _leaves(partial: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in partial.items():
        if isinstance(value, Mapping) and not any(tag in value for tag in TAGS):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
