"""A report as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath

from shapeft_tune.report.figures.pictures import Picture
from shapeft_tune.report.page.contents import contents
from shapeft_tune.report.page.parts import (
    Bullets,
    Code,
    Heading,
    Named,
    Part,
    Pictured,
    Recipes,
    Sources,
    Tabled,
    Told,
    Words,
)
from shapeft_tune.report.report import Report
from shapeft_tune.report.reproduction import Recipe
from shapeft_tune.report.tables.layout import Column, Entry, Table, code, place, place_columns, score
from shapeft_tune.report.tables.markdown import plain, table_as_markdown


def as_markdown(report: Report, pictures: Mapping[Picture, PurePosixPath] | None = None) -> str:
    """Return the same that the page tells.

    Args:
        report: what is told.
        pictures: where each picture that was drawn lies, seen from the file with this text.
    """
    places = {} if pictures is None else {picture.name: path for picture, path in pictures.items()}
    lines = [f"# {plain(report.comparison.sweep)}", plain(report.comparison.question)]
    for section in contents(report, tuple(pictures or ())):
        lines.append(f"## {section.title}")
        for part in section.parts:
            lines += _part(part, places)
    return "\n\n".join(line for line in lines if line) + "\n"


def _part(part: Part, places: Mapping[str, PurePosixPath]) -> Iterable[str]:
    match part:
        case Heading(text):
            return [f"### {text}"]
        case Words(text):
            return [text]
        case Bullets(items):
            return ["\n".join(f"- {item}" for item in items)]
        case Told(where, headline, details):
            return [f"**{where}**: {headline} {' '.join(details)}"]
        case Code(text):
            return [f"```\n{text.rstrip()}\n```"]
        case Tabled(table):
            return _captioned(table)
        case Pictured(picture):
            return [f"![{plain(picture.caption)}]({places[picture.name]})"]
        case Recipes(recipes):
            return _captioned(repeats_table(recipes))
        case Sources(sources):
            return [
                "\n".join(f"{number}. {each.text} <{each.address}>" for number, each in enumerate(sources, 1))
            ]
        case Named(items):
            return ["\n".join(f"- {plain(name)}: {plain(value)}" for name, value in items)]


def _captioned(table: Table) -> list[str]:
    return [f"**{plain(table.caption)}**", table_as_markdown(table), *table.notes]


def repeats_table(recipes: Iterable[Recipe]) -> Table:
    """Return every training behind a test score, with the fingerprint of its configuration."""
    columns = (
        *place_columns(),
        Column("seed"),
        Column("test folds"),
        Column("test mIoU"),
        Column("fingerprint", numeric=False),
    )
    rows = tuple(
        (
            *place(recipe.strategy, recipe.label_fraction, recipe.temporal_length),
            Entry(str(repeat.seed), repeat.seed),
            Entry(repeat.test_folds, repeat.test_folds),
            score(repeat.test_miou),
            code(repeat.fingerprint),
        )
        for recipe in recipes
        for repeat in recipe.repeats
    )
    return Table("repeats", "The trainings behind the test scores", columns, rows)
