"""The files of a real sweep's report, number by number: against its comparison, its trials, and each other.

Scores are held against torchmetrics and scipy in ``independent.py``; what is here follows them from the
comparison to where people read them, and everything else back to what the trials wrote into the home.
"""

from __future__ import annotations

import csv
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from shapeft_tune.report import Comparison
from tests.report.parsed import Element, parsed, rows_of

Content = Mapping[str, Any]
NUMBER = re.compile(r"[+\N{MINUS SIGN}-]?\d+(?:\.\d+)?(?:e[+-]?\d+)?")


def check_files(folder: Path, comparison: Comparison, trials: Path) -> None:
    """Check ``report.json``, both CSV files, the page and the Markdown of a sweep with fixed folds.

    Args:
        folder: with the report.
        comparison: the sweep's, which holds what is right.
        trials: ``HOME/<sweep>/trials``.
    """
    content = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    results = {
        file.parent.name: json.loads(file.read_text()) | {"strategy": file.parent.parent.name}
        for file in trials.glob("*/*/result.json")
    }
    assert len(content["cells"]) == len(comparison.cells)
    for shown in content["cells"]:
        _check_scores(shown, comparison)
        _check_spent(shown, _of_cell(shown, results.values()))
    _check_compared(content, comparison)
    for search in content["searches"]:
        _check_search(search, results.values())
    _check_recipes(content["reproduction"]["configurations"], results)
    _check_csv(folder / "cells.csv", [_flat(cell) for cell in content["cells"]])
    _check_csv(folder / "differences.csv", content["differences"])
    page = parsed((folder / "report.html").read_text(encoding="utf-8"))
    _check_page(page, content)
    _check_markdown((folder / "report.md").read_text(encoding="utf-8"), page)


def best_search(results: Iterable[Content]) -> Content:
    """Return the search trial with the best validation score at its end; of equals the cheaper one."""
    whole = [each for each in results if each["role"] == "search" and _is_whole(each)]
    return max(whole, key=lambda each: (each["validation"]["miou"], -each["seconds"]))


def _is_whole(result: Content) -> bool:
    return bool(result["steps"] == result["config"]["training"]["steps"])


def _check_scores(shown: Content, comparison: Comparison) -> None:
    cell = comparison.cell(shown["strategy"], shown["label_fraction"], shown["temporal_length"])
    scores = [name for name in shown if name.startswith("test_") and name != "test_iou"]
    assert len(scores) == 6
    assert {name: shown[name] for name in scores} == {name: getattr(cell, name) for name in scores}
    assert shown["miou_by_seed"] == {str(seed): miou for seed, miou in cell.miou_by_seed.items()}
    assert shown["test_iou"] == {name: vars(score) for name, score in cell.test_iou.items()}


def _check_spent(shown: Content, results: Sequence[Content]) -> None:
    """Check what trials a cell had, and what they took, on one CPU each."""
    searched = [each for each in results if each["role"] == "search"]
    whole = [each for each in searched if _is_whole(each)]
    best = best_search(searched)
    confirmed = [each for each in results if each["role"] == "confirmation"]
    assert shown["search_trials"] == len(searched)
    assert shown["pruned_trials"] == len(searched) - len(whole)
    assert shown["confirmation_trials"] == len(confirmed)
    for name in ("failed_trials", "left_out_trials", "missing_search_trials", "retries"):
        assert shown[name] == 0, name
    assert shown["failed_confirmations"] == shown["missing_confirmations"] == 0
    assert shown["val_miou_best"] == pytest.approx(best["validation"]["miou"])
    assert (shown["fingerprint"], shown["steps"]) == (best["fingerprint"], best["steps"])
    assert shown["trainable_parameters"] == best["trainable_parameters"]
    assert shown["best_config"] == {
        path: _value_at(best["config"], path) for path in shown["best_config"]
    }  # fields that are searched
    for name, counted in (("device_hours", results), ("training_device_hours", confirmed)):
        hours = math.fsum(each["seconds"] for each in counted) / 3600
        cores = shown[name] / (hours if name == "device_hours" else hours / len(counted))
        assert cores == pytest.approx(round(2 * cores) / 2, rel=1e-3), "no whole or half number of cores"
        assert cores > 0


def _check_compared(content: Content, comparison: Comparison) -> None:
    for name in ("differences", "recommendations", "ranks"):
        assert len(content[name]) == len(getattr(comparison, name)) > 0
        for shown, each in zip(content[name], getattr(comparison, name), strict=True):
            assert shown == _as_json(each, shown)


def _as_json(each: Any, shown: Content) -> dict[str, Any]:
    """Return an object's fields of the names that are shown, as JSON would give them back."""
    fields = {name: getattr(each, name) for name in shown}
    if "differences" in shown:
        pairs = zip(each.differences, shown["differences"], strict=True)
        fields["differences"] = [_as_json(one, other) for one, other in pairs]
    found: dict[str, Any] = json.loads(json.dumps(fields, default=dict))
    return found


def _check_search(shown: Content, results: Iterable[Content]) -> None:
    assert shown["pruned_share"] == 0
    for cell in shown["cells"]:
        here = _of_cell(cell | {"strategy": shown["strategy"]}, results)
        searched = [each for each in here if each["role"] == "search"]
        assert len(cell["trials"]) == len(searched)
        for trial in cell["trials"]:
            (own,) = [
                each
                for each in searched
                if all(_value_at(each["config"], path) == value for path, value in trial["values"].items())
            ]
            assert trial["val_miou"] == pytest.approx(own["validation"]["miou"])
            assert (trial["steps"], trial["state"]) == (own["steps"], "complete")


