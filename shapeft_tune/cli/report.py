"""``report``: the strategies of a sweep are compared, or two sweeps with each other."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from shapeft_tune.cli.options import (
    HOME,
    Generation,
    Home,
    Json,
    LedgerUrl,
    TrackingUri,
    open_console,
    places_at,
    tracking_at,
)
from shapeft_tune.errors import UserError

if TYPE_CHECKING:
    from rich.console import Console

    from shapeft_tune.config import SweepConfig
    from shapeft_tune.config.places import Places
    from shapeft_tune.report import ReportFiles

TRIALS = "trials"
"""Folder in a sweep's folder that has the files of its trials."""

File = Annotated[
    Path,
    typer.Argument(
        metavar="FILE", help="Sweep file (YAML). Its newest generation, or as mine.yaml+2 its second one."
    ),
]
Other = Annotated[
    Path | None,
    typer.Argument(
        metavar="OTHER", help="A second sweep file or generation, to set beside FILE.", show_default=False
    ),
]
Baseline = Annotated[
    str | None,
    typer.Option(
        metavar="STRATEGY",
        help="The strategy that all others are held against.",
        show_default="U-TAE from scratch, or else the first",
    ),
]
Published = Annotated[
    bool,
    typer.Option("--published", help="Show published numbers of the field too, each with its protocol."),
]


def report(
    file: File,
    other: Other = None,
    baseline: Baseline = None,
    published: Published = False,
    home: Home = HOME,
    tracking_uri: TrackingUri = None,
    ledger: LedgerUrl = None,
    generation: Generation = None,
    as_json: Json = False,
) -> None:
    """Say which strategy is best in each setting, by how much, how surely, at what cost.

    Prints the table and the findings, and writes one HTML page with all of it;
    beside it the same as Markdown, CSV, JSON and LaTeX, and every figure. Works
    on an unfinished sweep, also while it runs, and says what is missing.

    With OTHER, two sweeps or two generations of one are set side by side: every
    cell that both have, with the difference and whether it is more than chance,
    and what the two declare otherwise.

    Examples:
      report mine.yaml                           what came out so far
      report mine.yaml --baseline croma_frozen   held against another strategy
      report mine.yaml --published               beside numbers from papers
      report mine.yaml+1 mine.yaml+2             what a new generation changed
      report few_labels.yaml mine.yaml --json    two sweeps, for a script
    """
    places, uri = places_at(home), tracking_at(home, tracking_uri)
    if other is not None:
        if baseline or published or generation:
            given = [
                name
                for name, value in (
                    ("--baseline", baseline),
                    ("--published", published),
                    ("--generation", generation),
                )
                if value
            ]
            raise UserError(
                f"report FILE OTHER: expected none of {', '.join(given)} - leave it out; a generation is "
                f"written FILE+N, such as {_split(file)[0].name}+2"
            )
        a, b = (_declared(path, places, ledger) for path in (file, other))
        _print_side_by_side(a, b, uri, places, as_json)
        return
    declared = _declared(file, places, ledger, generation)
    if as_json:
        files = _written(declared, uri, places, baseline, published)
        sys.stdout.write(files.json.read_text(encoding="utf-8"))
    else:
        print_report(declared, uri, places, open_console(), baseline=baseline, published=published)


def print_report(
    declared: SweepConfig,
    uri: str,
    places: Places,
    console: Console,
    baseline: str | None = None,
    published: bool = False,
) -> None:
    """Write a report; show its table, its findings, and where it is."""
    from shapeft_tune.report import as_terminal, findings
    from shapeft_tune.report.published import NONE_KNOWN, published_for
    from shapeft_tune.report.words.gaps import on_their_way

    files = _written(declared, uri, places, baseline, published)
    console.print(as_terminal(files.comparison))
    for sentence in findings(files.comparison):
        console.print(sentence, highlight=False, soft_wrap=True, markup=False)
    if files.report.driver:
        print(on_their_way(files.report.driver))
    if published and not published_for(declared):
        print(f"Published numbers: {NONE_KNOWN}")
    print(f"Report: {files.html}")
    print(f"As text and tables: {files.markdown}")


def _written(
    declared: SweepConfig, uri: str, places: Places, baseline: str | None, published: bool
) -> ReportFiles:
    from shapeft_tune.report import write_report

    return write_report(
        declared,
        uri,
        _report_folder(declared, places),
        trials_folder=_trials_folder(declared, places),
        baseline=baseline,
        published=published,
    )


def _print_side_by_side(a: SweepConfig, b: SweepConfig, uri: str, places: Places, as_json: bool) -> None:
    from shapeft_tune.report.side_by_side import (
        as_terminal,
        folder_name,
        read_side,
        side_by_side,
        side_by_side_findings,
        write_side_by_side,
    )

    if a.name == b.name:
        raise UserError(
            f"report FILE OTHER: expected two sweeps or two generations; got {a.name} twice - an earlier "
            "generation is written FILE+N, such as mine.yaml+1"
        )
    found = side_by_side(*(read_side(side, uri, _trials_folder(side, places)) for side in (a, b)))
    files = write_side_by_side(found, _report_folder(a, places) / folder_name(b.name))
    if as_json:
        sys.stdout.write(files.json.read_text(encoding="utf-8"))
        return
    console = open_console()
    if found.pairs:
        console.print(as_terminal(found))
    for sentence in side_by_side_findings(found):
        console.print(sentence, highlight=False, soft_wrap=True, markup=False)
    print(f"Report: {files.html}")
    print(f"As text and tables: {files.markdown}")


def _declared(file: Path, places: Places, ledger: str | None, generation: int | None = None) -> SweepConfig:
    """Return the sweep of a file, or of one of its generations: ``mine.yaml+2``."""
    from shapeft_tune.config import load_sweep
    from shapeft_tune.tune.declared import declared_generation

    path, number = _split(file)
    if number is not None and generation is not None:
        raise UserError(f"report: expected {file} or --generation {generation}; got both - leave one out")
    if number == 0:
        raise UserError(f"{file}: expected a generation from 1 on; got 0 - the first is {path.name}+1")
    return declared_generation(load_sweep(path), places, ledger, generation if number is None else number)


def _split(file: Path) -> tuple[Path, int | None]:
    """Return a sweep file and the generation behind it: of ``mine.yaml+2``, ``mine.yaml`` and 2."""
    found = None if file.exists() else re.fullmatch(r"(.+)\+([0-9]+)", str(file))
    return (Path(found[1]), int(found[2])) if found else (file, None)


def _report_folder(declared: SweepConfig, places: Places) -> Path:
    return places.sweep_folder(declared.name) / "report"


def _trials_folder(declared: SweepConfig, places: Places) -> Path:
    return places.sweep_folder(declared.name) / TRIALS
