"""What the search says about hyperparameters, in plain sentences that name the trials behind them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from statistics import median_low

from shapeft_tune.report.hyperparameters.best_values import CLOSE, BestValue, best_values
from shapeft_tune.report.hyperparameters.fields import SearchedField
from shapeft_tune.report.hyperparameters.importances import FEWEST_TRIALS
from shapeft_tune.report.hyperparameters.study import StrategySearch
from shapeft_tune.report.words.phrases import counted, listed, span

ENCODER_RATIO = "model.tuning.encoder_lr_ratio"
"""Always spoken of: which ratio suits few and many labels is the question that the study left open."""


def findings_on_search(searches: Sequence[StrategySearch]) -> tuple[str, ...]:
    """Return a few sentences for each strategy: which field matters, its best values, how much was pruned."""
    return tuple(sentence for search in searches for sentence in _of_strategy(search))


def number_words(value: float) -> str:
    """Return a number with two digits, as a sweep file writes it: ``1.2e-3``, ``0.05``, ``16``."""
    if value == int(value) and abs(value) < 1e5:
        return f"{value:.0f}"
    if 0.01 <= abs(value) < 1e3:
        return f"{value:.2g}"
    mantissa, exponent = f"{value:.1e}".split("e")
    return f"{float(mantissa):g}e{int(exponent)}"


def _of_strategy(search: StrategySearch) -> Iterator[str]:
    complete = [len(cell.complete) for cell in search.cells]
    if not search.fields or not any(cell.trials for cell in search.cells):
        return
    if not any(complete):
        yield f"{search.strategy}: no search trial is complete yet."
        return
    yield f"{search.strategy}: {_importance(search, complete)}"
    spoken = [*search.ranked_fields[:1]] if search.importances or len(search.fields) == 1 else []
    spoken += [each for each in search.fields if each.name == ENCODER_RATIO and each not in spoken]
    for field in spoken:
        yield from _best(search, field)
    if search.pruned_share:
        ended = sum(len(cell.trials) for cell in search.cells)
        yield f"{search.strategy}: {100 * search.pruned_share:.0f} % of {ended} search trials were pruned."


def _importance(search: StrategySearch, complete: Sequence[int]) -> str:
    if len(search.fields) == 1:
        only = search.fields[0].name
        return f"{only} alone is searched, with {_trials(complete)} in a cell."
    if not search.importances:
        return (
            f"too few trials to say which field matters: {span(complete, str)} complete ones in a cell, "
            f"{FEWEST_TRIALS} of different score are needed."
        )
    (first, most), *others = search.importances.items()
    behind = [len(cell.complete) for cell in search.cells if cell.importances]
    trials = f"{counted(len(behind), 'cell')} of {_trials(behind)}"
    if not search.matters(first):
        return f"no field can be said to matter: the searched values do not predict the score, over {trials}."
    matter, idle = (
        [f"{name} ({value:.2f})" for name, value in others if search.matters(name) is known]
        for known in (True, False)
    )
    sentence = f"{first} matters most for the validation mIoU (importance {most:.2f} over {trials})"
    sentence += f", then {listed(matter)}" if matter else ""
    if idle:
        sentence += f"; {listed(idle)} cannot be told from chance"
    return f"{sentence}."


def _best(search: StrategySearch, field: SearchedField) -> Iterator[str]:
    found = best_values(search, field)
    if not found:
        return
    if not field.is_numeric:
        options = [str(each.value) for each in found]
        most = max(field.options, key=options.count)
        cells = f"{options.count(most)} of {counted(len(found), 'cell')}"
        yield f"{search.strategy}: the best {field.name} is {most} in {cells}."
        return
    if len(found) == 1:
        yield f"{search.strategy}: the best {field.name} is {_middle(found)}{_about_as_good(found)}."
    for place, key in ((_at_labels, _labels), (_at_dates, _dates)):
        if len({key(each) for each in found}) > 1:
            yield f"{search.strategy}: {_over(search, field, found, place, key)}"


def _over(
    search: StrategySearch,
    field: SearchedField,
    found: Sequence[BestValue],
    place: Callable[[float], str],
    key: Callable[[BestValue], float],
) -> str:
    """Say the best values at both ends of an axis of the settings, and what may be made of them."""
    few, many = ([each for each in found if key(each) == end] for end in _ends(found, key))
    ends = " and ".join(f"{_middle(end)} at {place(key(end[0]))}" for end in (few, many))
    trials = f"{_trials([each.trials for each in (*few, *many)])} a cell"
    cells = f"medians of {span([len(few), len(many)], str)} cells, " if max(len(few), len(many)) > 1 else ""
    close = f"within {CLOSE:g} mIoU are {_reach(few)} and {_reach(many)}"
    return (
        f"the best {field.name} is {ends} ({cells}{trials}; {close}): {_verdict(search, field, few, many)}."
    )


def _verdict(
    search: StrategySearch, field: SearchedField, few: Sequence[BestValue], many: Sequence[BestValue]
) -> str:
    """Say whether the best value moves, as far as the trials let it be said."""
    if search.importances and not search.matters(field.name):
        return "as the field cannot be said to matter, neither can these"
    if min(each.trials for each in (*few, *many)) < FEWEST_TRIALS:
        return "too few trials to say whether it moves"
    a, b = _close(few), _close(many)
    if max(min(a), min(b)) <= min(max(a), max(b)):
        return "the two overlap, so it is open whether it moves"
    return "the two do not overlap"


def _trials(counts: Sequence[int]) -> str:
    return f"{span(counts, str)} complete trial{'' if max(counts) == 1 else 's'}"


def _middle(found: Sequence[BestValue]) -> str:
    return number_words(float(median_low(float(each.value) for each in found)))


def _about_as_good(found: Sequence[BestValue]) -> str:
    reach = f"; within {CLOSE:g} mIoU: {_reach(found)}" if len(_close(found)) > 1 else ""
    return f" ({_trials([found[0].trials])}{reach})"


def _reach(found: Sequence[BestValue]) -> str:
    return span([min(_close(found)), max(_close(found))], number_words)


def _at_labels(fraction: float) -> str:
    return f"{100 * fraction:g} % of the labels"


def _at_dates(length: float) -> str:
    return counted(int(length), "date")


def _close(found: Sequence[BestValue]) -> list[float]:
    return [float(value) for each in found for value in each.close]


def _ends(found: Sequence[BestValue], key: Callable[[BestValue], float]) -> tuple[float, float]:
    keys = [key(each) for each in found]
    return min(keys), max(keys)


def _labels(best: BestValue) -> float:
    return best.label_fraction


def _dates(best: BestValue) -> float:
    return best.temporal_length
