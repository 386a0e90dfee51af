"""``report``: the strategies of a sweep are compared."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from shapeft_tune.cli.options import (
    HOME,
    Generation,
    Home,
    Json,
    LedgerUrl,
    SweepFile,
    TrackingUri,
    open_console,
    places_at,
    tracking_at,
)

if TYPE_CHECKING:
    from rich.console import Console

    from shapeft_tune.config import SweepConfig
    from shapeft_tune.config.places import Places


def report(
    file: SweepFile,
    home: Home = HOME,
    tracking_uri: TrackingUri = None,
    ledger: LedgerUrl = None,
    generation: Generation = None,
    as_json: Json = False,
) -> None:
    """Compare the strategies of a sweep: table, heat maps, curves. Works on an unfinished sweep too."""
    from shapeft_tune.config import load_sweep
    from shapeft_tune.report import write_report
    from shapeft_tune.tune.ledger.generations import chosen_generation

    places, uri = places_at(home), tracking_at(home, tracking_uri)
    declared = chosen_generation(load_sweep(file), places, ledger, generation)
    if as_json:
        files = write_report(declared, uri, places.sweep_folder(declared.name) / "report")
        sys.stdout.write(files.json.read_text(encoding="utf-8"))
        return
    print_report(declared, uri, places, open_console())


def print_report(declared: SweepConfig, uri: str, places: Places, console: Console) -> None:
    """Write a report and show its table and findings."""
    from shapeft_tune.report import as_terminal, findings, write_report

    files = write_report(declared, uri, places.sweep_folder(declared.name) / "report")
    console.print(as_terminal(files.comparison))
    for sentence in findings(files.comparison):
        console.print(sentence, highlight=False, soft_wrap=True)
    print(f"Report: {files.markdown}")
