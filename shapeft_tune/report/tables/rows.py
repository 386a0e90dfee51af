"""What the columns of scores mean, in the words that stand below a table."""

from __future__ import annotations

from shapeft_tune.report.comparison import CellSummary

ENDED_BY_BUDGET = "†"
LEGEND = (
    "Scores are fractions of 1. *val mIoU*: the best search trial on the validation folds. *test mIoU*: mean "
    "of its confirmations with other seeds on the test folds, with its 95 % interval over seeds and patches. "
    "*mIoU/20*: mean over one class more (20 on PASTIS), void counted as 0, as the original study had it. "
    "[What the scores mean](#what-the-scores-mean)."
)
SEEDS_ALONE = "‡"
SEEDS_ALONE_LEGEND = (
    f"{SEEDS_ALONE}: over seeds alone; the confusion matrices of the test patches are not to be had, so how "
    "much the patches matter is not known."
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


def of_wanted(cell: CellSummary) -> tuple[str, str]:
    """Return how many search trials and seeds a cell has of those that it is to have: ``18/20``, ``3/3``."""
    wanted = cell.search_trials + cell.missing_search_trials + cell.left_out_trials
    mark = ENDED_BY_BUDGET if cell.left_out_trials else ""
    seeds = cell.confirmation_trials + cell.missing_confirmations + cell.failed_confirmations
    return f"{cell.search_trials}/{wanted}{mark}", f"{cell.confirmation_trials}/{seeds}"
