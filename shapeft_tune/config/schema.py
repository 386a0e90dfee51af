"""The JSON schema of a sweep file, by which editors complete and check it while it is written."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, get_args, get_origin

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, models_json_schema
from pydantic_core import core_schema

from shapeft_tune.config.fields import TrialField, known_fields, members, names_of
from shapeft_tune.config.range_checks import NOT_SEARCHED, overlap
from shapeft_tune.config.ranges import KINDS
from shapeft_tune.config.sweep import SweepConfig
from shapeft_tune.config.trial import TrialConfig

DIALECT = "https://json-schema.org/draft/2020-12/schema"
BACKBONE = r"^timm:[a-z0-9_.]+$"
"""``name: timm:resnet18`` stands for a name and a backbone."""
Schema = dict[str, Any]


def sweep_schema() -> Schema:
    """Return the schema of a sweep file.

    A part of a trial may lack any field, as another part may have it. What only all parts together decide,
    such as rules between fields, is checked by ``plan``.
    """
    _, schema = models_json_schema(
        [(SweepConfig, "validation"), (TrialConfig, "validation")],
        by_alias=True,
        schema_generator=_WithShortForms,
    )
    definitions = schema["$defs"]
    owners: set[type[BaseModel]] = {field.owner for field in _all_fields()}
    for kind in owners | _nested():
        definitions[kind.__name__].pop("required", None)
    _let_backbones_be_named(definitions["Timm"]["properties"])
    augmentation = definitions["DataConfig"]["properties"]["augmentation"]
    augmentation["anyOf"] = [{"enum": ["none", "flips_and_rotations"]}, {"$ref": augmentation.pop("$ref")}]
    sweep = definitions.pop("SweepConfig")
    for part, config in ((sweep, "base"), (definitions["Strategy"], "config")):
        properties = part["properties"]
        properties[config] = {"$ref": "#/$defs/TrialConfig", "description": properties[config]["description"]}
        properties["search"] = {"$ref": "#/$defs/Ranges", "description": properties["search"]["description"]}
    definitions["Range"] = {"anyOf": [{"$ref": f"#/$defs/{kind.__name__}"} for kind in KINDS.values()]}
    definitions["Ranges"] = _ranges()
    tidy: Schema = _tidy({"$schema": DIALECT, **sweep, "$defs": dict(sorted(definitions.items()))})
    return tidy


class _WithShortForms(GenerateJsonSchema):
    """Lets a name stand for a section, and a section be there in part."""

    def tagged_union_schema(self, schema: core_schema.TaggedUnionSchema) -> Schema:
        made = super().tagged_union_schema(schema)
        options = list(made["oneOf"])
        if schema["discriminator"] in ("name", "mode"):  # others tell kinds apart that have no names
            options.insert(0, {"enum": [str(tag) for tag in schema["choices"]]})
        return {"anyOf": options}


def _all_fields() -> Iterator[TrialField]:
    for fields in known_fields().values():
        yield from fields


def _nested() -> set[type[BaseModel]]:
    """Return the classes that stand in lists only, so that no dotted path leads to them."""
    lists = (field.annotation for field in _all_fields() if get_origin(field.annotation) is tuple)
    return {member for each in lists for part in get_args(each) for member in members(part)}


def _let_backbones_be_named(properties: Schema) -> None:
    properties["name"] = {**properties["name"], "anyOf": [{"const": "timm"}, {"pattern": BACKBONE}]}
    properties["name"].pop("const", None)


def _ranges() -> Schema:
    """Return the schema of ``search``: ranges beside the fields that may have one, and groups."""
    searchable = {
        path: fields
        for path, fields in known_fields().items()
        if not any(overlap(path, kept) for kept in NOT_SEARCHED)
    }
    return {
        "type": "object",
        "properties": {path: _range_of(fields) for path, fields in searchable.items()},
        "additionalProperties": {"$ref": "#/$defs/Group"},
    }


def _range_of(fields: tuple[TrialField, ...]) -> Schema:
    plain = [{"$ref": f"#/$defs/{field.owner.__name__}/properties/{field.key}"} for field in fields]
    described: Schema = {"anyOf": [{"$ref": "#/$defs/Range"}, *plain]}
    texts: dict[str, list[str]] = {}
    for field in fields:
        if field.info.description:
            texts.setdefault(field.info.description, []).extend(names_of(field.owner))
    if texts:
        of_members = [f"{', '.join(names)}: {text}" for text, names in texts.items()]
        described["description"] = "\n".join(of_members if len(texts) > 1 else texts)
    defaults = [_json(field.info.default) for field in fields if not field.info.is_required()]
    if len(defaults) == len(fields) and all(default == defaults[0] for default in defaults):
        described["default"] = defaults[0]
    return described


def _json(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    return list(value) if isinstance(value, tuple) else value


def _tidy(part: Any) -> Any:
    """Return a schema without what only pydantic reads, its texts as running sentences."""
    if isinstance(part, list):
        return [_tidy(each) for each in part]
    if not isinstance(part, Mapping):
        return part
    tidy = {key: _tidy(value) for key, value in part.items() if key != "discriminator"}
    if isinstance(tidy.get("title"), str):
        del tidy["title"]
    if isinstance(text := part.get("description"), str):
        tidy["description"] = re.sub(r"\s+", " ", text.replace("``", "`")).strip()
    return tidy
