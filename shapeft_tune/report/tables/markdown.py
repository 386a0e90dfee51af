"""A table as Markdown."""

from __future__ import annotations

import re

from shapeft_tune.report.tables.layout import Entry, Table

SPECIAL = re.compile(r"([\\|<>`*\[\]])")
"""Characters that would be something else than themselves inside a table of Markdown."""


def table_as_markdown(table: Table) -> str:
    """Lay out a table; columns of words are aligned left, those of numbers right."""
    headings = [plain(column.heading) for column in table.columns]
    rules = ["---:" if column.numeric else "---" for column in table.columns]
    rows = [[_entry(entry) for entry in row] for row in table.rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (headings, rules, *rows))


def _entry(entry: Entry) -> str:
    if entry.code:
        return "`" + entry.text.replace("`", "'").replace("|", "\\|") + "`"
    text = plain(entry.text)
    text = f"**{text}**" if entry.tone == "best" else text
    if entry.also or "(" in entry.detail:
        return ", ".join(filter(None, (text, plain(entry.detail), plain(entry.also))))
    return f"{text} ({plain(entry.detail)})" if entry.detail else text


def plain(text: str) -> str:
    """Return any text so that Markdown shows it as it is, on one line."""
    return SPECIAL.sub(r"\\\1", " ".join(text.split()))
