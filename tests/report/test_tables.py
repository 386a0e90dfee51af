from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from shapeft_tune.config import SweepConfig
from shapeft_tune.report import Comparison, Run, as_terminal
from shapeft_tune.report.comparison import ClassScore
from shapeft_tune.report.page import as_markdown
from shapeft_tune.report.report import Report, report_of
from shapeft_tune.report.tables import as_csv, as_json, differences_as_csv, latex_tables
from shapeft_tune.report.tables.latex import escaped
from shapeft_tune.report.tables.layout import Column, Entry, Table, amount
from shapeft_tune.report.tables.markdown import table_as_markdown
from shapeft_tune.report.tables.results import best_map
from shapeft_tune.report.tables.searches import short_names
from tests.report.reports import simulated

Make = Callable[..., Run]


@pytest.fixture
def report(sweep: SweepConfig, run: Make) -> Report:
    """Return 6 dates finished for both strategies, 1 date not begun with."""
    runs = [run(1e-3, best__val_miou=0.5)]
    runs += [run(1e-3, seed, test__miou=score) for seed, score in ((1, 0.40), (2, 0.41))]
    runs += [run(2e-3, strategy="croma", best__val_miou=0.3)]
    runs += [run(2e-3, seed, strategy="croma", test__miou=score) for seed, score in ((1, 0.2), (2, 0.21))]
    return report_of(sweep, runs)


@pytest.fixture(scope="module")
def whole() -> Report:
    return simulated()


def test_the_json_of_a_cell_has_exactly_the_published_fields(report: Report) -> None:
    content = json.loads(as_json(report))
    assert list(content) == [
        "sweep",
        "question",
        "metric",
        "baseline",
        "cells",
        "differences",
        "recommendations",
        "ranks",
        "searches",
        "reproduction",
    ]
    assert content["sweep"] == "demo"
    assert content["metric"] == {"name": "miou", "version": 1}
    assert content["baseline"] == "utae"
    empty, *_, croma = content["cells"]
    assert croma == {
        "strategy": "croma",
        "label_fraction": 0.1,
        "temporal_length": 6,
        "search_trials": 1,
        "pruned_trials": 0,
        "failed_trials": 0,
        "left_out_trials": 0,
        "missing_search_trials": 2,
        "retries": 0,
        "confirmation_trials": 2,
        "failed_confirmations": 0,
        "missing_confirmations": 0,
        "val_miou_best": 0.3,
        "test_miou_mean": pytest.approx(0.205),
        "test_miou_low": pytest.approx(0.205 - 12.7062 * 0.005, abs=1e-5),  # t(0.975, 1) = 12.7062
        "test_miou_high": pytest.approx(0.205 + 12.7062 * 0.005, abs=1e-5),
        "interval_over": "seeds",
        "test_miou_seed20_mean": None,
        "test_macro_f1_mean": None,
        "test_overall_accuracy_mean": None,
        "device_hours": 0.0,
        "training_device_hours": None,
        "trainable_parameters": None,
        "steps": 1000,
        "fingerprint": report.comparison.cells[-1].best_fingerprint,
        "miou_by_seed": {"1": 0.2, "2": 0.21},
        "test_iou": {},
        "best_config": {"training.optimiser.lr": 0.002},
    }
    assert empty["test_miou_mean"] is None
    assert empty["best_config"] is None


def test_the_json_of_a_sweep_without_trials_names_no_metric(sweep: SweepConfig) -> None:
    content = json.loads(as_json(report_of(sweep, [])))
    assert content["metric"] == {"name": None, "version": None}
    assert content["differences"] == content["recommendations"] == content["ranks"] == []


