"""A comparison in plain sentences: who won where, by how much, and what is still missing."""

from __future__ import annotations

from shapeft_tune.report.comparison import CellSummary, Comparison


def findings(comparison: Comparison) -> tuple[str, ...]:
    """Return one sentence per setting, and one about what is missing if the sweep is unfinished."""
    sentences = [_winner(comparison, setting) for setting in comparison.settings]
    return (*sentences, *_ended_by_budget(comparison), *_missing(comparison))


def describe_setting(label_fraction: float, temporal_length: int) -> str:
    """Return the setting in words: ``10 % labels, 6 dates``."""
    return f"{100 * label_fraction:g} % labels, {temporal_length} date{'s' if temporal_length > 1 else ''}"


def _winner(comparison: Comparison, setting: tuple[float, int]) -> str:
    """Compare only like with like: test scores where there are any, else validation scores."""
    scored = [cell for cell in comparison.cells if cell.setting == setting and cell.score is not None]
    tested = [cell for cell in scored if cell.is_tested]
    ranked = sorted(tested or scored, key=lambda cell: cell.score or 0.0, reverse=True)
    where = describe_setting(*setting)
    if not ranked:
        return f"{where}: no result yet."
    folds = ("five-fold test" if comparison.rotated else "test") if tested else "validation"
    winner = ranked[0]
    sentence = f"{where}: {winner.strategy} has the best {folds} mIoU, {winner.score:.3f}{_range(winner)}"
    if len(ranked) > 1:
        sentence += f", {_lead(winner, ranked[1])}"
    untested = [cell.strategy for cell in scored if tested and not cell.is_tested]
    if untested:
        sentence += f"; not tested yet: {', '.join(untested)}"
    return sentence + "."


def _range(cell: CellSummary) -> str:
    if cell.test_miou_low is None or cell.test_miou_high is None:
        return ""
    return f" (95 % interval {cell.test_miou_low:.3f} to {cell.test_miou_high:.3f})"


def _lead(winner: CellSummary, second: CellSummary) -> str:
    ahead = (winner.score or 0.0) - (second.score or 0.0)
    if ahead == 0:
        return f"the same as {second.strategy}"
    lead = f"{ahead:.3f} ahead of {second.strategy}"
    if winner.test_miou_low is None or second.test_miou_high is None:
        return f"{lead} (too few seeds to tell this from chance)"
    overlap = winner.test_miou_low <= second.test_miou_high
    return f"{lead}; their intervals {'overlap' if overlap else 'do not overlap'}"


def _ended_by_budget(comparison: Comparison) -> tuple[str, ...]:
    ended = [cell for cell in comparison.cells if cell.left_out_trials]
    if not ended:
        return ()
    tried = sum(cell.search_trials for cell in ended)
    wanted = tried + sum(cell.left_out_trials for cell in ended)
    return (
        f"The budget ended the search of {len(ended)} of {len(comparison.cells)} cells after {tried} of "
        f"{wanted} trials.",
    )


def _missing(comparison: Comparison) -> tuple[str, ...]:
    search = sum(cell.missing_search_trials for cell in comparison.cells)
    seeds = sum(cell.missing_confirmations for cell in comparison.cells)
    if not search and not seeds:
        return ()
    cells = sum(bool(cell.missing_search_trials or cell.missing_confirmations) for cell in comparison.cells)
    incomplete = sum(cell.incomplete_seeds for cell in comparison.cells)
    confirmations = f"{seeds} seeds of five folds" if comparison.rotated else f"{seeds} confirmations"
    left_out = f" ({incomplete} of them have some folds and are not scored yet)" if incomplete else ""
    return (
        f"The sweep is unfinished: {search} search trials and {confirmations} are missing{left_out}, "
        f"in {cells} of {len(comparison.cells)} cells.",
    )
