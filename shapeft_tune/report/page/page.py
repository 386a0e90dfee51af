"""A report as one HTML page that needs nothing else: style, script and pictures are inside it."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from shapeft_tune.report.figures.pictures import Picture
from shapeft_tune.report.page.contents import contents
from shapeft_tune.report.page.parts import Section
from shapeft_tune.report.report import Report
from shapeft_tune.report.reproduction import config_text, train_commands
from shapeft_tune.report.tables.layout import device_time
from shapeft_tune.report.words.device_time import DeviceTime
from shapeft_tune.report.words.phrases import counted

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATE, STYLE, SCRIPT = "page.html.j2", "page.css", "page.js"
PIXELS_PER_POINT = 96 / 72
WIDEST_SHRUNK = 500
"""Pixels of a picture whose letters can still be read where it is made as narrow as a telephone; one that is
wider is cut there, and scrolls."""
LONGEST_PIECE = 14
"""Letters of a name that stay on one line on a narrow screen."""


@dataclass(frozen=True)
class Head:
    """What stands above a page's sections, and below them."""

    kind: str
    """What the page is: ``Report of a sweep``."""
    title: str
    question: str
    facts: tuple[tuple[str, str], ...]
    """What a reader wants to know before any result, by name."""
    unfinished: bool
    """Whether trials are still to come."""
    written: datetime | None


def as_html(report: Report, svgs: Mapping[Picture, str] | None = None) -> str:
    """Return the page.

    Args:
        report: what is told.
        svgs: the pictures that were drawn, as for :func:`page`.
    """
    head = Head(
        "Report of a sweep",
        report.comparison.sweep,
        report.comparison.question,
        tuple(facts(report)),
        report.comparison.is_unfinished,
        report.written,
    )
    return page(head, contents(report, tuple(svgs or ())), svgs)


def page(head: Head, sections: Sequence[Section], svgs: Mapping[Picture, str] | None = None) -> str:
    """Return sections as a page.

    Args:
        head: what stands around them.
        sections: what is told.
        svgs: the pictures in them. They are put in as images, so that names inside one cannot meet those of
            another, and nothing that is in one can run.
    """
    svgs = svgs or {}
    style, script = _asset(STYLE), _asset(SCRIPT)
    return (
        _environment()
        .get_template(TEMPLATE)
        .render(
            head=head,
            sections=sections,
            images={picture.name: _data_uri(svg) for picture, svg in svgs.items()},
            widths={picture.name: _width(svg) for picture, svg in svgs.items()},
            widest_shrunk=WIDEST_SHRUNK,
            style=style,
            script=script,
            style_digest=_digest(style),
            script_digest=_digest(script),
        )
    )


def facts(report: Report) -> Iterable[tuple[str, str]]:
    """Yield what a reader wants to know of a sweep before its results, by name."""
    comparison = report.comparison
    cells = comparison.cells
    yield "strategies", str(len(comparison.strategies))
    yield "settings", str(len(comparison.settings))
    yield "cells tested", f"{sum(cell.is_tested for cell in cells)} of {len(cells)}"
    yield "search trials", str(sum(cell.search_trials for cell in cells))
    yield "seeds per cell", str(report.sweep.budget.confirmation_seeds)
    total = sum(cell.device_hours for cell in cells)
    spent = DeviceTime.fitting([total])
    yield spent.unit, device_time(spent, total).text


def inline(text: str) -> Any:
    """Return a text as HTML: ``*word*`` emphasised, what stands between backticks as code, else as it is."""
    from markupsafe import Markup, escape

    html = str(escape(text))
    html = re.sub(r"`([^`]+)`", r"<code>\1</code>", html)
    html = re.sub(r"(?<![\w*])\*([^*\s][^*]*?)\*(?![\w*])", r"<em>\1</em>", html)
    html = re.sub(r"\[([^\]]+)\]\(#([a-z0-9-]+)\)", r'<a href="#\2">\1</a>', html)
    return Markup(html)


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    environment = Environment(
        autoescape=True,
        loader=FunctionLoader(_asset),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "inline": inline,
        "config_text": config_text,
        "breakable": breakable,
        "compact": _compact,
    }
    environment.globals |= {"train_commands": train_commands, "counted": counted}
    return environment


def breakable(name: str) -> Any:
    """Return a name that may be broken where its parts meet, or else after some letters."""
    from markupsafe import Markup, escape

    pieces = re.findall(rf"[^_.\-]{{1,{LONGEST_PIECE}}}[_.\-]*|[_.\-]+", name)
    return Markup("<wbr>").join(map(escape, pieces))


def _asset(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    """Return what the page's own policy knows its style and script by."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _data_uri(svg: str) -> Any:
    """Return a picture as an address that an attribute between double quotes can hold.

    Only what an address or the attribute would take for something else is escaped: a third smaller than
    base64, of pages that are mostly pictures.
    """
    from markupsafe import Markup

    escaped = re.sub('[%#&"]', lambda found: f"%{ord(found.group()):02X}", " ".join(svg.split()))
    return Markup("data:image/svg+xml;charset=utf-8," + escaped)


def _width(svg: str) -> int:
    """Return the width of a picture in pixels, as matplotlib writes it; a page's width where it does not."""
    found = re.search(r'<svg[^>]*?\swidth="([\d.]+)pt"', svg)
    return round(float(found.group(1)) * PIXELS_PER_POINT) if found else 900


def _compact(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), sort_keys=True)
