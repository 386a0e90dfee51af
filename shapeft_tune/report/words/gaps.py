"""What a sweep lacks: seeds to be sure, trials to come, trials that failed, searches that a budget ended."""

from __future__ import annotations

from collections.abc import Iterator

from shapeft_tune.report.comparison import Comparison
from shapeft_tune.report.words.phrases import counted, in_settings


def gaps(comparison: Comparison) -> Iterator[str]:
    """Yield one sentence for each kind of thing that is not there."""
    yield from _two_seeds(comparison)
    yield from _ended_by_budget(comparison)
    yield from _failed(comparison)
    yield from _missing(comparison)


def on_their_way(driver: str) -> str:
    """Return why a report of a sweep that runs may lack what `status` shows already."""
    return f"A driver runs this sweep now ({driver}): its last results may be on their way to the record."


def _two_seeds(comparison: Comparison) -> Iterator[str]:
    number = sum(cell.confirmation_trials == 2 for cell in comparison.cells)
    if number:
        where = in_settings(number, len(comparison.cells), "cell")
        yield (
            f"With two seeds, as {where}, an interval says almost nothing about how sure a number is; with "
            "three or more it does."
        )


def _ended_by_budget(comparison: Comparison) -> Iterator[str]:
    ended = [cell for cell in comparison.cells if cell.left_out_trials]
    if ended:
        tried = sum(cell.search_trials for cell in ended)
        wanted = tried + sum(cell.left_out_trials for cell in ended)
        yield (
            f"The budget ended the search of {len(ended)} of {len(comparison.cells)} cells after {tried} of "
            f"{wanted} trials."
        )


def _failed(comparison: Comparison) -> Iterator[str]:
    """Yield what failed for good: nobody waits for it, but ``--retry-failed`` tries it again."""
    search = sum(cell.failed_trials for cell in comparison.cells)
    seeds = sum(cell.failed_confirmations for cell in comparison.cells)
    failed = [
        *([counted(search, "search trial")] if search else []),
        *([_seeds(seeds, comparison)] if seeds else []),
    ]
    if failed:
        cells = sum(bool(cell.failed_trials or cell.failed_confirmations) for cell in comparison.cells)
        yield (
            f"{' and '.join(failed)} failed, in {cells} of {len(comparison.cells)} cells; `status` says why, "
            "and `sweep --retry-failed` runs them once more."
        )


def _missing(comparison: Comparison) -> Iterator[str]:
    search = sum(cell.missing_search_trials for cell in comparison.cells)
    seeds = sum(cell.missing_confirmations for cell in comparison.cells)
    if not search and not seeds:
        return
    missing = [
        *([counted(search, "search trial")] if search else []),
        *([_seeds(seeds, comparison)] if seeds else []),
    ]
    cells = sum(bool(cell.missing_search_trials or cell.missing_confirmations) for cell in comparison.cells)
    begun = sum(cell.incomplete_seeds for cell in comparison.cells)
    have = "has" if begun == 1 else "have"
    partly = f" ({begun} of the seeds {have} some folds, and no score yet)" if begun else ""
    are = "is" if search + seeds == 1 else "are"
    yield (
        f"The sweep is unfinished: {' and '.join(missing)} {are} missing{partly}, in {cells} of "
        f"{len(comparison.cells)} cells."
    )


def _seeds(number: int, comparison: Comparison) -> str:
    if comparison.rotated:
        return f"{counted(number, 'seed')} of five folds"
    return counted(number, "confirmation")
