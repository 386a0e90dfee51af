"""What is said of one setting."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from shapeft_tune.report.comparison import CellSummary, Comparison, Difference, Recommendation, Verdict
from shapeft_tune.report.words.device_time import DeviceTime
from shapeft_tune.report.words.orders import order_in_words
from shapeft_tune.report.words.phrases import (
    counted,
    describe_setting,
    listed,
    score_words,
    signed,
    signed_range,
)


@dataclass(frozen=True)
class SettingFinding:
    """What is known of one setting, in sentences."""

    label_fraction: float
    temporal_length: int
    headline: str
    """Which strategy is the best, how surely, and how the others stand to it."""
    details: tuple[str, ...]
    """Differences with their intervals, what a cheaper strategy saves, the order over seeds, the other
    convention of mIoU, failures."""

    @property
    def where(self) -> str:
        """The setting in words: ``10 % labels, 6 dates``."""
        return describe_setting(self.label_fraction, self.temporal_length)


def setting_finding(comparison: Comparison, setting: tuple[float, int]) -> SettingFinding:
    """Return what is to be said of one setting."""
    cells = [cell for cell in comparison.cells if cell.setting == setting]
    advice = next((each for each in comparison.recommendations if each.setting == setting), None)
    details = (
        *map(difference_in_words, _differences(comparison, setting, advice)),
        *_cheapest(comparison, cells, advice),
        *(order_in_words(ranks) for ranks in comparison.ranks if ranks.setting == setting),
        *_other_convention(cells),
        *_without_result(cells),
    )
    return SettingFinding(*setting, _headline(comparison, cells, advice), tuple(filter(None, details)))


def difference_in_words(difference: Difference) -> str:
    """Return a sentence: ``a is better than b by 0.031 (95 % interval +0.010 to +0.052).``.

    A corrected interval is not said to be one of 95 %: it has the level at which Holm's procedure tests it.
    """
    one, other, mean = difference.strategy, difference.baseline, difference.mean
    if difference.verdict is Verdict.TOO_FEW_SEEDS:
        common = counted(len(difference.seeds), "common seed")
        return f"{one} to {other}: {signed(mean)} over {common}, too few to tell them apart."
    if difference.verdict is Verdict.NOT_TOLD_APART:
        return f"{one} is not told apart from {other}: {signed(mean)}{_reach(difference)}."
    return f"{one} is {difference.verdict} than {other} by {score_words(abs(mean))}{_reach(difference)}."


def _reach(difference: Difference) -> str:
    if difference.low is None or difference.high is None:
        return ""
    ends = signed_range(difference.low, difference.high)
    if difference.comparisons > 1:
        return f" ({ends}, interval corrected for {difference.comparisons} comparisons)"
    return f" (95 % interval {ends})"


def _headline(comparison: Comparison, cells: Sequence[CellSummary], advice: Recommendation | None) -> str:
    """Compare only like with like: test scores where there are any, else validation scores."""
    scored = [cell for cell in cells if cell.score is not None]
    tested = [cell for cell in scored if cell.is_tested]
    ranked = sorted(tested or scored, key=lambda cell: cell.score or 0.0, reverse=True)
    if not ranked:
        return "no result yet."
    best = next((cell for cell in ranked if advice and cell.strategy == advice.best), ranked[0])
    folds = ("five-fold test" if comparison.rotated else "test") if tested else "validation"
    score = score_words(best.score or 0.0) + _sureness(best)
    if len(ranked) == 1:
        said = [f"{best.strategy} has a {folds} mIoU of {score}"]
    else:
        said = [f"{best.strategy} has the best {folds} mIoU, {score}", *_behind(ranked, advice)]
    waiting = [cell.strategy for cell in scored if tested and not cell.is_tested]
    return "; ".join([*said, *([f"not tested yet: {listed(waiting)}"] if waiting else [])]) + "."


def _sureness(cell: CellSummary) -> str:
    if cell.test_miou_low is not None and cell.test_miou_high is not None:
        low, high = score_words(cell.test_miou_low), score_words(cell.test_miou_high)
        return f" (95 % interval {low} to {high})"
    return " (one seed: no interval)" if cell.is_tested and cell.confirmation_trials == 1 else ""


def _behind(ranked: Sequence[CellSummary], advice: Recommendation | None) -> Iterator[str]:
    """Yield how the others stand to the best; without tests, how far ahead of the second it is."""
    if advice is None:
        ahead = (ranked[0].score or 0.0) - (ranked[1].score or 0.0)
        yield f"{score_words(ahead)} ahead of {ranked[1].strategy}"
        return
    by_verdict: dict[Verdict, list[str]] = {}
    for each in advice.differences:
        by_verdict.setdefault(each.verdict, []).append(f"{each.strategy} ({signed(each.mean)})")
    if better := by_verdict.get(Verdict.BETTER):  # over common seeds, of which there may be fewer
        yield f"over common seeds {listed(better)} {_are(better)} better"
    if worse := by_verdict.get(Verdict.WORSE):
        yield f"{listed(worse)} {_are(worse)} worse"
    if near := by_verdict.get(Verdict.NOT_TOLD_APART):
        yield f"{listed(near)} {_are(near)} not told apart from it"
    if unknown := by_verdict.get(Verdict.TOO_FEW_SEEDS):
        yield f"too few seeds to tell it from {listed(unknown)}"


def _are(names: Sequence[str]) -> str:
    return "is" if len(names) == 1 else "are"


def _differences(
    comparison: Comparison, setting: tuple[float, int], advice: Recommendation | None
) -> Iterator[Difference]:
    """Yield every strategy's difference to the baseline, and to the best one where that is another."""
    yield from (each for each in comparison.differences if each.setting == setting)
    if advice and advice.best != comparison.baseline:
        yield from (each for each in advice.differences if each.strategy != comparison.baseline)


