"""A report for machines: JSON and CSV. Names of fields and columns are stable."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from shapeft_tune.report.comparison import CellSummary, Comparison, Difference, RankStability, Recommendation
from shapeft_tune.report.comparison.pareto import published as published_front
from shapeft_tune.report.hyperparameters import StrategySearch
from shapeft_tune.report.published import published_for
from shapeft_tune.report.report import Report
from shapeft_tune.report.reproduction import Recipe, Reproduction

FIELDS = {
    "strategy": "strategy",
    "label_fraction": "label_fraction",
    "temporal_length": "temporal_length",
    "search_trials": "search_trials",
    "pruned_trials": "pruned_trials",
    "failed_trials": "failed_trials",
    "left_out_trials": "left_out_trials",
    "missing_search_trials": "missing_search_trials",
    "retries": "retries",
    "confirmation_trials": "confirmation_trials",
    "failed_confirmations": "failed_confirmations",
    "missing_confirmations": "missing_confirmations",
    "val_miou_best": "val_miou_best",
    "test_miou_mean": "test_miou_mean",
    "test_miou_low": "test_miou_low",
    "test_miou_high": "test_miou_high",
    "interval_over": "interval_over",
    "test_miou_seed20_mean": "test_miou_seed20_mean",
    "test_macro_f1_mean": "test_macro_f1_mean",
    "test_overall_accuracy_mean": "test_overall_accuracy_mean",
    "device_hours": "device_hours",
    "training_device_hours": "training_device_hours",
    "trainable_parameters": "trainable_parameters",
    "steps": "steps",
    "fingerprint": "best_fingerprint",
}
"""What a cell's numbers are called in files, and the field of :class:`CellSummary`; neither name nor meaning
changes."""
DIFFERENCE_FIELDS = (
    "strategy",
    "baseline",
    "label_fraction",
    "temporal_length",
    "mean",
    "low",
    "high",
    "p_value",
    "comparisons",
    "verdict",
)


def as_json(report: Report) -> str:
    """Return everything that a report holds; null where there is no number.

    Where folds rotate, ``"folds": "rotate"`` tells such numbers from those of fixed folds. Where cost is an
    objective, each cell has its ``"front"``, the cheapest trial first. Published numbers of the field are
    there only where they were asked for.
    """
    comparison = report.comparison
    name, version = comparison.metric or (None, None)
    published = {"published": _published(report)} if report.published else {}
    content = {
        "sweep": comparison.sweep,
        "question": comparison.question,
        "metric": {"name": name, "version": version},
        **({"folds": "rotate"} if comparison.rotated else {}),
        "baseline": comparison.baseline,
        "cells": [_cell(cell, comparison) for cell in comparison.cells],
        "differences": [_difference(each) for each in comparison.differences],
        "recommendations": [_recommendation(each) for each in comparison.recommendations],
        "ranks": [_ranks(each) for each in comparison.ranks],
        "searches": [_search(each) for each in report.searches],
        "reproduction": _reproduction(report.reproduction),
        **published,
    }
    return json.dumps(content, indent=2, allow_nan=False, ensure_ascii=False) + "\n"


def as_csv(comparison: Comparison) -> str:
    """Return one line per cell.

    ``miou.seed1`` is the test mIoU of a seed, ``iou.NAME`` the IoU of a class with its interval in
    ``iou.NAME.low`` and ``iou.NAME.high``, ``best.PATH`` the best search trial's value of a searched field.
    """
    rows = [_flat(cell) for cell in comparison.cells]
    order = (*FIELDS, "miou.seed", "iou.", "best.")
    columns = {name: None for row in rows for name in row}
    return _csv(rows, sorted(columns, key=lambda name: _place(name, order)))


def differences_as_csv(comparison: Comparison) -> str:
    """Return one line for each strategy and setting that is compared with the baseline."""
    rows = [
        {name: _plain(getattr(each, name)) for name in DIFFERENCE_FIELDS}
        | {"seeds": " ".join(map(str, each.seeds))}
        for each in comparison.differences
    ]
    return _csv(rows, [*DIFFERENCE_FIELDS, "seeds"])


def _csv(rows: list[dict[str, Any]], columns: list[str]) -> str:
    import pandas as pd

    # Objects: a missing count of pandas would turn integers to floats
    return str(pd.DataFrame(rows, columns=columns, dtype=object).to_csv(index=False))


def _place(name: str, order: tuple[str, ...]) -> int:
    """Return which group of columns one belongs to; within a group they stay as they came."""
    if name in order:
        return order.index(name)
    return next(
        index for index, start in enumerate(order) if start.endswith((".", "seed")) and name.startswith(start)
    )


def _flat(cell: CellSummary) -> dict[str, Any]:
    classes: dict[str, Any] = {}
    for name, iou in cell.test_iou.items():
        classes |= {f"iou.{name}": iou.mean, f"iou.{name}.low": iou.low, f"iou.{name}.high": iou.high}
    return (
        {name: getattr(cell, field) for name, field in FIELDS.items()}
        | {f"miou.seed{seed}": miou for seed, miou in cell.miou_by_seed.items()}
        | classes
        | {f"best.{path}": value for path, value in (cell.best_config or {}).items()}
    )


def _cell(cell: CellSummary, comparison: Comparison) -> dict[str, Any]:
    return (
        {name: getattr(cell, field) for name, field in FIELDS.items()}
        | {
            "miou_by_seed": {str(seed): miou for seed, miou in cell.miou_by_seed.items()},
            "test_iou": {
                name: {"mean": iou.mean, "low": iou.low, "high": iou.high}
                for name, iou in cell.test_iou.items()
            },
            "best_config": _mapping(cell.best_config),
        }
        | ({"front": published_front(cell.front)} if comparison.by_cost else {})
    )


def _difference(each: Difference) -> dict[str, Any]:
    return {name: _plain(getattr(each, name)) for name in DIFFERENCE_FIELDS} | {"seeds": list(each.seeds)}


def _recommendation(each: Recommendation) -> dict[str, Any]:
    return {
        "label_fraction": each.label_fraction,
        "temporal_length": each.temporal_length,
        "best": each.best,
        "cheapest": each.cheapest,
        "differences": [_difference(difference) for difference in each.differences],
    }


def _ranks(each: RankStability) -> dict[str, Any]:
    return {
        "label_fraction": each.label_fraction,
        "temporal_length": each.temporal_length,
        "seeds": list(each.seeds),
        "ranks": {strategy: list(ranks) for strategy, ranks in each.ranks.items()},
        "concordance": each.concordance,
        "first_share": each.first_share,
    }


def _search(search: StrategySearch) -> dict[str, Any]:
    return {
        "strategy": search.strategy,
        "importances": dict(search.importances),
        "pruned_share": search.pruned_share,
        "cells": [
            {
                "label_fraction": cell.label_fraction,
                "temporal_length": cell.temporal_length,
                "importances": dict(cell.importances),
                "trials": [
                    {
                        "values": dict(trial.values),
                        "val_miou": trial.val_miou,
                        "state": str(trial.state),
                        "steps": trial.steps,
                        "origin": trial.origin,
                    }
                    for trial in cell.trials
                ],
            }
            for cell in search.cells
        ],
    }


def _reproduction(again: Reproduction) -> dict[str, Any]:
    return {
        "commands": list(again.commands),
        "sweep_file": again.file,
        "computed_with": {name: list(values) for name, values in again.computed_with.items()},
        "configurations": [_recipe(recipe) for recipe in again.recipes],
    }


def _recipe(recipe: Recipe) -> dict[str, Any]:
    return {
        "strategy": recipe.strategy,
        "label_fraction": recipe.label_fraction,
        "temporal_length": recipe.temporal_length,
        "fingerprint": recipe.fingerprint,
        "config": dict(recipe.config),
        "repeats": [
            {
                "seed": repeat.seed,
                "folds": dict(repeat.folds),
                "fingerprint": repeat.fingerprint,
                "test_miou": repeat.test_miou,
            }
            for repeat in recipe.repeats
        ],
    }


def _published(report: Report) -> list[dict[str, Any]]:
    return [
        {
            "method": each.method,
            "miou": each.miou,
            "convention": each.protocol.convention,
            "protocol": each.protocol.words,
        }
        for each in published_for(report.sweep)
    ]


def _mapping(values: Mapping[str, Any] | None) -> dict[str, Any] | None:
    return None if values is None else dict(values)


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, str) else value
