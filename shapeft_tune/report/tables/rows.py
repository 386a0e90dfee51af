"""The rows that the tables for people show, and what their columns mean."""

from __future__ import annotations

from shapeft_tune.report.comparison import CellSummary

HEADINGS = (
    "strategy",
    "labels",
    "dates",
    "trials",
    "pruned",
    "failed",
    "retried",
    "seeds",
    "val mIoU",
    "test mIoU",
    "95 % interval",
    "mIoU/20",
    "accuracy",
)
ENDED_BY_BUDGET = "†"
LEGEND = (
    "Scores are fractions of 1. *val mIoU*: the best search trial on the validation folds. *test mIoU*: mean "
    "of its confirmations with other seeds on the test folds, with Student's 95 % interval over those seeds. "
    "*mIoU/20*: mean over 20 classes with void counted as 0, as the original study had it."
)
BUDGET_LEGEND = f"{ENDED_BY_BUDGET}: the cell's budget ended its search before all trials."
ROTATED_LEGEND = (
    "Five folds, confusions summed: each seed was trained five times, every fold tested once, and its test "
    "scores are those of the sum of the five confusion matrices; a seed that lacks one of them is missing. "
    "The hyperparameters were chosen on the search's own training and validation folds, which are among the "
    "tested ones here; with fixed folds they are not."
)
FRONT_LEGEND = (
    "Search trials than which no other of the cell is both as good and as cheap, the cheapest first. *device "
    "seconds*: training and scoring, times GPUs, or times CPU cores where a trial has no GPU."
)


def row_of(cell: CellSummary) -> tuple[str, ...]:
    """Return a cell's entries under ``HEADINGS``."""
    low, high = score_text(cell.test_miou_low), score_text(cell.test_miou_high)
    wanted = cell.search_trials + cell.missing_search_trials + cell.left_out_trials
    mark = ENDED_BY_BUDGET if cell.left_out_trials else ""
    return (
        cell.strategy,
        f"{100 * cell.label_fraction:g} %",
        str(cell.temporal_length),
        f"{cell.search_trials}/{wanted}{mark}",
        str(cell.pruned_trials),
        str(cell.failed_trials),
        str(cell.retries),
        f"{cell.confirmation_trials}/{cell.confirmation_trials + cell.missing_confirmations}",
        score_text(cell.val_miou_best),
        score_text(cell.test_miou_mean),
        "–" if cell.test_miou_low is None else f"{low}–{high}",
        score_text(cell.test_miou_seed20_mean),
        score_text(cell.test_overall_accuracy_mean),
    )


def score_text(value: float | None) -> str:
    """Return a score with three digits, a dash where there is none."""
    return "–" if value is None else f"{value:.3f}"