def _cheapest(
    comparison: Comparison, cells: Sequence[CellSummary], advice: Recommendation | None
) -> Iterator[str]:
    """Yield what the best strategy costs, and what a cheaper one as good as far as is known saves."""
    hours = {cell.strategy: cell.training_device_hours for cell in cells}
    if advice is None or (best := hours[advice.best]) is None:
        return
    spent = DeviceTime.fitting(cell.training_device_hours for cell in comparison.cells)
    least = hours[advice.cheapest]
    if advice.cheapest != advice.best and least is not None:
        yield (
            f"The cheapest of those not told apart from {advice.best} is {advice.cheapest}, which takes "
            f"{spent.phrase(least)} for a training; {advice.best} takes {spent.amount(best)}."
        )
        return
    others = [each for cell in cells if (each := cell.training_device_hours) is not None and cell.is_tested]
    least_of_all = ", the least of all" if len(others) > 1 and best == min(others) else ""
    yield f"{advice.best} takes {spent.phrase(best)} for a training{least_of_all}."


def _other_convention(cells: Sequence[CellSummary]) -> Iterator[str]:
    """Yield the best score by the study's own convention, where it differs."""
    tested = [cell for cell in cells if cell.is_tested and cell.test_miou_seed20_mean is not None]
    if not tested:
        return
    first = max(tested, key=lambda cell: cell.test_miou_mean or 0.0)
    first20 = max(tested, key=lambda cell: cell.test_miou_seed20_mean or 0.0)
    score = score_words(first.test_miou_mean or 0.0)
    score20, best20 = (score_words(cell.test_miou_seed20_mean or 0.0) for cell in (first, first20))
    if score == score20 and first is first20:
        return
    swapped = f"; {first20.strategy} comes first by it, with {best20}"
    yield (
        f"By the original study's convention (mIoU/20) {first.strategy} has {score20}"
        f"{swapped if first20 is not first else ''}."
    )


def _without_result(cells: Sequence[CellSummary]) -> Iterator[str]:
    for cell in cells:
        if cell.score is None and cell.failed_trials and cell.failed_trials == cell.search_trials:
            yield f"{cell.strategy} has no result: {counted(cell.failed_trials, 'search trial')} failed."
        if cell.failed_confirmations:
            failed = counted(cell.failed_confirmations, "confirmation")
            yield f"{failed} of {cell.strategy} failed; its score is that of the others."
