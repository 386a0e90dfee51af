"""What is said of all settings together: a few sentences, however many cells there are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from shapeft_tune.report.comparison import CellSummary, Comparison, Difference, Recommendation, Verdict
from shapeft_tune.report.comparison.baseline import USUAL
from shapeft_tune.report.words.costs import costs
from shapeft_tune.report.words.device_time import DeviceTime
from shapeft_tune.report.words.gains import gains
from shapeft_tune.report.words.orders import orders_in_words
from shapeft_tune.report.words.phrases import (
    describe_setting,
    in_settings,
    listed,
    score_words,
    signed,
    span,
)
from shapeft_tune.report.words.verdicts import corrected, verdicts_in_words

MOST_STRATEGIES = 4
"""Sentences on strategies against the baseline; of more strategies the last sentence tells of all others."""
MOST_SAVINGS = 3
"""Pairs of a cheaper strategy and the best that are each told of."""


def overall(comparison: Comparison) -> Iterator[str]:
    """Yield what holds over the settings: baseline, foundation models, costs, order, labels and dates."""
    yield from _against_the_baseline(comparison)
    yield from _foundation_models(comparison)
    yield from _savings(comparison)
    yield from costs(comparison)
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
    """Yield one sentence for each strategy with its verdicts counted; of many, one for all the others."""
    compared: dict[str, list[Difference]] = {}
    for each in comparison.differences:
        compared.setdefault(each.strategy, []).append(each)
    own = len(compared) if len(compared) <= MOST_STRATEGIES else MOST_STRATEGIES - 1
    for strategy in list(compared)[:own]:
        yield _verdicts(strategy, compared.pop(strategy), "setting")
    if compared:
        rest = [each for found in compared.values() for each in found]
        yield _verdicts(f"The {len(compared)} other strategies", rest, "cell")


def _verdicts(what: str, found: Sequence[Difference], thing: str) -> str:
    verdicts = verdicts_in_words([each.verdict for each in found], thing)
    return (
        f"{what} against {found[0].baseline}: {verdicts} "
        f"({span((each.mean for each in found), signed)} of mIoU{corrected(found)})."
    )


def _foundation_models(comparison: Comparison) -> Iterator[str]:
    """Yield in how many settings any foundation model beats U-TAE, where several were tried."""
    models: dict[str, list[Mapping[str, Any]]] = {}
    for cell in comparison.cells:
        if cell.best_trial:
            models.setdefault(cell.strategy, []).append(cell.best_trial["model"])
    others = {name for name, tried in models.items() if all(map(_is_foundation_model, tried))}
    baseline = models.get(comparison.baseline or "", [])
    if len(others) < 2 or {model["name"] for model in baseline} != {USUAL}:
        return
    verdicts: dict[tuple[float, int], list[Verdict]] = {}
    for each in comparison.differences:
        if each.strategy in others:
            verdicts.setdefault(each.setting, []).append(each.verdict)
    beaten = sum(Verdict.BETTER in found for found in verdicts.values())
    ahead = sum(set(found) == {Verdict.WORSE} for found in verdicts.values())
    if not verdicts or (any(Verdict.TOO_FEW_SEEDS in found for found in verdicts.values()) and not beaten):
        return
    some = f"Some foundation model is better than {comparison.baseline} {in_settings(beaten, len(verdicts))}"
    none = f"No foundation model is told to be better than {comparison.baseline} in any setting"
    yield f"{some if beaten else none}{f'; all are worse in {ahead}' if ahead else ''}."


def _is_foundation_model(model: Mapping[str, Any]) -> bool:
    """Whether a network has an encoder that was pretrained; random weights make none of it."""
    tuning = model.get("tuning") or {}
    trained_anew = tuning.get("mode", "scratch") == "scratch" or tuning.get("weights", "none") == "none"
    return not (model["name"] == USUAL or trained_anew)


def _savings(comparison: Comparison) -> Iterator[str]:
    """Yield what cheaper strategies save that are not told apart from the best, most frequent pairs first."""
    pairs: dict[tuple[str, str], list[Recommendation]] = {}
    for each in comparison.recommendations:
        if each.cheapest != each.best:
            pairs.setdefault((each.cheapest, each.best), []).append(each)
    if not pairs:
        return
    often = sorted(pairs.items(), key=lambda pair: -len(pair[1]))
    told = [_saving(comparison, *names, found) for names, found in often[:MOST_SAVINGS]]
    if rest := sum(len(found) for _, found in often[MOST_SAVINGS:]):
        told.append(f"others in {rest}")
    where = in_settings(sum(map(len, pairs.values())), len(comparison.recommendations))
    yield f"A cheaper strategy is not told apart from the best {where}: {'; '.join(told)}."


def _saving(comparison: Comparison, cheap: str, dear: str, found: Sequence[Recommendation]) -> str:
    spent = DeviceTime.fitting(cell.training_device_hours for cell in comparison.cells)
    less, more = (
        [comparison.cell(name, *each.setting).training_device_hours or 0.0 for each in found]
        for name in (cheap, dear)
    )
    return (
        f"{cheap} in {len(found)}, with {spent.phrase(*less)} for a training where {dear} takes "
        f"{spent.amount(*more)}"
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
