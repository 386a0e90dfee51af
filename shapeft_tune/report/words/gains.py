"""What more labels and more dates bring: each strategy in neighbouring settings, other things equal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from shapeft_tune.report.comparison import CellSummary, Comparison, Difference, Verdict
from shapeft_tune.report.comparison.differences import differences_between
from shapeft_tune.report.words.phrases import listed, signed, span
from shapeft_tune.report.words.verdicts import corrected, verdicts_in_words

Pair = tuple[CellSummary, CellSummary]
"""A cell with more labels or dates, and the same strategy's with fewer."""
MOST_STEPS = 2
"""Of an axis, that have a sentence each; more are in one sentence."""


@dataclass(frozen=True)
class _Step:
    """From one value of an axis to the next."""

    few: str
    many: str
    pairs: Sequence[Pair]


@dataclass(frozen=True)
class _Axis:
    what: str
    """Of which there are few or many: ``dates``."""
    steps: Sequence[_Step]


@dataclass(frozen=True)
class _Gain:
    """A step that was tested."""

    step: _Step
    found: Sequence[Difference]

    @property
    def mean(self) -> float:
        return sum(each.mean for each in self.found) / len(self.found)

    def counted(self, verdict: Verdict) -> int:
        return sum(each.verdict is verdict for each in self.found)


def gains(comparison: Comparison) -> Iterator[str]:
    """Yield what each step on either axis brings, verdicts corrected for all pairs of all steps.

    A seed's labels in the smaller share are among those in the larger one, and both are tested on the same
    patches: the differences are paired as those between strategies are. They are a family of their own, and
    not among those that ``Comparison`` holds.
    """
    axes = _labels(comparison), _dates(comparison)
    steps = [step for axis in axes for step in axis.steps]
    compared = [pair for step in steps for pair in step.pairs if _has_common_seed(pair)]
    differences = dict(zip(map(_key, compared), differences_between(compared), strict=True))
    for axis in axes:
        known = [
            _Gain(step, found)
            for step in axis.steps
            if (found := [differences[key] for pair in step.pairs if (key := _key(pair)) in differences])
        ]
        if len(known) > MOST_STEPS:
            yield _of_axis(axis.what, known)
        else:
            yield from (_of_step(axis.what, gain) for gain in known)


def _has_common_seed(pair: Pair) -> bool:
    more, fewer = pair
    return bool(more.miou_by_seed.keys() & fewer.miou_by_seed.keys())


def _key(pair: Pair) -> tuple[str | float, ...]:
    more, fewer = pair
    return more.strategy, *more.setting, *fewer.setting


def _labels(comparison: Comparison) -> _Axis:
    steps = [
        _Step(
            f"{100 * few:g}",
            f"{100 * many:g}",
            [
                (comparison.cell(name, many, length), comparison.cell(name, few, length))
                for name in comparison.strategies
                for length in comparison.temporal_lengths
            ],
        )
        for few, many in pairwise(comparison.label_fractions)
    ]
    return _Axis("% of the labels", steps)


def _dates(comparison: Comparison) -> _Axis:
    steps = [
        _Step(
            str(few),
            str(many),
            [
                (comparison.cell(name, fraction, many), comparison.cell(name, fraction, few))
                for name in comparison.strategies
                for fraction in comparison.label_fractions
            ],
        )
        for few, many in pairwise(comparison.temporal_lengths)
    ]
    return _Axis("dates", steps)


def _of_step(what: str, gain: _Gain) -> str:
    named, found = f"From {gain.step.few} to {gain.step.many} {what}", gain.found
    if len(found) == 1:
        return f"{named}: {signed(gain.mean)} of mIoU, {found[0].verdict}{_in_brackets(found)}."
    verdicts = verdicts_in_words([each.verdict for each in found], "pair")
    return (
        f"{named}: {signed(gain.mean)} of mIoU on average, {verdicts} "
        f"({span((each.mean for each in found), signed)}{corrected(found)})."
    )


def _of_axis(what: str, known: Sequence[_Gain]) -> str:
    """Return ``From 1 to 6 and 6 to 15 dates: +0.051 and +0.020 of mIoU on average, better in ...``."""
    means = listed([signed(gain.mean) for gain in known])
    better, worse = (
        listed([f"{gain.counted(verdict)} of {len(gain.found)}" for gain in known])
        for verdict in (Verdict.BETTER, Verdict.WORSE)
    )
    every = [difference for gain in known for difference in gain.found]
    return (
        f"From {listed([f'{gain.step.few} to {gain.step.many}' for gain in known])} {what}: {means} of mIoU "
        f"on average, better in {better} pairs, worse in {worse}{_in_brackets(every)}."
    )


def _in_brackets(found: Sequence[Difference]) -> str:
    text = corrected(found).removeprefix("; ")
    return f" ({text})" if text else ""
