"""What the numbers cost: a training with each strategy, and the whole sweep."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import mean

from shapeft_tune.report.comparison import Comparison
from shapeft_tune.report.words.device_time import DeviceTime
from shapeft_tune.report.words.phrases import listed

MOST_STRATEGIES = 5
"""That are each told of; of more, the cheapest and the dearest."""


def costs(comparison: Comparison) -> Iterator[str]:
    """Yield one sentence: what one training takes with each strategy, and what all trials took."""
    by_strategy: dict[str, list[float]] = {}
    for cell in comparison.cells:
        if cell.training_device_hours is not None:
            by_strategy.setdefault(cell.strategy, []).append(cell.training_device_hours)
    total = sum(cell.device_hours for cell in comparison.cells)
    said = [_trainings(by_strategy, len(comparison.strategies) > 1)] if by_strategy else []
    if total:
        lacking = any(cell.missing_search_trials or cell.missing_confirmations for cell in comparison.cells)
        spent = DeviceTime.fitting([total]).phrase(total)
        said.append(f"the whole sweep took {spent}{' so far' if lacking else ''}")
    if said:
        text = "; ".join(said)
        yield f"{text[0].upper()}{text[1:]}."


def _trainings(by_strategy: Mapping[str, Sequence[float]], of_many: bool) -> str:
    """Return ``one training of the best configuration takes 9 to 21 device hours with a and 12 with b``."""
    spent = DeviceTime.fitting(hours for found in by_strategy.values() for hours in found)
    told = list(by_strategy)
    if len(told) > MOST_STRATEGIES:
        ascending = sorted(told, key=lambda name: mean(by_strategy[name]))
        told = [ascending[0], ascending[-1]]
    # The unit stands once, with the first
    amounts = [
        (spent.amount if number else spent.phrase)(*by_strategy[name]) for number, name in enumerate(told)
    ]
    if not of_many:
        return f"one training of the best configuration takes {amounts[0]}"
    named = [f"{amount} with {name}" for amount, name in zip(amounts, told, strict=True)]
    if len(told) < len(by_strategy):
        named = [f"{named[0]}, the cheapest strategy,", f"{named[1]}, the dearest"]
    return f"one training of the best configuration takes {listed(named)}"
