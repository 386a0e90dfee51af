"""Maps of what each strategy gains or loses against the baseline."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from shapeft_tune.report.comparison import Comparison, Difference, Verdict
from shapeft_tune.report.figures.grids import Text, draw_grid, grid_of
from shapeft_tune.report.figures.style import (
    TEST_FOLDS,
    colour_bar,
    footnote,
    headed,
    of_folds,
    over_in_words,
)
from shapeft_tune.report.words.phrases import signed

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS_OF_SIGNS = "PuOr"
"""From orange for losses over white to purple for gains: told apart with any colour vision. Both ends are
dark in grey, so the sign and the verdict stand in each cell as text."""
CELL_WIDTH = 0.9
"""Inches; ends of intervals have three digits, as one near 0 must show on which side it is."""
LEAST_REACH = 0.02
"""mIoU at the ends of the colour scale at least, so that next to nothing stays pale."""
MARKS = {
    Verdict.BETTER: "▲",
    Verdict.WORSE: "▼",
    Verdict.NOT_TOLD_APART: "≈",
    Verdict.TOO_FEW_SEEDS: "?",
}


def difference_map(comparison: Comparison) -> Figure | None:
    """Draw each strategy's test mIoU less the baseline's; None where no difference was computed."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    compared = {each.strategy for each in comparison.differences}
    strategies = [strategy for strategy in comparison.strategies if strategy in compared]
    if not strategies:
        return None
    means = {(each.strategy, *each.setting): each.mean for each in comparison.differences}
    texts = {(strategy, *setting): Text("–") for strategy in strategies for setting in comparison.settings}
    texts |= {(each.strategy, *each.setting): _text_of(each) for each in comparison.differences}
    reach = max(LEAST_REACH, *(abs(mean) for mean in means.values()))
    scale = ScalarMappable(Normalize(-reach, reach), COLOURS_OF_SIGNS)
    grid = grid_of(comparison, strategies)
    figure = draw_grid(grid, means, texts, scale, CELL_WIDTH)
    colour_bar(figure, scale, "difference in mIoU", format=_signed_tick)
    footnote(figure, _legend(each.verdict for each in comparison.differences))
    return headed(figure, comparison, _title(comparison, grid.shared))


def _signed_tick(value: float, _: Any) -> str:
    return signed(value)


def _text_of(difference: Difference) -> Text:
    told_apart = difference.verdict in (Verdict.BETTER, Verdict.WORSE)
    number = f"{MARKS[difference.verdict]} {signed(difference.mean)}"
    if difference.low is None or difference.high is None:
        return Text(number)
    return Text(number, f"{_short(difference.low)} to {_short(difference.high)}", bold=told_apart)


def _short(value: float) -> str:
    return signed(value).replace("0.", ".", 1)


def _legend(verdicts: Iterable[Verdict]) -> str:
    words = {verdict: str(verdict) for verdict in Verdict}
    words[Verdict.TOO_FEW_SEEDS] = "fewer than two common seeds, so no interval"
    there = set(verdicts)
    return "     ".join(f"{mark} {words[verdict]}" for verdict, mark in MARKS.items() if verdict in there)


def _title(comparison: Comparison, shared: str) -> str:
    title = f"{of_folds(TEST_FOLDS, comparison)} less that of {comparison.baseline}"
    with_interval = [each for each in comparison.differences if each.low is not None]
    if with_interval:
        number = max(each.comparisons for each in with_interval)
        over = over_in_words(each.interval_over for each in with_interval)
        kind = "interval" if number > 1 else "95 % interval"  # corrected, it has the level of its test
        title += f", mean and {kind} over {over}"
        title += f", corrected for {number} comparisons" if number > 1 else ""
    return f"{title}, {shared}" if shared else title
