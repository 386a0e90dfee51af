"""Two sweeps, or two generations of one, side by side: what came out otherwise, and what was declared so."""

from shapeft_tune.report.side_by_side.findings import side_by_side_findings
from shapeft_tune.report.side_by_side.sides import Side, SideBySide, read_side, side_by_side, side_of
from shapeft_tune.report.side_by_side.terminal import as_terminal
from shapeft_tune.report.side_by_side.write import SideBySideFiles, folder_name, write_side_by_side

__all__ = [
    "Side",
    "SideBySide",
    "SideBySideFiles",
    "as_terminal",
    "folder_name",
    "read_side",
    "side_by_side",
    "side_by_side_findings",
    "side_of",
    "write_side_by_side",
]
