"""Tables of how strategies compare: differences to the baseline, what to take, how steady the order is."""

from __future__ import annotations

from shapeft_tune.report.comparison import Comparison, Difference, Recommendation, Verdict
from shapeft_tune.report.comparison.ranks import RankStability
from shapeft_tune.report.tables.layout import (
    NONE,
    Column,
    Entry,
    Table,
    count,
    device_time,
    interval_text,
    place,
    place_columns,
    score,
    setting,
    setting_columns,
    signed,
    text,
)
from shapeft_tune.report.words.device_time import DeviceTime
from shapeft_tune.report.words.phrases import counted

TONES = {Verdict.BETTER: "better", Verdict.WORSE: "worse"}
SMALLEST_P = 0.0005
"""Below which a p value is not told apart from 0 with three digits."""


def differences_table(comparison: Comparison) -> Table | None:
    """Return every strategy against the baseline in every setting; None where nothing is compared."""
    if not comparison.differences:
        return None
    columns = (
        *place_columns(),
        Column("difference", f"test mIoU less that of {comparison.baseline}, over common seeds and patches"),
        Column("interval", "at the level at which Holm's procedure tests it"),
        Column("p", "adjusted by Holm's procedure"),
        Column("seeds", "that both have"),
        Column("verdict", f"compared with {comparison.baseline}", numeric=False),
    )
    rows = tuple(_difference_row(each) for each in comparison.differences)
    corrected = max(each.comparisons for each in comparison.differences)
    notes = (
        f"Mean test mIoU less that of {comparison.baseline} in the same setting, over the same patches and "
        f"seeds. Intervals and p values are corrected for {counted(corrected, 'comparison')} (Holm), those "
        "with the best of each setting among them; an interval leaves out 0 exactly where the verdict is "
        "*better* or *worse*. *Not told apart* does not mean equal: the data do not decide. Where nothing "
        "varied there is no interval.",
    )
    return Table("differences", f"Differences to {comparison.baseline}", columns, rows, notes)


def _difference_row(difference: Difference) -> tuple[Entry, ...]:
    interval = interval_text(difference.low, difference.high, sign=True)
    return (
        *place(difference.strategy, *difference.setting),
        signed(difference.mean),
        Entry(interval, difference.low) if interval else Entry(NONE),
        p_value(difference.p_value),
        count(len(difference.seeds)),
        text(str(difference.verdict), TONES.get(difference.verdict, "quiet")),
    )


def p_value(value: float | None) -> Entry:
    """Return a p value with three digits."""
    if value is None:
        return Entry(NONE)
    return Entry("< 0.001" if value < SMALLEST_P else f"{value:.3f}", value)


def recommendations_table(comparison: Comparison) -> Table | None:
    """Return what to take in every setting; None before any test."""
    if not comparison.recommendations:
        return None
    spent = DeviceTime.fitting(cell.training_device_hours for cell in comparison.cells)
    columns = (
        *setting_columns(),
        Column("recommended", "the best mean test mIoU", numeric=False),
        Column("test mIoU"),
        Column("95 % interval"),
        Column(spent.unit, "of one training"),
        Column("cheapest not told apart", "fewest device hours for a training", numeric=False),
        Column("test mIoU"),
        Column(spent.unit, "of one training"),
        Column("behind the best by", "difference of the means"),
        Column("not told apart", "how many other strategies are not told apart from the best"),
    )
    rows = tuple(_recommendation_row(comparison, each, spent) for each in comparison.recommendations)
    notes = (
        "*Recommended*: the best mean test mIoU. *Cheapest not told apart*: of the strategies that do not "
        "differ from it, by the same corrected tests as the differences to the baseline, the one whose "
        "training takes the fewest device hours (seconds times GPUs, or times CPU cores where a trial has no "
        "GPU). The best mean of several is a little too high: chance helped to choose it.",
    )
    return Table("recommendations", "What to take in every setting", columns, rows, notes)


def _recommendation_row(
    comparison: Comparison, found: Recommendation, spent: DeviceTime
) -> tuple[Entry, ...]:
    best = comparison.cell(found.best, *found.setting)
    cheapest = comparison.cell(found.cheapest, *found.setting)
    interval = interval_text(best.test_miou_low, best.test_miou_high)
    same = found.cheapest == found.best
    alike = sum(each.verdict is Verdict.NOT_TOLD_APART for each in found.differences)
    return (
        *setting(*found.setting),
        text(found.best, "best"),
        score(best.test_miou_mean),
        Entry(interval, best.test_miou_low) if interval else Entry(NONE),
        device_time(spent, best.training_device_hours),
        text("the same" if same else found.cheapest, "quiet" if same else ""),
        Entry(NONE) if same else score(cheapest.test_miou_mean),
        Entry(NONE) if same else device_time(spent, cheapest.training_device_hours),
        Entry(NONE) if same else score((best.test_miou_mean or 0.0) - (cheapest.test_miou_mean or 0.0)),
        count(alike),
    )


def ranks_table(comparison: Comparison) -> Table | None:
    """Return the ranks of the strategies under every seed; None where there is nothing to rank."""
    if not comparison.ranks:
        return None
    columns = (
        *setting_columns(),
        *(Column(name, "its rank under each common seed; mean rank") for name in comparison.strategies),
        Column("Kendall's W", "1: every seed gives the same order; near 0: the order is chance"),
        Column("first", "share of the seeds under which the best on average comes first"),
        Column("seeds"),
    )
    rows = tuple(_ranks_row(comparison, each) for each in comparison.ranks)
    notes = (
        "Ranks by test mIoU, seed by seed: 1 is best, equals share their mean rank. *Kendall's W* is 1 where "
        "every seed gives the same order and near 0 where the order is chance. *first*: the share of the "
        "seeds under which the strategy with the best mean comes first.",
    )
    return Table("ranks", "The order of the strategies, seed by seed", columns, rows, notes)


def _ranks_row(comparison: Comparison, found: RankStability) -> tuple[Entry, ...]:
    return (
        *setting(*found.setting),
        *(_rank_entry(found.ranks.get(name)) for name in comparison.strategies),
        Entry(NONE) if found.concordance is None else Entry(f"{found.concordance:.2f}", found.concordance),
        Entry(f"{100 * found.first_share:.0f} %", found.first_share),
        count(len(found.seeds)),
    )


def _rank_entry(ranks: tuple[float, ...] | None) -> Entry:
    if not ranks:
        return Entry(NONE)
    mean = sum(ranks) / len(ranks)
    return Entry(f"{mean:.2g}", mean, detail=" ".join(f"{rank:g}" for rank in ranks))
