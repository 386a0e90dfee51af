"""The report as files: tables and figures of what the record holds at this moment."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from shapeft_tune.atomic import replacing, write_atomically
from shapeft_tune.config import SweepConfig
from shapeft_tune.errors import TrackingError
from shapeft_tune.report.comparison import Comparison, compare
from shapeft_tune.report.figures.pictures import PICTURES, Picture
from shapeft_tune.report.report import Report, Reproduction
from shapeft_tune.report.runs import read_runs
from shapeft_tune.report.tables import as_csv, as_json, as_markdown
from shapeft_tune.tracking.sweep_run import attach_to_sweep

if TYPE_CHECKING:
    from matplotlib.figure import Figure

logger = logging.getLogger(__name__)

DOTS_PER_INCH = 150


@dataclass(frozen=True)
class ReportFiles:
    """Where the parts of a report are, and the numbers in it."""

    markdown: Path
    csv: Path
    json: Path
    figures: tuple[Path, ...]
    comparison: Comparison


def gather(sweep: SweepConfig, tracking_uri: str) -> Report:
    """Compare the cells of a sweep as recorded so far.

    Args:
        sweep: the cells to report on.
        tracking_uri: the store that the sweep was recorded in.

    Raises:
        TrackingError: the store cannot be read, or nothing of the sweep is in it.
    """
    runs = read_runs(tracking_uri, sweep.name, with_counts=sweep.folds == "rotate")
    return Report(sweep, compare(sweep, runs), (), Reproduction(sweep.name, ()))


def write_report(sweep: SweepConfig, tracking_uri: str, folder: Path) -> ReportFiles:
    """Compare the cells of a sweep as recorded so far; write tables and figures; attach them to its record.

    Args:
        sweep: the cells to report on.
        tracking_uri: the store that the sweep was recorded in.
        folder: made if it is not there; files of an earlier report in it are replaced one by one, each at
            once, so that a page that shows them never sees half of one.

    Raises:
        TrackingError: the store cannot be read, or nothing of the sweep is in it.
    """
    report = gather(sweep, tracking_uri)
    comparison = report.comparison
    (folder / "figures").mkdir(parents=True, exist_ok=True)
    drawn = [(picture, figure) for picture in PICTURES if (figure := picture.draw(report))]
    embedded = _embedded([picture for picture, _ in drawn])
    files = ReportFiles(
        markdown=_replace(folder / "report.md", (as_markdown(comparison) + embedded).encode()),
        csv=_replace(folder / "cells.csv", as_csv(comparison).encode()),
        json=_replace(folder / "report.json", as_json(comparison).encode()),
        figures=tuple(
            path for picture, figure in drawn for path in _draw(folder / "figures" / picture.name, figure)
        ),
        comparison=comparison,
    )
    _attach(tracking_uri, sweep.name, files)
    return files


def _embedded(pictures: Sequence[Picture]) -> str:
    shown = [f"![{picture.caption}](figures/{picture.name}.png)" for picture in pictures]
    return "\n\n".join(["\n## Figures", *shown]) + "\n"


def _draw(path: Path, figure: Figure) -> list[Path]:
    paths = [path.parent / f"{path.name}.{kind}" for kind in ("png", "svg")]
    for path in paths:
        with replacing(path) as file:
            figure.savefig(file, dpi=DOTS_PER_INCH, format=path.suffix[1:])
    return paths


def _replace(path: Path, content: bytes) -> Path:
    write_atomically(path, content)
    return path


def _attach(tracking_uri: str, sweep: str, files: ReportFiles) -> None:
    places = dict.fromkeys((files.markdown, files.csv, files.json), "report")
    places |= dict.fromkeys(files.figures, "report/figures")
    try:
        attach_to_sweep(tracking_uri, sweep, places)
    except TrackingError as error:  # the files are there: a store that takes no files must not lose them
        logger.warning("the report is written but not attached to the record: %s", error)
