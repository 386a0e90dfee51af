"""What is said of all settings together: a few sentences, however many cells there are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from shapeft_tune.report.comparison import CellSummary, Comparison, Recommendation, Verdict
from shapeft_tune.report.words.gains import gains
from shapeft_tune.report.words.orders import orders_in_words
from shapeft_tune.report.words.phrases import (
    describe_setting,
    device_time,
    in_settings,
    listed,
    score_words,
    signed,
    span,
)
from shapeft_tune.report.words.verdicts import corrected, verdicts_in_words


def overall(comparison: Comparison) -> Iterator[str]:
    """Yield what holds over the settings: baseline, foundation models, savings, order, labels and dates."""
    yield from _against_the_baseline(comparison)
    yield from _foundation_models(comparison)
    yield from _savings(comparison)
    if stability := orders_in_words(comparison.ranks):
        yield stability
    yield from gains(comparison)
    yield from _conventions(comparison)


def winners(comparison: Comparison) -> Iterator[str]:
    """Yield which strategy is the best how often; of a single strategy, where it is best and where worst."""
    tested = [cell for cell in comparison.cells if cell.is_tested]
    if not tested:
        yield "Nothing is tested yet."
        return
    least, most = (choose(tested, key=lambda cell: cell.test_miou_mean or 0.0) for choose in (min, max))
    if len(comparison.strategies) > 1 and comparison.recommendations:
        counts = Counter(each.best for each in comparison.recommendations).most_common()
        of = len(comparison.recommendations)
        (first, number), *others = counts
        text = [f"{first} {in_settings(number, of)}", *(f"{name} in {count}" for name, count in others)]
        yield f"Best mean test mIoU: {listed(text)}."
    yield (f"Test mIoU goes from {_placed(least, comparison)} to {_placed(most, comparison)}.")


def _placed(cell: CellSummary, comparison: Comparison) -> str:
    name = f"{cell.strategy}, " if len(comparison.strategies) > 1 else ""
    return f"{score_words(cell.test_miou_mean or 0.0)} ({name}{describe_setting(*cell.setting)})"


def _against_the_baseline(comparison: Comparison) -> Iterator[str]:
    """Yield one sentence for each strategy with its verdicts counted."""
    for strategy in comparison.strategies:
        found = [each for each in comparison.differences if each.strategy == strategy]
        if found:
            verdicts = verdicts_in_words([each.verdict for each in found], "setting")
            yield (
                f"{strategy} against {found[0].baseline}: {verdicts} "
                f"({span((each.mean for each in found), signed)} of mIoU{corrected(found)})."
            )


def _foundation_models(comparison: Comparison) -> Iterator[str]:
    """Yield in how many settings any foundation model beats U-TAE, where several were tried."""
    networks = {
        cell.strategy: cell.best_trial["model"]["name"] for cell in comparison.cells if cell.best_trial
    }
    others = {name for name, network in networks.items() if network != "utae"}
    if networks.get(comparison.baseline or "") != "utae" or len(others) < 2:
        return
    verdicts: dict[tuple[float, int], list[Verdict]] = {}
    for each in comparison.differences:
        if each.strategy in others:
            verdicts.setdefault(each.setting, []).append(each.verdict)
    beaten = sum(Verdict.BETTER in found for found in verdicts.values())
    ahead = sum(set(found) == {Verdict.WORSE} for found in verdicts.values())
    if any(Verdict.TOO_FEW_SEEDS in found for found in verdicts.values()) and not beaten:
        return
    some = f"Some foundation model is better than {comparison.baseline} {in_settings(beaten, len(verdicts))}"
    none = f"No foundation model is told to be better than {comparison.baseline} in any setting"
    yield f"{some if beaten else none}{f'; all are worse in {ahead}' if ahead else ''}."


def _savings(comparison: Comparison) -> Iterator[str]:
    """Yield what cheaper strategies save that are not told apart from the best, by pair."""
    pairs: dict[tuple[str, str], list[Recommendation]] = {}
    for each in comparison.recommendations:
        if each.cheapest != each.best:
            pairs.setdefault((each.cheapest, each.best), []).append(each)
    of = len(comparison.recommendations)
    for (cheap, dear), found in pairs.items():
        less, more = (
            [hours for each in found if (hours := comparison.cell(name, *each.setting).training_device_hours)]
            for name in (cheap, dear)
        )
        if less and more:
            (low, high), unit = device_time(less, more)
            yield (
                f"{cheap} is not told apart from {dear}, the best, {in_settings(len(found), of)}, and takes "
                f"{low} {unit} for a training there; {dear} takes {high}."
            )


def _conventions(comparison: Comparison) -> Iterator[str]:
    """Yield whether the study's own convention of mIoU would name other winners."""
    by_setting: dict[tuple[float, int], list[CellSummary]] = {}
    for cell in comparison.cells:
        if cell.is_tested and cell.test_miou_seed20_mean is not None:
            by_setting.setdefault(cell.setting, []).append(cell)
    compared = [cells for cells in by_setting.values() if len(cells) > 1]
    swapped = sum(
        _first(cells, "test_miou_mean") != _first(cells, "test_miou_seed20_mean") for cells in compared
    )
    if swapped:
        yield (
            "By the original study's convention (mIoU/20) another strategy has the best mean "
            f"{in_settings(swapped, len(compared))}."
        )


def _first(cells: Sequence[CellSummary], score: str) -> str:
    return max(cells, key=lambda cell: getattr(cell, score) or 0.0).strategy
