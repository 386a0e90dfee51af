"""The report as files: a page, tables and figures of what the record holds at this moment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from shapeft_tune.atomic import write_atomically
from shapeft_tune.config import SweepConfig
from shapeft_tune.report.comparison import Comparison
from shapeft_tune.report.figures.pictures import PICTURES, Picture
from shapeft_tune.report.figures.saving import as_png, as_svg
from shapeft_tune.report.page import as_html, as_markdown
from shapeft_tune.report.publish import publish_report
from shapeft_tune.report.report import Report, report_of
from shapeft_tune.report.runs import read_runs
from shapeft_tune.report.tables import as_csv, as_json, differences_as_csv, latex_tables
from shapeft_tune.tune.ledger.lock import driver_of


@dataclass(frozen=True)
class ReportFiles:
    """Where the parts of a report are, and what is in it."""

    html: Path
    """The whole report as one page that needs no other file."""
    markdown: Path
    json: Path
    csv: Path
    """A line for each cell."""
    differences: Path
    """A line for each strategy and setting that is compared with the baseline, as CSV."""
    latex: tuple[Path, ...]
    figures: tuple[Path, ...]
    """PNG and SVG of each."""
    report: Report

    @property
    def comparison(self) -> Comparison:
        """The numbers in it."""
        return self.report.comparison

    def placed_in(self, folder: str) -> dict[Path, str]:
        """Return every file with the folder that it goes to where it is attached, below the one given."""
        beside = (self.html, self.markdown, self.json, self.csv, self.differences)
        below = {path: f"{folder}/{path.parent.name}" for path in (*self.latex, *self.figures)}
        return dict.fromkeys(beside, folder) | below


def gather(
    sweep: SweepConfig,
    tracking_uri: str,
    *,
    trials_folder: Path | None = None,
    baseline: str | None = None,
    published: bool = False,
) -> Report:
    """Compare the cells of a sweep as recorded so far.

    Args:
        sweep: the cells to report on.
        tracking_uri: the store that the sweep was recorded in.
        trials_folder: ``HOME/<sweep>/trials``, if here: their files need not be fetched then.
        baseline: the strategy that others are compared with.
        published: whether published numbers of the field are shown too.

    Raises:
        TrackingError: the store cannot be read, or nothing of the sweep is in it.
        UserError: the baseline is no strategy of the sweep.
    """
    driver = driver_of(trials_folder.parent) if trials_folder else None  # before what it records is read
    runs = read_runs(tracking_uri, sweep.name, trials_folder, with_patches=True)
    return report_of(sweep, runs, baseline=baseline, published=published, driver=driver or "")


def write_report(
    sweep: SweepConfig,
    tracking_uri: str,
    folder: Path,
    *,
    trials_folder: Path | None = None,
    baseline: str | None = None,
    published: bool = False,
) -> ReportFiles:
    """Compare the cells of a sweep as recorded so far; write page, tables, figures; attach all to its record.

    Args:
        sweep: the cells to report on.
        tracking_uri: the store that the sweep was recorded in.
        folder: made if it is not there; files of an earlier report in it are replaced one by one, each at
            once, so that a page that shows them never sees half of one.
        trials_folder: as for :func:`gather`, like those that follow.
        baseline: the strategy that others are compared with.
        published: whether published numbers of the field are shown too.

    Raises:
        TrackingError: the store cannot be read, or nothing of the sweep is in it.
        UserError: the baseline is no strategy of the sweep.
    """
    report = gather(sweep, tracking_uri, trials_folder=trials_folder, baseline=baseline, published=published)
    files = write_files(report, folder)
    sweep_folder = trials_folder.parent if trials_folder else None
    publish_report(report, tracking_uri, files.placed_in("report"), sweep_folder)
    return files


def write_files(report: Report, folder: Path) -> ReportFiles:
    """Write page, tables and figures of a report into a folder, which is made if it is not there."""
    drawn = {picture: figure for picture in PICTURES if (figure := picture.draw(report))}
    svgs = {picture: as_svg(figure, picture.name) for picture, figure in drawn.items()}
    for figure in drawn.values():
        figure.set_layout_engine("none")  # all is in its place, and finding it takes most of the time
    pngs = {picture: as_png(figure) for picture, figure in drawn.items()}
    places = {picture: PurePosixPath("figures", f"{picture.name}.png") for picture in drawn}
    texts = {picture: svg.decode() for picture, svg in svgs.items()}
    comparison = report.comparison
    return ReportFiles(
        html=_write(folder / "report.html", as_html(report, texts)),
        markdown=_write(folder / "report.md", as_markdown(report, places)),
        json=_write(folder / "report.json", as_json(report)),
        csv=_write(folder / "cells.csv", as_csv(comparison)),
        differences=_write(folder / "differences.csv", differences_as_csv(comparison)),
        latex=tuple(
            _write(folder / "latex" / f"{name}.tex", text) for name, text in latex_tables(comparison).items()
        ),
        figures=_figures(folder / "figures", pngs, svgs),
        report=report,
    )


def _figures(folder: Path, pngs: Mapping[Picture, bytes], svgs: Mapping[Picture, bytes]) -> tuple[Path, ...]:
    return tuple(
        _write(folder / f"{picture.name}.{kind}", images[picture])
        for picture in pngs
        for kind, images in (("png", pngs), ("svg", svgs))
    )


def _write(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, content if isinstance(content, bytes) else content.encode())
    return path
