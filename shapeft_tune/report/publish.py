"""A report's results in the record, where MLflow's own pages show them."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

from shapeft_tune.errors import TrackingError
from shapeft_tune.report.comparison import CellSummary, Comparison
from shapeft_tune.report.figures.style import COLOURS
from shapeft_tune.report.note import note_of
from shapeft_tune.report.report import Report
from shapeft_tune.tracking.publishing.curves import LISTED_BY
from shapeft_tune.tracking.publishing.publication import publish
from shapeft_tune.tracking.publishing.results import CellPublication, Curve, SweepPublication, Winner
from shapeft_tune.tracking.publishing.views import TEST_MIOU, map_metric
from shapeft_tune.tracking.wire import value_text
from shapeft_tune.tune.orders import trial_folder

logger = logging.getLogger(__name__)

PAGES = ("report.html", "report.md")
"""Names of the file that a reader wants first, the best one first."""
BEST_FILE = "best.pt"
"""A trial's weights, in its folder."""


def publish_report(
    report: Report, tracking_uri: str, files: Mapping[Path, str], sweep_folder: Path | None = None
) -> None:
    """Write a report's results into the record it was made from; a store that refuses them loses no file.

    Args:
        report: what to write.
        tracking_uri: the store.
        files: the report's files, each with the folder among the artifacts that it goes to.
        sweep_folder: where the sweep's trials lie on this machine, with the weights of winners.
    """
    try:
        publish(tracking_uri, publication_of(report, files, sweep_folder))
    except TrackingError as error:
        logger.warning("the report is written but not attached to the record: %s", error)


def publication_of(report: Report, files: Mapping[Path, str], sweep_folder: Path | None) -> SweepPublication:
    """Return what the record is told."""
    comparison = report.comparison
    pages = [f"{folder}/{path.name}" for name in PAGES for path, folder in files.items() if path.name == name]
    return SweepPublication(
        sweep=comparison.sweep,
        note=note_of(report),
        cells=tuple(_cell(cell, comparison, sweep_folder) for cell in comparison.cells),
        curves=curves_of(comparison),
        files=files,
        page=pages[0] if pages else "",
    )


def metrics_of(cell: CellSummary) -> dict[str, float]:
    """Return a cell's numbers by their names in the record; those that are not known are left out."""
    numbers = {
        TEST_MIOU: cell.test_miou_mean,
        LISTED_BY: cell.test_miou_mean,
        map_metric(cell.strategy): cell.test_miou_mean,
        "result/test_miou_low": cell.test_miou_low,
        "result/test_miou_high": cell.test_miou_high,
        "result/test_miou_seed20": cell.test_miou_seed20_mean,
        "result/val_miou": cell.val_miou_best,
        "result/device_hours": cell.device_hours,
        "result/trainable_parameters": cell.trainable_parameters,
    }
    return {name: float(value) for name, value in numbers.items() if value is not None}


def curves_of(comparison: Comparison) -> tuple[Curve, ...]:
    """Return test mIoU over labels, for every strategy and number of dates with two tested cells or more."""
    lines: dict[tuple[str, int], list[CellSummary]] = {}
    for cell in comparison.cells:
        if cell.test_miou_mean is not None:
            lines.setdefault((cell.strategy, cell.temporal_length), []).append(cell)
    return tuple(
        Curve(
            strategy,
            dates,
            {cell.label_fraction: cell.test_miou_mean for cell in cells if cell.test_miou_mean is not None},
            colour_of(cells[0], comparison),
        )
        for (strategy, dates), cells in lines.items()
        if len(cells) > 1
    )


def colour_of(cell: CellSummary, comparison: Comparison) -> str:
    """Return the colour of a cell in MLflow: its strategy's in the figures, paler with fewer dates."""
    colour = COLOURS[comparison.strategies.index(cell.strategy) % len(COLOURS)]
    lengths = comparison.temporal_lengths
    white = 0.6 * (1 - (lengths.index(cell.temporal_length) + 1) / len(lengths))
    parts = [int(colour[at : at + 2], 16) for at in (1, 3, 5)]
    return "#" + "".join(f"{round(part + white * (255 - part)):02x}" for part in parts)


def _cell(cell: CellSummary, comparison: Comparison, sweep_folder: Path | None) -> CellPublication:
    return CellPublication(
        cell.strategy,
        cell.label_fraction,
        cell.temporal_length,
        metrics_of(cell),
        colour_of(cell, comparison),
        _winner(cell, sweep_folder) if cell.best_fingerprint and cell.best_trial else None,
    )


def _winner(cell: CellSummary, sweep_folder: Path | None) -> Winner:
    folder = trial_folder(sweep_folder, cell.strategy, cell.best_fingerprint) if sweep_folder else None
    return Winner(
        cell.best_fingerprint,
        dict(cell.best_trial or {}),
        {path: value_text(value) for path, value in (cell.best_config or {}).items()},
        folder / BEST_FILE if folder else None,
    )
