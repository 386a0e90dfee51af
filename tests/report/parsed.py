"""A page as its parser sees it: elements, texts, tables."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser

VOID = {"meta", "link", "img", "br", "wbr", "hr", "input"}


@dataclass
class Element:
    """One element of a page."""

    tag: str
    attributes: dict[str, str]
    children: list[Element | str] = field(default_factory=list)

    @property
    def text(self) -> str:
        """Everything that is written in it."""
        return "".join(child if isinstance(child, str) else child.text for child in self.children)

    def all(self, tag: str = "") -> list[Element]:
        """Return the elements inside it, or those of one kind, in the page's order."""
        inner = [child for child in self.children if isinstance(child, Element)]
        found = [each for child in inner for each in (child, *child.all())]
        return [each for each in found if not tag or each.tag == tag]

    def by_id(self, name: str) -> Element:
        """Return the one element of this id."""
        (found,) = [each for each in self.all() if each.attributes.get("id") == name]
        return found


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open = [Element("", {})]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, {name: value or "" for name, value in attrs})
        assert len(element.attributes) == len(attrs), f"<{tag}> has an attribute twice"
        self.open[-1].children.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_endtag(self, tag: str) -> None:
        assert self.open[-1].tag == tag, f"</{tag}> ends <{self.open[-1].tag}>"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        self.open[-1].children.append(data)


def parsed(html: str) -> Element:
    """Return a page's elements, every one of which must be ended where it should be."""
    reader = _Reader()
    reader.feed(html)
    reader.close()
    (root,) = reader.open
    return root


def rows_of(table: Element) -> list[dict[str, Element]]:
    """Return the body's rows, each a cell by the heading of its column; of two of a name, the first."""
    head, body = table.all("thead")[0], table.all("tbody")[0]
    headings = [cell.text.strip() for cell in head.all("th")]
    rows = []
    for row in body.all("tr"):
        cells = [each for each in row.children if isinstance(each, Element)]
        assert len(cells) == len(headings)
        rows.append(dict(reversed(list(zip(headings, cells, strict=True)))))
    return rows