def test_differences_recommendations_ranks_and_searches_are_in_the_json(whole: Report) -> None:
    content = json.loads(as_json(whole))
    assert len(content["differences"]) == 2 * 9
    for stored, told in zip(content["differences"], whole.comparison.differences, strict=True):
        assert (stored["mean"], stored["p_value"]) == (told.mean, told.p_value)
        assert stored["verdict"] == str(told.verdict)
        assert stored["seeds"] == list(told.seeds)
    assert [each["best"] for each in content["recommendations"]] == [
        each.best for each in whole.comparison.recommendations
    ]
    assert [each["concordance"] for each in content["ranks"]] == [
        each.concordance for each in whole.comparison.ranks
    ]
    assert [each["strategy"] for each in content["searches"]] == list(whole.comparison.strategies)
    assert sum(len(cell["trials"]) for each in content["searches"] for cell in each["cells"]) == 27 * 6
    first = content["cells"][0]["test_iou"]["Meadow"]
    assert first["low"] < first["mean"] < first["high"]
    assert "published" not in content


def test_published_numbers_are_in_the_json_where_they_were_asked_for(whole: Report) -> None:
    stored = json.loads(as_json(replace(whole, published=True)))["published"]
    (utae,) = [each for each in stored if each["method"] == "U-TAE"]
    assert utae["miou"] == 0.631
    assert utae["convention"] == "miou"


def test_the_csv_has_a_line_per_cell_and_a_column_per_searched_field(report: Report) -> None:
    rows = list(csv.DictReader(io.StringIO(as_csv(report.comparison))))
    assert [row["best.training.optimiser.lr"] for row in rows] == ["", "", "0.001", "0.002"]
    assert [row["confirmation_trials"] for row in rows] == ["0", "0", "2", "2"]
    assert float(rows[2]["test_miou_mean"]) == pytest.approx(0.405)
    assert [row["miou.seed2"] for row in rows] == ["", "", "0.41", "0.21"]


def test_the_columns_of_the_csv_stand_in_groups_whatever_cell_has_them_first(whole: Report) -> None:
    rows = list(csv.DictReader(io.StringIO(as_csv(whole.comparison))))
    names = list(rows[0])
    groups = [re.sub(r"\..*", "", name) for name in names]
    assert groups == [*groups[: groups.index("miou")], *["miou"] * 3, *["iou"] * 18, *["best"] * 3]
    for row, cell in zip(rows, whole.comparison.cells, strict=True):
        assert float(row["iou.Corn"]) == cell.test_iou["Corn"].mean
        assert float(row["iou.Corn.low"]) == cell.test_iou["Corn"].low
        assert row["trainable_parameters"] == str(
            cell.trainable_parameters
        )  # no fraction from a gap elsewhere


def test_the_csv_of_differences_has_a_line_for_each(whole: Report, sweep: SweepConfig) -> None:
    rows = list(csv.DictReader(io.StringIO(differences_as_csv(whole.comparison))))
    assert [float(row["mean"]) for row in rows] == [each.mean for each in whole.comparison.differences]
    assert {row["seeds"] for row in rows} == {"1 2 3"}
    none = differences_as_csv(report_of(sweep, []).comparison)
    assert none.startswith("strategy,baseline,label_fraction")
    assert none.count("\n") == 1


def test_the_markdown_has_a_row_per_cell_in_both_tables(report: Report) -> None:
    text = as_markdown(report)
    assert text.startswith("# demo\n\nDo more dates help?\n\n## The answer\n\n")
    assert (
        "| utae | 10 % | 6 | **0.405** | 0.341–0.469‡ | – | – | – | 0.500 | 2/2 | 1/3 | 0 | 0 | 0 |" in text
    )
    assert "| croma | 10 % | 1 | – | – | – | – | – | – | 0/2 | 0/3 | 0 | 0 | 0 |" in text
    assert "| croma | 10 % | 6 | 0.002 | 0.300 |" in text
    assert "‡: over seeds alone" in text


def test_the_markdown_shows_everything_that_the_json_has_of_differences(whole: Report) -> None:
    text = as_markdown(whole)
    for each in whole.comparison.differences:
        row = f"| {each.strategy} | {100 * each.label_fraction:g} % | {each.temporal_length} | "
        shown = next(
            line for line in text.split("Differences to utae")[1].splitlines() if line.startswith(row)
        )
        assert f"{each.mean:+.3f}".replace("-", "\N{MINUS SIGN}") in shown
        assert f"| {each.verdict} |" in shown


