"""What every configuration class shares: frozen, no unknown keys, rules that report all at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, NamedTuple, Self, get_args, get_type_hints

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_validator,
)
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

    @model_validator(mode="before")
    @classmethod
    def _tell_numbers_from_truth(cls, given: Any) -> Any:
        """Refuse ``true`` for a number, which Python would take for 1."""
        if isinstance(given, Mapping) and any(map(_has_truth, given.values())):
            wrong = [key for key in given if key in _numbers(cls) and _has_truth(given[key])]
            _raise_any([Violation(key, "a number", str(given[key]).lower()) for key in wrong])
        return given

    @model_validator(mode="after")
    def _keep_rules(self) -> Self:
        _raise_any(list(self.rules()))
        return self


def _raise_any(violations: list[Violation]) -> None:
    if violations:
        raise PydanticCustomError(
            "rules", "{summary}", {"violations": violations, "summary": str(violations)}
        )


def _has_truth(value: Any) -> bool:
    return value is True or value is False or (type(value) in (list, tuple) and any(map(_has_truth, value)))


@cache
def _numbers(owner: type[Frozen]) -> frozenset[str]:
    """Return the keys of the fields that hold numbers, or lists of them, and nothing that may be true."""
    types = get_type_hints(owner)
    return frozenset(
        info.alias or name
        for name, info in owner.model_fields.items()
        if {int, float} & (parts := set(_parts(types[name]))) and not {bool, Any} & parts
    )


def _parts(annotation: Any) -> Iterator[Any]:
    yield annotation
    for part in get_args(annotation):
        yield from _parts(part)


def told_as(expected: str) -> WrapValidator:
    """Tell a mistake in a union in one sentence, where every member would say why it is not the one."""

    def judge(value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
        try:
            return handler(value)
        except ValidationError as error:
            raise PydanticCustomError("union", "{expected}", {"expected": expected}) from error

    return WrapValidator(judge)


def _by_name(tag: str) -> Any:
    def expand(value: Any) -> Any:
        return {tag: value} if isinstance(value, str) else value

    return expand


def named(tag: str = "name") -> BeforeValidator:
    """Let ``optimiser: adamw`` stand for ``optimiser: {name: adamw}`` in a union told apart by ``tag``."""
    return BeforeValidator(_by_name(tag))
