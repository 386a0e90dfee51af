"""Tables of scores: every cell in one line, every setting in one square, every class."""

from __future__ import annotations

from shapeft_tune.report.comparison import CellSummary, ClassScore, Comparison
from shapeft_tune.report.tables.layout import (
    NONE,
    Column,
    Entry,
    Table,
    count,
    interval_text,
    place,
    place_columns,
    score,
    share,
)
from shapeft_tune.report.tables.rows import (
    BUDGET_LEGEND,
    LEGEND,
    ROTATED_LEGEND,
    SEEDS_ALONE,
    SEEDS_ALONE_LEGEND,
    of_wanted,
)
from shapeft_tune.report.words.device_time import DeviceTime

RESULTS_COLUMNS = (
    *place_columns(),
    Column("test mIoU", "mean over the seeds on the test folds"),
    Column("95 % interval", "of the test mIoU"),
    Column("mIoU/20", "mean over one class more, void counted as 0"),
    Column("macro F1", "mean F1 over the classes that occur"),
    Column("accuracy", "share of the pixels that are right"),
    Column("val mIoU", "best search trial on the validation folds"),
    Column("seeds", "confirmations with test scores, of those wanted"),
    Column("trials", "search trials that ended, of those wanted"),
    Column("pruned", "search trials stopped early"),
    Column("failed", "search trials that failed"),
    Column("retried", "times that a trial was tried again after a fault of the machine"),
)


def results_table(comparison: Comparison) -> Table:
    """Return a line for every cell, the best test score of each setting marked."""
    name, version = comparison.metric or ("miou", "?")
    notes = [f"{LEGEND} Metric: {name}, version {version}. Bold: the best test mIoU of its setting."]
    notes += [SEEDS_ALONE_LEGEND] if any(map(_mark, comparison.cells)) else []
    notes += [BUDGET_LEGEND] if any(cell.left_out_trials for cell in comparison.cells) else []
    notes += [ROTATED_LEGEND] if comparison.rotated else []
    rows = tuple(_result_row(cell, comparison) for cell in comparison.cells)
    return Table("results", "Scores of every cell", RESULTS_COLUMNS, rows, tuple(notes))


def is_best(cell: CellSummary, comparison: Comparison) -> bool:
    """Whether no other strategy has a better mean test mIoU in the same setting."""
    rivals = [other.test_miou_mean or 0.0 for other in comparison.cells if other.setting == cell.setting]
    return cell.test_miou_mean is not None and cell.test_miou_mean >= max(rivals)


def _result_row(cell: CellSummary, comparison: Comparison) -> tuple[Entry, ...]:
    interval = interval_text(cell.test_miou_low, cell.test_miou_high)
    trials, seeds = of_wanted(cell)
    return (
        *place(cell.strategy, *cell.setting),
        score(cell.test_miou_mean, "best" if is_best(cell, comparison) else ""),
        Entry(interval + _mark(cell), cell.test_miou_low) if interval else Entry(NONE),
        score(cell.test_miou_seed20_mean),
        score(cell.test_macro_f1_mean),
        score(cell.test_overall_accuracy_mean),
        score(cell.val_miou_best),
        Entry(seeds, cell.confirmation_trials),
        Entry(trials, cell.search_trials),
        count(cell.pruned_trials),
        count(cell.failed_trials),
        count(cell.retries),
    )


def _mark(cell: CellSummary) -> str:
    return SEEDS_ALONE if cell.interval_over == "seeds" else ""


def best_map(comparison: Comparison) -> Table | None:
    """Return the best strategy of every setting, labels down and dates across; None before any test.

    Where a cheaper strategy is not told apart from the best, it is named too.
    """
    if not comparison.recommendations:
        return None
    columns = (
        Column("labels"),
        *(Column(f"{dates} date{'s' if dates > 1 else ''}") for dates in comparison.temporal_lengths),
    )
    spent = DeviceTime.fitting(cell.training_device_hours for cell in comparison.cells)
    rows = tuple(
        (
            share(labels),
            *(_best_entry(comparison, labels, dates, spent) for dates in comparison.temporal_lengths),
        )
        for labels in reversed(comparison.label_fractions)
    )
    cheaper = any(each.cheapest != each.best for each in comparison.recommendations)
    notes = [
        "With the name: its test mIoU, the 95 % interval of that, and what one training of its best "
        f"configuration takes ({spent.symbol}: {spent.unit})."
    ]
    notes += ["*or*: the cheapest strategy that is not told apart from the best."] if cheaper else []
    return Table("best", "The best strategy of every setting", columns, rows, tuple(notes), sortable=False)


def _best_entry(comparison: Comparison, labels: float, dates: int, spent: DeviceTime) -> Entry:
    found = [each for each in comparison.recommendations if each.setting == (labels, dates)]
    if not found:
        return Entry(NONE, tone="quiet")
    best = comparison.cell(found[0].best, labels, dates)
    interval = interval_text(best.test_miou_low, best.test_miou_high)
    detail = f"{best.test_miou_mean:.3f}" + (f" ({interval})" if interval else "") + _cost(best, spent)
    cheapest = comparison.cell(found[0].cheapest, labels, dates)
    also = f"or {cheapest.strategy}{_cost(cheapest, spent)}" if cheapest is not best else ""
    return Entry(best.strategy, best.test_miou_mean, detail=detail, tone="best", also=also)


def _cost(cell: CellSummary, spent: DeviceTime) -> str:
    hours = cell.training_device_hours
    return "" if hours is None else f", {spent.short(hours)}"


def classes_table(comparison: Comparison) -> Table | None:
    """Return the test IoU of every class in every tested cell; None before any test."""
    tested = [cell for cell in comparison.cells if cell.test_iou]
    names = tuple(dict.fromkeys(name for cell in tested for name in cell.test_iou))
    if not names:
        return None
    rows = tuple(
        (*place(cell.strategy, *cell.setting), *(_class_entry(cell.test_iou.get(name)) for name in names))
        for cell in tested
    )
    notes = (
        "IoU on the test folds, mean over the seeds in which a class occurs, with its 95 % interval over "
        "seeds and patches where there are two seeds or more. A dash: the class occurs in no seed's test.",
    )
    columns = (*place_columns(), *(Column(name) for name in names))
    return Table("classes", "IoU of every class", columns, rows, notes)


def _class_entry(found: ClassScore | None) -> Entry:
    if found is None or found.mean is None:
        return Entry(NONE)
    interval = "" if found.low is None or found.high is None else f"{found.low:.2f}–{found.high:.2f}"
    return Entry(f"{found.mean:.3f}", found.mean, detail=interval)