def test_text_that_markdown_would_read_is_shown_as_it_is() -> None:
    table = Table(
        "odd", "", (Column("a|b", numeric=False), Column("n")), ((Entry("<b>|*x*\n[y](z)"), Entry("1")),)
    )
    headings, rule, row = table_as_markdown(table).splitlines()
    assert headings == r"| a\|b | n |"
    assert rule == "| --- | ---: |"
    assert row == r"| \<b\>\|\*x\* \[y\](z) | 1 |"


def test_the_winner_of_each_setting_is_bold_in_the_terminal(report: Report) -> None:
    console = Console(width=160, force_terminal=True, color_system="standard", file=io.StringIO())
    console.print(as_terminal(report.comparison))
    assert isinstance(console.file, io.StringIO)
    bold = [line for line in console.file.getvalue().splitlines() if "\x1b[1m" in line and "10 %" in line]
    assert len(bold) == 1
    assert "utae" in bold[0]


def test_the_terminal_table_fits_into_eighty_characters(report: Report) -> None:
    console = Console(width=80, file=io.StringIO())
    console.print(as_terminal(report.comparison))
    assert isinstance(console.file, io.StringIO)
    assert "utae 10 % 6 1/3 2/2 0.500 0.405 0.341–0.469‡" in " ".join(console.file.getvalue().split())


@pytest.fixture
def rotated(rotating: SweepConfig, run: Make) -> Report:
    """Return 6 dates with one whole seed of five folds and one of two, 1 date not begun with."""
    found = [run(1e-3, best__val_miou=0.5)]
    for seed, folds in ((1, 5), (2, 2)):
        counts = [np.full((19, 19), seed + rotation) for rotation in range(folds)]
        found += [
            run(1e-3, seed, rotation=rotation, counts_KK=each, test__miou=0.4)
            for rotation, each in enumerate(counts)
        ]
    return report_of(rotating, found)


def test_a_report_on_rotated_folds_says_so_everywhere(rotated: Report, report: Report) -> None:
    for each, said in ((rotated, True), (report, False)):
        console = Console(width=80, file=io.StringIO())
        console.print(as_terminal(each.comparison))
        assert isinstance(console.file, io.StringIO)
        assert ("five folds, confusions summed" in console.file.getvalue()) is said
        assert ("Five folds, confusions summed" in as_markdown(each)) is said
        assert (json.loads(as_json(each)).get("folds") == "rotate") is said
        assert ("all five folds" in latex_tables(each.comparison)["results"]) is said


def test_seeds_that_lack_folds_are_counted_as_incomplete(rotated: Report) -> None:
    text = as_markdown(rotated)
    assert "| utae | 10 % | 6 | **0.027** | – | 0.026 | 0.053 | 0.053 | 0.500 | 1/3 | 1/3 |" in text
    missing = text.split("## What is missing")[1]
    assert "| utae | 10 % | 6 | 1/3 | 2 | – | – | 1/3 | 2 | – | 1 |" in missing


def test_a_search_that_its_budget_ended_is_marked(sweep: SweepConfig, run: Make) -> None:
    fields = {name: getattr(sweep, name) for name in type(sweep).model_fields}
    limited = {"trials": 3, "confirmation_seeds": 1, "device_hours": 0.01}
    runs = [
        run(1e-3, seed, strategy, dates, best__val_miou=0.5, test__miou=0.4, cost__device_seconds=40.0)
        for strategy in ("utae", "croma")
        for dates in (1, 6)
        for seed in (0, 1)
    ]
    text = as_markdown(report_of(SweepConfig.model_validate(fields | {"budget": limited}), runs))
    assert "| utae | 10 % | 6 | **0.400** | – | – | – | – | 0.500 | 1/1 | 1/3† |" in text
    assert "†: the cell's budget ended its search" in text


