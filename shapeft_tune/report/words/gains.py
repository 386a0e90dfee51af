"""What more labels and more dates bring: each strategy in neighbouring settings, other things equal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from shapeft_tune.report.comparison import CellSummary, Comparison, Difference
from shapeft_tune.report.comparison.differences import differences_between
from shapeft_tune.report.words.phrases import signed, span
from shapeft_tune.report.words.verdicts import corrected, verdicts_in_words

Pair = tuple[CellSummary, CellSummary]
"""A cell with more labels or dates, and the same strategy's with fewer."""


def gains(comparison: Comparison) -> Iterator[str]:
    """Yield a sentence for each step on either axis, verdicts corrected for all pairs of all steps.

    A seed's labels in the smaller share are among those in the larger one, and both are tested on the same
    patches: the differences are paired as those between strategies are.
    """
    steps = [*_label_steps(comparison), *_date_steps(comparison)]
    compared = [pair for _, pairs in steps for pair in pairs if _has_common_seed(pair)]
    differences = dict(zip(map(_key, compared), differences_between(compared), strict=True))
    for named, pairs in steps:
        if found := [differences[key] for pair in pairs if (key := _key(pair)) in differences]:
            yield _sentence(named, found)


def _has_common_seed(pair: Pair) -> bool:
    more, fewer = pair
    return bool(more.miou_by_seed.keys() & fewer.miou_by_seed.keys())


def _key(pair: Pair) -> tuple[str | float, ...]:
    more, fewer = pair
    return more.strategy, *more.setting, *fewer.setting


def _label_steps(comparison: Comparison) -> Iterator[tuple[str, list[Pair]]]:
    fractions = comparison.label_fractions
    for few, many in pairwise(fractions):
        yield (
            f"{100 * few:g} to {100 * many:g} % of the labels",
            [
                (comparison.cell(name, many, length), comparison.cell(name, few, length))
                for name in comparison.strategies
                for length in comparison.temporal_lengths
            ],
        )


def _date_steps(comparison: Comparison) -> Iterator[tuple[str, list[Pair]]]:
    lengths = comparison.temporal_lengths
    for few, many in pairwise(lengths):
        yield (
            f"{few} to {many} dates",
            [
                (comparison.cell(name, fraction, many), comparison.cell(name, fraction, few))
                for name in comparison.strategies
                for fraction in comparison.label_fractions
            ],
        )


def _sentence(named: str, found: Sequence[Difference]) -> str:
    mean = sum(each.mean for each in found) / len(found)
    if len(found) == 1:
        return f"From {named}: {signed(mean)} of mIoU, {found[0].verdict}{_in_brackets(found)}."
    verdicts = verdicts_in_words([each.verdict for each in found], "pair")
    return (
        f"From {named}: {signed(mean)} of mIoU on average, {verdicts} "
        f"({span((each.mean for each in found), signed)}{corrected(found)})."
    )


def _in_brackets(found: Sequence[Difference]) -> str:
    text = corrected(found).removeprefix("; ")
    return f" ({text})" if text else ""
