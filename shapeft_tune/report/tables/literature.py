"""Published numbers beside a sweep's own, each with its protocol."""

from __future__ import annotations

from collections.abc import Sequence

from shapeft_tune.report.published import COLUMNS, Published, published_rows
from shapeft_tune.report.tables.layout import Column, Entry, Table, text


def published_table(published: Sequence[Published]) -> Table:
    """Return the numbers of the field."""
    columns = tuple(Column(heading, numeric=heading == "mIoU") for heading in COLUMNS)
    rows = tuple(
        (text(method), Entry(miou, float(miou)), text(mean), text(protocol))
        for method, miou, mean, protocol in published_rows(published)
    )
    notes = (
        "For orientation: the same weights score very differently under other protocols. A number is "
        "comparable with this sweep's only where protocol and mean are the same.",
    )
    return Table("published", "Published numbers on PASTIS", columns, rows, notes)
