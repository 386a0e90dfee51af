"""Reading YAML with line numbers, and without YAML's surprises."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from shapeft_tune.errors import ConfigError, Problem

MOST_FIELDS = 100_000
"""Keys and list items of a file, aliases written out. A few lines of aliases in aliases are billions."""


@dataclass(frozen=True)
class YamlFile:
    """A parsed file and the line of every field in it."""

    source: str
    content: Mapping[str, Any]
    lines: Mapping[tuple[str | int, ...], int]

    def line(self, path: tuple[str | int, ...]) -> int | None:
        """Return the line of a field, or of the nearest section around it that is in the file."""
        return next(
            (self.lines[path[:end]] for end in range(len(path), 0, -1) if path[:end] in self.lines), None
        )


def read_yaml(path: Path) -> YamlFile:
    """Parse a file whose top level is a mapping.

    Raises:
        ConfigError: no such file, not YAML, a key twice, not a mapping, or far too long.
    """
    source = str(path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(source, [Problem("file", "a readable YAML file", str(error))]) from error
    try:
        loader = _Loader(text)
    except yaml.YAMLError as error:  # a character that no YAML may hold
        raise ConfigError(source, [Problem("file", "valid YAML", str(error).splitlines()[0])]) from error
    try:
        node = loader.get_single_node()
        if not isinstance(node, yaml.MappingNode):
            raise ConfigError(source, [Problem("file", "a mapping at the top level", "something else")])
        lines = dict(itertools.islice(_lines(node, (), source), MOST_FIELDS + 1))
        if len(lines) > MOST_FIELDS:
            hint = "an alias (*name) counts as often as it is written out"
            raise ConfigError(source, [Problem("file", f"at most {MOST_FIELDS} fields", "more", hint)])
        return YamlFile(source, loader.construct_document(node), lines)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else None
        raise ConfigError(source, [Problem("file", "valid YAML", error.problem or "", line=line)]) from error
    except (
        TypeError,
        ValueError,
        RecursionError,
    ) as error:  # a mapping as a key; 2024-13-01; an anchor in itself
        raise ConfigError(source, [Problem("file", "plain keys and values", str(error))]) from error
    finally:
        loader.dispose()


class _Loader(yaml.SafeLoader):
    """YAML 1.2's numbers and booleans: ``1e-4`` is a number, ``no`` and ``on`` are words."""


_Loader.yaml_implicit_resolvers = {
    first: [
        (tag, regexp)
        for tag, regexp in resolvers
        if tag not in ("tag:yaml.org,2002:bool", "tag:yaml.org,2002:float")
    ]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(r"^(?:true|True|false|False)$"), list("tTfF")
)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))(?:[eE][-+]?[0-9]+)?$|^[-+]?\.(?:inf|nan)$"),
    list("-+0123456789."),
)


def _lines(node: yaml.Node, path: tuple[str | int, ...], source: str) -> Any:
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            here = (*path, str(key.value))
            line = key.start_mark.line + 1
            if key.value in seen:
                where = ".".join(map(str, here))
                raise ConfigError(source, [Problem(where, "each key once", "the key twice", line=line)])
            seen.add(key.value)
            yield here, line
            yield from _lines(value, here, source)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield (*path, index), value.start_mark.line + 1
            yield from _lines(value, (*path, index), source)
