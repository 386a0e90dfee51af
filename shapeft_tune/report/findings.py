"""A comparison in plain sentences: who won where, by how much, how surely, and what is still missing."""

from __future__ import annotations

from shapeft_tune.report.comparison import Comparison
from shapeft_tune.report.words.costs import costs
from shapeft_tune.report.words.gaps import gaps
from shapeft_tune.report.words.overall import overall, winners
from shapeft_tune.report.words.phrases import describe_setting
from shapeft_tune.report.words.settings import SettingFinding, setting_finding

__all__ = ["SettingFinding", "describe_setting", "findings", "setting_findings", "summary"]

FEW_SETTINGS = 4
"""So many settings at most are each told of in the short form."""
FEW_SENTENCES = 19
"""So many at most tell everything of a single setting; if it took more, it is told of as one of several."""


def findings(comparison: Comparison) -> tuple[str, ...]:
    """Return the short form, for the terminal and the head of a report: under 20 sentences for any sweep.

    What failed, what a budget left out and what is missing come last. Of a sweep in one setting it is
    everything; of one in a few settings it has a sentence for each; of a larger one the counts of winners.
    """
    settings = comparison.settings
    if len(settings) <= FEW_SETTINGS:
        told = setting_findings(comparison)
        each = tuple(f"{one.where}: {one.headline}" for one in told)
        everything = (*each, *told[0].details, *costs(comparison), *gaps(comparison))
        if len(settings) == 1 and len(everything) <= FEW_SENTENCES:
            return everything
        return (*each, *overall(comparison), *gaps(comparison))
    return summary(comparison)


def summary(comparison: Comparison) -> tuple[str, ...]:
    """Return what is said of all settings together, for a page that tells of each of them elsewhere."""
    return (*winners(comparison), *overall(comparison), *gaps(comparison))


def setting_findings(comparison: Comparison) -> tuple[SettingFinding, ...]:
    """Return the long form, for pages: what is known of each setting, in the sweep's order.

    Each has ``where`` for a heading, a ``headline`` and ``details`` as sentences.
    """
    return tuple(setting_finding(comparison, setting) for setting in comparison.settings)
