"""The fields of a trial by dotted path: which there are, and what a draft of a trial has there."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from types import NoneType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel, BeforeValidator, ValidationError, create_model
from pydantic.fields import FieldInfo

from shapeft_tune.config.merge import TAGS
from shapeft_tune.config.trial import TrialConfig

UNIONS = (Union, type(int | str))


class Missing:
    """What :func:`look_up` returns where a trial has no such field."""


MISSING = Missing()


@dataclass(frozen=True)
class TrialField:
    """A field as one configuration class has it."""

    path: str
    owner: type[BaseModel]
    info: FieldInfo
    annotation: Any

    @property
    def key(self) -> str:
        """The last part of the path."""
        return self.path.rpartition(".")[2]


@cache
def known_fields() -> Mapping[str, tuple[TrialField, ...]]:
    """Return all fields by dotted path; several where members of a union have one of the same name."""
    found: dict[str, dict[type[BaseModel], TrialField]] = {}
    for field in _fields(TrialConfig, ""):
        found.setdefault(field.path, {})[field.owner] = field
    return {path: tuple(fields.values()) for path, fields in found.items()}


def near(path: str) -> str:
    """Return a hint that names the known paths most like this one."""
    close = difflib.get_close_matches(path, known_fields(), n=3)
    return f"did you mean {' or '.join(close)}?" if close else "check the spelling"


def members_with(section: str, key: str) -> tuple[str, ...]:
    """Return the names of a union's members that have a field; empty where it is none of a union's."""
    fields = known_fields().get(f"{section}.{key}" if section else key, ())
    return tuple(name for field in fields for name in names_of(field.owner))


def names_of(member: type[BaseModel]) -> tuple[str, ...]:
    """Return the values of ``name`` or ``mode`` that tell a class from others of its union."""
    for tag in TAGS:
        if tag in member.model_fields:
            return tuple(map(str, get_args(_annotations(member)[tag])))
    return ()


def look_up(draft: Mapping[str, Any], path: str) -> Any:
    """Return what a draft of a trial has at a dotted path, defaults included; ``MISSING`` where it has none.

    The draft need not be valid: it is read as far as the path goes. Short forms are spelled out.
    """
    owner: type[BaseModel] | None = TrialConfig
    here: Any = draft
    for key in path.split("."):
        if owner is None or key not in owner.model_fields:
            return MISSING
        annotation = _annotations(owner)[key]
        here = here[key] if key in here else _default(owner.model_fields[key])
        here = _spelled_out(here, annotation)
        owner = _member(here, annotation) if isinstance(here, Mapping) else None
    return here


def canonical(path: str, value: Any) -> Any:
    """Return a field's value as a canonical trial has it, or as it is where no member allows it."""
    for field in known_fields().get(path, ()):
        try:
            holder = _holder(field.owner, field.key)
            return holder.model_validate({"value": value}).model_dump(mode="json")["value"]
        except ValidationError:
            continue
    return value


def tag_of(value: Any) -> Any:
    """Return the name or mode of a section, anything else as it is."""
    if isinstance(value, Mapping):
        return next((value[tag] for tag in TAGS if tag in value), value)
    return value


def members(annotation: Any) -> tuple[type[BaseModel], ...]:
    """Return the configuration classes that a field may hold."""
    if get_origin(annotation) is Annotated:
        return members(get_args(annotation)[0])
    if get_origin(annotation) in UNIONS:
        return tuple(member for part in get_args(annotation) for member in members(part))
    return (annotation,) if isinstance(annotation, type) and issubclass(annotation, BaseModel) else ()


def values_in(annotation: Any) -> frozenset[str]:
    """Return what a field may hold: number, text, truth, null or list; a section counts as its name."""
    if get_origin(annotation) is Annotated:
        return values_in(get_args(annotation)[0])
    if get_origin(annotation) in UNIONS:
        return frozenset(kind for part in get_args(annotation) for kind in values_in(part))
    if get_origin(annotation) is Literal:
        return frozenset(kind for value in get_args(annotation) for kind in values_in(type(value)))
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return frozenset({"text" if names_of(annotation) else "section"})
    kinds = {bool: "truth", int: "number", float: "number", str: "text", NoneType: "null"}
    return frozenset({kinds.get(annotation, "list")})


def _fields(owner: type[BaseModel], prefix: str) -> Iterator[TrialField]:
    for key, info in owner.model_fields.items():
        annotation = _annotations(owner)[key]
        yield TrialField(f"{prefix}{key}", owner, info, annotation)
        for member in members(annotation):
            yield from _fields(member, f"{prefix}{key}.")


@cache
def _annotations(owner: type[BaseModel]) -> Mapping[str, Any]:
    return get_type_hints(owner, include_extras=True)


@cache
def _holder(owner: type[BaseModel], key: str) -> type[BaseModel]:
    """Return a model with this field alone. A TypeAdapter would judge short forms of unions too early."""
    return create_model("Holder", value=(_annotations(owner)[key], ...))


def _default(info: FieldInfo) -> Any:
    if info.is_required():
        return MISSING
    default = info.get_default(call_default_factory=True, validated_data={})
    if isinstance(default, BaseModel):
        return default.model_dump(mode="json")
    return list(default) if isinstance(default, tuple) else default


def _spelled_out(value: Any, annotation: Any) -> Any:
    if get_origin(annotation) is not Annotated or isinstance(value, Missing):
        return value
    for each in reversed(get_args(annotation)[1:]):  # pydantic's order: the last one first
        if isinstance(each, BeforeValidator):
            try:
                value = each.func(value)  # type: ignore[call-arg]  # ours have no second argument
            except ValueError:
                return value
    return value


def _member(value: Mapping[str, Any], annotation: Any) -> type[BaseModel] | None:
    classes = members(annotation)
    if len(classes) == 1:
        return classes[0]
    return next((member for member in classes if tag_of(value) in names_of(member)), None)