def _check_recipes(shown: Sequence[Content], results: Mapping[str, Content]) -> None:
    for recipe in shown:
        assert recipe["config"] == results[recipe["fingerprint"]]["config"]
        for repeat in recipe["repeats"]:
            own = results[repeat["fingerprint"]]
            config = own["config"]
            assert (repeat["seed"], repeat["folds"]) == (config["seed"], config["data"]["folds"])
            assert repeat["test_miou"] == pytest.approx(own["test"]["miou"])


def _check_csv(file: Path, expected: Sequence[Content]) -> None:
    with file.open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert len(rows) == len(expected)
    for row, numbers in zip(rows, expected, strict=True):
        assert row.keys() >= numbers.keys()
        for name, text in row.items():
            value = numbers.get(name)
            if isinstance(value, list):
                assert text == " ".join(map(str, value))
            elif isinstance(value, int | float):
                assert float(text) == value, name
            else:
                assert text == (value or ""), name


def _flat(cell: Content) -> dict[str, Any]:
    """Return a cell of the JSON as a line of the CSV has it."""
    flat = {name: value for name, value in cell.items() if not isinstance(value, dict)}
    flat |= {f"miou.seed{seed}": miou for seed, miou in cell["miou_by_seed"].items()}
    for name, score in cell["test_iou"].items():
        ends = {f"iou.{name}.{end}": score[end] for end in ("low", "high")}
        flat |= {f"iou.{name}": score["mean"]} | ends
    return flat | {f"best.{path}": value for path, value in cell["best_config"].items()}


def _check_page(page: Element, content: Content) -> None:
    """Check the tables of scores, of differences and of the trainings behind them against the JSON."""
    scores = rows_of(page.by_id("table-results"))
    for row, cell in zip(scores, content["cells"], strict=True):
        assert _texts(row, "strategy", "labels", "dates") == _place(cell)
        columns = {
            "test mIoU": "test_miou_mean",
            "mIoU/20": "test_miou_seed20_mean",
            "macro F1": "test_macro_f1_mean",
            "accuracy": "test_overall_accuracy_mean",
            "val mIoU": "val_miou_best",
        }
        assert _texts(row, *columns) == [f"{cell[name]:.3f}" for name in columns.values()]
        assert _texts(row, "95 % interval") == [f"{cell['test_miou_low']:.3f}–{cell['test_miou_high']:.3f}"]
    for row, each in zip(rows_of(page.by_id("table-differences")), content["differences"], strict=True):
        assert _texts(row, "strategy", "labels", "dates", "verdict") == [*_place(each), each["verdict"]]
        assert float(row["difference"].attributes["data-value"]) == each["mean"]
        ends = "" if each["low"] is None else f"{each['low']:+.3f} to {each['high']:+.3f}"
        assert _texts(row, "difference", "interval") == [
            text.replace("-", "\N{MINUS SIGN}") for text in (f"{each['mean']:+.3f}", ends or "–")
        ]
    for row, cell in zip(rows_of(page.by_id("table-classes")), content["cells"], strict=True):
        for name, score in cell["test_iou"].items():
            assert row[name].text.strip().startswith("–" if score["mean"] is None else f"{score['mean']:.3f}")
    recipes = [each for each in page.all("details") if each.attributes.get("class") == "recipe"]
    for recipe, own in zip(recipes, content["reproduction"]["configurations"], strict=True):
        for row, repeat in zip(rows_of(recipe.all("table")[0]), own["repeats"], strict=True):
            assert _texts(row, "seed", "test mIoU") == [str(repeat["seed"]), f"{repeat['test_miou']:.3f}"]


def _check_markdown(text: str, page: Element) -> None:
    """Check that every table of the page is in the Markdown, with the same numbers in each row."""
    tables = [each for each in page.all("figure") if each.attributes.get("class") == "tabled"]
    assert len(tables) > 8
    for table in tables:
        caption = table.all("caption")[0].text
        _, found, below = text.partition(f"**{caption}**\n\n")
        assert found, f"no table {caption!r}"
        lines = below.partition("\n\n")[0].splitlines()[2:]
        rows = table.all("tbody")[0].all("tr")
        assert len(lines) == len(rows)
        for line, row in zip(lines, rows, strict=True):
            cells = [each for each in row.children if isinstance(each, Element)]
            parts = [part if isinstance(part, str) else part.text for cell in cells for part in cell.children]
            assert NUMBER.findall(line.replace("\\", "")) == NUMBER.findall(" ".join(parts)), caption


def _of_cell(cell: Content, results: Iterable[Content]) -> list[Content]:
    setting = {name: cell[name] for name in ("label_fraction", "temporal_length")}
    return [
        each
        for each in results
        if each["strategy"] == cell["strategy"] and each["config"]["data"].items() >= setting.items()
    ]


def _place(cell: Content) -> list[str]:
    return [cell["strategy"], f"{100 * cell['label_fraction']:g} %", str(cell["temporal_length"])]


def _texts(row: Mapping[str, Element], *headings: str) -> list[str]:
    return [row[heading].text.strip() for heading in headings]


def _value_at(config: Any, path: str) -> Any:
    for name in path.split("."):
        config = config[name]
    return config
