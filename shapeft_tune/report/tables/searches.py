"""Tables of hyperparameters: what was best in every cell, and how much each mattered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from shapeft_tune.config import SweepConfig
from shapeft_tune.config.ranges import RangeField
from shapeft_tune.report.comparison import Comparison
from shapeft_tune.report.hyperparameters import StrategySearch
from shapeft_tune.report.hyperparameters.fields import short_names
from shapeft_tune.report.tables.layout import (
    NONE,
    Column,
    Entry,
    Table,
    code,
    count,
    place,
    place_columns,
    score,
    text,
    value_text,
)


def best_values_table(comparison: Comparison) -> Table | None:
    """Return the best search trial's values in every cell; None where nothing is best or searched yet."""
    configs = [dict(cell.best_config or {}) for cell in comparison.cells]
    paths = list(dict.fromkeys(path for config in configs for path in config))
    if not paths:
        return None
    names = short_names(paths)
    columns = (
        *place_columns(),
        *(Column(names[path], path, _is_numeric(path, configs)) for path in paths),
        Column("val mIoU"),
    )
    rows = tuple(
        (
            *place(cell.strategy, *cell.setting),
            *(_value_entry(config, path) for path in paths),
            score(cell.val_miou_best),
        )
        for cell, config in zip(comparison.cells, configs, strict=True)
    )
    written_out = [f"*{names[path]}* is `{path}`" for path in paths if names[path] != path]
    notes = ("; ".join(written_out) + ".",) if written_out else ()
    return Table("best_values", "Best hyperparameters of every cell", columns, rows, notes)


def _value_entry(config: Mapping[str, Any], path: str) -> Entry:
    if path not in config:
        return Entry(NONE)
    value = config[path]
    return Entry(value_text(value), value if _is_number(value) else value_text(value))


def _is_numeric(path: str, configs: Sequence[Mapping[str, Any]]) -> bool:
    return all(_is_number(config[path]) for config in configs if path in config)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def importances_table(searches: Sequence[StrategySearch]) -> Table | None:
    """Return how much of the score each hyperparameter explains, by strategy; None where it is unknown."""
    paths = list(dict.fromkeys(path for search in searches for path in search.importances))
    if not paths:
        return None
    known = [search for search in searches if search.importances]
    columns = (
        Column("hyperparameter", numeric=False),
        *(Column(search.strategy) for search in known),
    )
    rows = tuple(
        (
            Entry(path, path, code=True),
            *(_importance(search.importances.get(path)) for search in known),
        )
        for path in paths
    )
    notes = (
        "Share of the variation of the validation mIoU that a hyperparameter accounts for, mean over the "
        "cells in which enough trials are complete. Importances of few trials are rough.",
    )
    return Table("importances", "Importance of every hyperparameter", columns, rows, notes)


def _importance(value: float | None) -> Entry:
    return Entry(NONE) if value is None else Entry(f"{value:.2f}", value)


def searches_table(searches: Sequence[StrategySearch]) -> Table | None:
    """Return how many search trials each strategy had, and how they ended; None where none has ended."""
    begun = [search for search in searches if any(cell.trials for cell in search.cells)]
    if not begun:
        return None
    columns = (
        Column("strategy", numeric=False),
        Column("search trials", "that ended, over all cells"),
        Column("complete"),
        Column("pruned"),
        Column("failed"),
        Column("pruned share"),
    )
    rows = tuple(_search_row(search) for search in begun)
    return Table("searches", "How the search trials ended", columns, rows)


def _search_row(search: StrategySearch) -> tuple[Entry, ...]:
    states = [trial.state for cell in search.cells for trial in cell.trials]
    share = search.pruned_share
    return (
        text(search.strategy),
        count(len(states)),
        *(count(states.count(state)) for state in ("complete", "pruned", "failed")),
        Entry(NONE) if share is None else Entry(f"{100 * share:.0f} %", share),
    )


def searched_table(sweep: SweepConfig) -> Table | None:
    """Return the ranges that were searched, and by which strategies; None where there are none."""
    strategies: dict[tuple[str, str], list[str]] = {}
    for name, strategy in sweep.strategies.items():
        for path, range_ in (sweep.search | strategy.search).items():
            strategies.setdefault((path, _range_text(range_)), []).append(name)
    if not strategies:
        return None
    columns = (
        Column("hyperparameter", numeric=False),
        Column("range", numeric=False),
        Column("searched by", numeric=False),
    )
    rows = tuple(
        (code(path), code(range_), text("all" if len(names) == len(sweep.strategies) else ", ".join(names)))
        for (path, range_), names in strategies.items()
    )
    return Table("searched", "What was searched", columns, rows)


def _range_text(range_: RangeField) -> str:
    """Return a range as the sweep file has it, on one line."""
    import yaml

    plain = range_.model_dump(mode="json", by_alias=True, exclude_unset=True)
    return str(yaml.safe_dump(plain, default_flow_style=True, width=10**6, allow_unicode=True)).strip()
