"""What every configuration class shares: frozen, no unknown keys, rules that report all at once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, model_validator
from pydantic_core import PydanticCustomError


class Violation(NamedTuple):
    """A broken rule between fields.

    ``field`` is the one to change, relative to the class that has the rule; empty where it is all of it.
    """

    field: str
    expected: str
    got: str


class Frozen(BaseModel):
    """A configuration class: immutable, strict about keys, judged when it is built.

    Rules between fields go into :meth:`rules`; the text under a field says its unit and its effect.
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True, populate_by_name=True
    )

    def rules(self) -> Iterator[Violation]:
        """Yield every broken rule between this class's own fields."""
        yield from ()

    @model_validator(mode="after")
    def _keep_rules(self) -> Self:
        if violations := list(self.rules()):
            raise PydanticCustomError(
                "rules", "{summary}", {"violations": violations, "summary": str(violations)}
            )
        return self


def _by_name(tag: str) -> Any:
    def expand(value: Any) -> Any:
        return {tag: value} if isinstance(value, str) else value

    return expand


def named(tag: str = "name") -> BeforeValidator:
    """Let ``optimiser: adamw`` stand for ``optimiser: {name: adamw}`` in a union told apart by ``tag``."""
    return BeforeValidator(_by_name(tag))