def test_the_best_strategy_of_a_setting_stands_with_what_a_training_takes(whole: Report) -> None:
    setting = whole.comparison.settings[0]
    first = whole.comparison.recommendations[0]
    cheapest = next(name for name in whole.comparison.strategies if name != first.best)
    hours = {first.best: 2.0, cheapest: 0.25}
    cells = [
        replace(cell, training_device_hours=hours.get(cell.strategy))
        for cell in whole.comparison.cells
        if cell.setting == setting
    ]
    advice = (replace(first, cheapest=cheapest),)
    table = best_map(replace(whole.comparison, cells=tuple(cells), recommendations=advice))
    assert table
    (entry,) = table.rows[0][1:]
    assert entry.text == first.best
    assert entry.detail.endswith("), 2 h")
    assert entry.also == f"or {cheapest}, 0.25 h"
    assert "(h: device hours)" in table.notes[0]


def test_a_latex_table_has_a_line_per_setting_and_the_best_in_bold(whole: Report) -> None:
    tables = latex_tables(whole.comparison)
    assert list(tables) == ["results", "differences"]
    body = tables["results"].split(r"\midrule")[1].split(r"\bottomrule")[0]
    lines = body.strip().splitlines()
    assert len(lines) == 9
    for line, setting in zip(lines, whole.comparison.settings, strict=True):
        cells = {name: whole.comparison.cell(name, *setting) for name in whole.comparison.strategies}
        best = max(cell.test_miou_mean or 0.0 for cell in cells.values())
        assert line.count("&") == 4
        assert line.count(r"\textbf") == 1
        assert rf"\textbf{{{best:.3f}}}" in line
        for cell in cells.values():
            assert f"[{cell.test_miou_low:.3f}, {cell.test_miou_high:.3f}]" in line
    assert r"croma\_frozen & croma\_finetune" in tables["differences"]
    for text in tables.values():
        assert text.count("{") == text.count("}")
        assert text.isascii()


def test_a_latex_table_without_tests_has_no_differences(sweep: SweepConfig) -> None:
    tables = latex_tables(report_of(sweep, []).comparison)
    assert list(tables) == ["results"]
    assert r"10\,\% & 6 & -- & -- \\" in tables["results"]


def test_what_latex_would_read_is_escaped() -> None:
    assert escaped(r"a_b & 100 % \x {y} ~^$#") == (
        r"a\_b \& 100 \% \textbackslash{}x \{y\} \textasciitilde{}\textasciicircum{}\$\#"
    )


@pytest.mark.parametrize(
    ("value", "shown"),
    [(2.0, "2.00"), (0.2264, "0.226"), (18.94, "18.9"), (497.3, "497"), (1234.5, "1234"), (None, "–")],
)
def test_an_amount_has_three_digits(value: float | None, shown: str) -> None:
    assert amount(value).text == shown


def test_paths_are_named_by_as_much_as_tells_them_apart() -> None:
    paths = ["training.optimiser.lr", "model.temporal.dropout", "model.decoder.dropout", "lr_ratio"]
    assert short_names(paths) == {
        "training.optimiser.lr": "lr",
        "model.temporal.dropout": "temporal.dropout",
        "model.decoder.dropout": "decoder.dropout",
        "lr_ratio": "lr_ratio",
    }


def test_a_class_that_occurs_under_some_cells_alone_has_dashes_elsewhere(whole: Report) -> None:
    first, *others = whole.comparison.cells
    odd = replace(first, test_iou={"Rye | <rare>": ClassScore(0.25)})
    comparison: Comparison = replace(whole.comparison, cells=(odd, *others))
    text = as_markdown(replace(whole, comparison=comparison)).split("## Classes")[1]
    assert r"| Rye \| \<rare\> |" in text
    assert "| utae | 1 % | 1 | 0.250 | – | – | – | – | – | – |" in text
