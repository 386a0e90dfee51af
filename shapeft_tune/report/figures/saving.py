"""Figures as files: PNG, and SVG whose text is text and whose names do not clash inside a page.

The same figure gives the same bytes: nothing is dated, and the names of clip paths and markers are derived
from what they hold and from the picture's name. Every name inside an SVG begins with that name, so that
several of them can stand in one page, where browsers look names up in the page as a whole.
"""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DOTS_PER_INCH = 150
NAMED = re.compile(r'(?P<before>\bid="|(?:xlink:)?href="#|url\(#)(?P<name>[\w.:-]+)')
PATH, LONG_NUMBER = re.compile(r'\bd="[^"]*"'), re.compile(r"\d+\.\d{3,}")
STYLE_OF_ALL = re.compile(r"\s*<defs>\s*<style[^>]*>[^<]*</style>\s*</defs>")
"""matplotlib's rule for every element, which inside a page would hold for all of the page's drawings."""
LINES = 'stroke-linejoin="round" stroke-linecap="butt"'
"""The same rule, for one drawing."""


def as_png(figure: Figure) -> bytes:
    """Return a figure as PNG."""
    file = io.BytesIO()
    figure.savefig(file, dpi=DOTS_PER_INCH, format="png")
    return file.getvalue()


def as_svg(figure: Figure, name: str) -> bytes:
    """Return a figure as an SVG file whose names begin with ``name``, which is the picture's own."""
    import matplotlib as mpl

    file = io.StringIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        figure.savefig(file, format="svg", dpi=DOTS_PER_INCH, metadata={"Date": None, "Creator": None})
    shorter = PATH.sub(lambda path: LONG_NUMBER.sub(_rounded, path[0]), file.getvalue())
    drawing = NAMED.sub(rf"\g<before>{name}-\g<name>", shorter)
    return STYLE_OF_ALL.sub("", drawing, count=1).replace("<svg ", f"<svg {LINES} ", 1).encode()


def _rounded(number: re.Match[str]) -> str:
    """Return a coordinate in points to two digits, which is finer than any screen."""
    return f"{float(number[0]):.2f}"
