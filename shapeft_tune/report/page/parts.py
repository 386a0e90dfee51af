"""What a report's sections are made of, before it is HTML or Markdown."""

from __future__ import annotations

from dataclasses import dataclass

from shapeft_tune.report.figures.pictures import Picture
from shapeft_tune.report.reproduction import Recipe
from shapeft_tune.report.sources import Source
from shapeft_tune.report.tables.layout import Table


@dataclass(frozen=True)
class Words:
    """A paragraph; ``*word*`` is emphasised, and what stands between backticks is code."""

    text: str
    lead: bool = False
    """Whether it is the first thing to read."""
    kind: str = "words"


@dataclass(frozen=True)
class Bullets:
    """A list."""

    items: tuple[str, ...]
    kind: str = "bullets"


@dataclass(frozen=True)
class Told:
    """What is known of one setting: a headline, and sentences behind it."""

    where: str
    headline: str
    details: tuple[str, ...]
    kind: str = "told"


@dataclass(frozen=True)
class Code:
    """Text to copy or to save."""

    text: str
    file: str = ""
    """The name to save it by; empty for commands, which are copied."""
    title: str = ""
    """Where it is long, the line that it folds away behind."""
    kind: str = "code"


@dataclass(frozen=True)
class Pictured:
    """A picture."""

    picture: Picture
    kind: str = "picture"


@dataclass(frozen=True)
class Tabled:
    """A table."""

    table: Table
    kind: str = "table"


@dataclass(frozen=True)
class Recipes:
    """The configurations behind the numbers."""

    recipes: tuple[Recipe, ...]
    kind: str = "recipes"


@dataclass(frozen=True)
class Sources:
    """Publications."""

    sources: tuple[Source, ...]
    kind: str = "sources"


@dataclass(frozen=True)
class Named:
    """Names and their values."""

    items: tuple[tuple[str, str], ...]
    kind: str = "named"


@dataclass(frozen=True)
class Heading:
    """Begins a part of a section."""

    text: str
    anchor: str
    kind: str = "heading"


Part = Words | Bullets | Told | Code | Pictured | Tabled | Recipes | Sources | Named | Heading


@dataclass(frozen=True)
class Section:
    """One section of a report."""

    anchor: str
    title: str
    parts: tuple[Part, ...]
