"""Whether the order of the strategies depends on the seed."""

from __future__ import annotations

from collections.abc import Sequence

from shapeft_tune.report.comparison import RankStability
from shapeft_tune.report.words.phrases import counted, in_settings, span

SAME = 1 - 1e-9
MOSTLY, PARTLY = 0.7, 0.4
"""Kendall's W from which an order is called mostly or partly the same: words for a number that is always
shown beside them."""


def order_in_words(ranks: RankStability) -> str:
    """Return how stable the order is in one setting; empty where there are too few seeds to say."""
    if ranks.concordance is None:
        return ""
    seeds = len(ranks.seeds)
    first = round(ranks.first_share * seeds)
    lead = "" if first == seeds else f"; the best one comes first under {first} of them"
    return (
        f"Over {counted(seeds, 'seed')} the order of the strategies {_likeness(ranks.concordance)} "
        f"(Kendall's W {ranks.concordance:.2f}){lead}."
    )


def orders_in_words(ranks: Sequence[RankStability]) -> str:
    """Return how stable the order is over all settings; empty where there are too few seeds to say."""
    known = [each.concordance for each in ranks if each.concordance is not None]
    changing = [each for each in known if each < SAME]
    if not known:
        return ""
    if not changing:
        everywhere = in_settings(len(known), len(known))
        return f"The order of the strategies is the same under every seed {everywhere} (Kendall's W 1)."
    scale = f"Kendall's W {span(changing, _two_digits)}; 1 is the same order, near 0 is chance"
    where = in_settings(len(changing), len(known))
    return f"The order of the strategies changes with the seed {where} ({scale})."


def _likeness(concordance: float) -> str:
    if concordance >= SAME:
        return "is always the same"
    if concordance >= MOSTLY:
        return "is mostly the same"
    return "is partly the same" if concordance >= PARTLY else "changes, little better than by chance"


def _two_digits(value: float) -> str:
    return f"{value:.2f}"
