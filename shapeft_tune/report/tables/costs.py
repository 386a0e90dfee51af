"""Tables of what a sweep took: cell by cell, and what is still missing."""

from __future__ import annotations

from shapeft_tune.report.comparison import CellSummary, Comparison
from shapeft_tune.report.comparison.pareto import in_words
from shapeft_tune.report.tables.layout import (
    NONE,
    Column,
    Entry,
    Table,
    code,
    count,
    device_time,
    place,
    place_columns,
    score,
)
from shapeft_tune.report.tables.rows import BUDGET_LEGEND, FRONT_LEGEND, of_wanted
from shapeft_tune.report.words.device_time import DeviceTime


def costs_table(comparison: Comparison) -> Table | None:
    """Return hours, parameters and steps of every cell with trials; None where there is none."""
    begun = [cell for cell in comparison.cells if cell.device_hours or cell.best_config is not None]
    if not begun:
        return None
    spent = DeviceTime.fitting(cell.device_hours for cell in begun)
    columns = (
        *place_columns(),
        Column(spent.unit, "of all trials of the cell, failed tries too"),
        Column("of one training", "the same, of one training of the best configuration"),
        Column("parameters trained"),
        Column("steps", "optimiser steps of one training of the best configuration"),
        Column("test mIoU"),
    )
    rows = tuple(
        (
            *place(cell.strategy, *cell.setting),
            device_time(spent, cell.device_hours),
            device_time(spent, cell.training_device_hours),
            count(cell.trainable_parameters),
            count(cell.steps),
            score(cell.test_miou_mean),
        )
        for cell in begun
    )
    total = spent.phrase(sum(cell.device_hours for cell in begun))
    notes = (
        f"A device hour is an hour of one GPU, or of one CPU core where a trial has no GPU. All trials "
        f"together took {total}. *of one training*: the mean over the confirmations of the "
        "best configuration, or the search trial's own where there are none yet.",
    )
    return Table("costs", "What every cell took", columns, rows, notes)


def fronts_table(comparison: Comparison) -> Table | None:
    """Return the Pareto front of every cell's search; None where cost was no objective."""
    if not comparison.by_cost:
        return None
    columns = (
        *place_columns(),
        Column("device seconds"),
        Column("val mIoU"),
        Column("configuration", numeric=False),
    )
    rows = tuple(
        (
            *place(cell.strategy, *cell.setting),
            Entry(f"{point.device_seconds:.4g}", point.device_seconds),
            score(point.val_miou),
            code(in_words(point.config)),
        )
        for cell in comparison.cells
        for point in cell.front
    )
    return Table("front", "Pareto front", columns, rows, (FRONT_LEGEND,))


def missing_table(comparison: Comparison) -> Table | None:
    """Return the cells that lack trials or had failures; None where there are none of them."""
    lacking = [cell for cell in comparison.cells if _lacks(cell)]
    if not lacking:
        return None
    columns = (
        *place_columns(),
        Column("trials", "search trials that ended, of those wanted"),
        Column("missing trials"),
        Column("failed", "search trials that failed"),
        Column("retried", "times that a trial was tried again after a fault of the machine"),
        Column("seeds", "confirmations with test scores, of those wanted"),
        Column("missing seeds"),
        Column("failed seeds", "a confirmation failed for good"),
        Column("incomplete seeds", "some folds tested, others not: no score yet"),
    )
    rows = tuple(_missing_row(cell) for cell in lacking)
    notes = (BUDGET_LEGEND,) if any(cell.left_out_trials for cell in lacking) else ()
    return Table("missing", "Cells that lack something", columns, rows, notes)


def _lacks(cell: CellSummary) -> bool:
    missing = cell.missing_search_trials or cell.missing_confirmations or cell.incomplete_seeds
    return bool(missing or cell.left_out_trials or cell.failed_trials or cell.failed_confirmations)


def _missing_row(cell: CellSummary) -> tuple[Entry, ...]:
    trials, seeds = of_wanted(cell)
    return (
        *place(cell.strategy, *cell.setting),
        Entry(trials, cell.search_trials),
        _or_none(cell.missing_search_trials),
        _or_none(cell.failed_trials),
        _or_none(cell.retries),
        Entry(seeds, cell.confirmation_trials),
        _or_none(cell.missing_confirmations),
        _or_none(cell.failed_confirmations),
        _or_none(cell.incomplete_seeds),
    )


def _or_none(number: int) -> Entry:
    return Entry(str(number), number) if number else Entry(NONE, 0)
