from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable

import numpy as np
import pytest
from rich.console import Console

from shapeft_tune.config import SweepConfig
from shapeft_tune.report import Comparison, Run, as_terminal, compare, findings
from shapeft_tune.report.tables import as_csv, as_json, as_markdown

Make = Callable[..., Run]


@pytest.fixture
def comparison(sweep: SweepConfig, run: Make) -> Comparison:
    """Return 6 dates finished for both strategies, 1 date not begun with."""
    runs = [run(1e-3, best__val_miou=0.5)]
    runs += [run(1e-3, seed, test__miou=score) for seed, score in ((1, 0.40), (2, 0.41))]
    runs += [run(2e-3, strategy="croma", best__val_miou=0.3)]
    runs += [run(2e-3, seed, strategy="croma", test__miou=score) for seed, score in ((1, 0.2), (2, 0.21))]
    return compare(sweep, runs)


def test_the_json_has_exactly_the_published_fields(comparison: Comparison) -> None:
    content = json.loads(as_json(comparison))
    assert list(content) == ["sweep", "metric", "cells"]
    assert content["sweep"] == "demo"
    assert content["metric"] == {"name": "miou", "version": 1}
    empty, *_, croma = content["cells"]
    assert croma == {
        "strategy": "croma",
        "label_fraction": 0.1,
        "temporal_length": 6,
        "search_trials": 1,
        "pruned_trials": 0,
        "failed_trials": 0,
        "left_out_trials": 0,
        "retries": 0,
        "confirmation_trials": 2,
        "val_miou_best": 0.3,
        "test_miou_mean": pytest.approx(0.205),
        "test_miou_low": pytest.approx(0.205 - 12.7062 * 0.005, abs=1e-5),  # t(0.975, 1) = 12.7062
        "test_miou_high": pytest.approx(0.205 + 12.7062 * 0.005, abs=1e-5),
        "test_miou_seed20_mean": None,
        "test_overall_accuracy_mean": None,
        "best_config": {"training.optimiser.lr": 0.002},
    }
    assert empty["test_miou_mean"] is None
    assert empty["best_config"] is None


def test_the_json_of_a_sweep_without_trials_names_no_metric(sweep: SweepConfig) -> None:
    assert json.loads(as_json(compare(sweep, [])))["metric"] == {"name": None, "version": None}


def test_the_csv_has_a_line_per_cell_and_a_column_per_searched_field(comparison: Comparison) -> None:
    rows = list(csv.DictReader(io.StringIO(as_csv(comparison))))
    assert [row["best.training.optimiser.lr"] for row in rows] == ["", "", "0.001", "0.002"]
    assert [row["confirmation_trials"] for row in rows] == ["0", "0", "2", "2"]
    assert float(rows[2]["test_miou_mean"]) == pytest.approx(0.405)


def test_the_markdown_has_a_row_per_cell_in_both_tables(comparison: Comparison) -> None:
    text = as_markdown(comparison)
    assert text.startswith("# demo\n\nDo more dates help?\n\n- ")
    assert "| utae | 10 % | 6 | 1/3 | 0 | 0 | 0 | 2/2 | 0.500 | 0.405 | 0.341–0.469 | – | – |" in text
    assert "| croma | 10 % | 1 | 0/3 | 0 | 0 | 0 | 0/2 | – | – | – | – | – |" in text
    assert "| croma | 10 % | 6 | 0.002 |" in text
    widths = {line.count("|") for line in text.splitlines() if line.startswith("| ") and "/3" in line}
    assert widths == {14}


def test_the_winner_of_each_setting_is_bold_in_the_terminal(comparison: Comparison) -> None:
    console = Console(width=160, force_terminal=True, color_system="standard", file=io.StringIO())
    console.print(as_terminal(comparison))
    assert isinstance(console.file, io.StringIO)
    bold = [line for line in console.file.getvalue().splitlines() if "\x1b[1m" in line and "10 %" in line]
    assert len(bold) == 1
    assert "utae" in bold[0]


def test_the_terminal_table_fits_into_eighty_characters(comparison: Comparison) -> None:
    console = Console(width=80, file=io.StringIO())
    console.print(as_terminal(comparison))
    assert isinstance(console.file, io.StringIO)
    assert "utae 10 % 6 1/3 2/2 0.500 0.405 0.341–0.469" in " ".join(console.file.getvalue().split())


def test_the_findings_say_who_won_where_and_what_is_missing(comparison: Comparison) -> None:
    assert findings(comparison) == (
        "10 % labels, 1 date: no result yet.",
        "10 % labels, 6 dates: utae has the best test mIoU, 0.405 (95 % interval 0.341 to 0.469), "
        "0.200 ahead of croma; their intervals do not overlap.",
        "The sweep is unfinished: 10 search trials and 4 confirmations are missing, in 4 of 4 cells.",
    )


def test_a_tested_strategy_is_not_compared_with_an_untested_one(sweep: SweepConfig, run: Make) -> None:
    runs = [
        run(1e-3, best__val_miou=0.5),
        run(1e-3, 1, test__miou=0.4),
        run(1e-3, strategy="croma", best__val_miou=0.9),
    ]
    _, sentence, *_ = findings(compare(sweep, runs))
    assert sentence == "10 % labels, 6 dates: utae has the best test mIoU, 0.400; not tested yet: croma."


def test_without_test_scores_the_findings_go_by_validation(sweep: SweepConfig, run: Make) -> None:
    runs = [run(1e-3, best__val_miou=0.5), run(1e-3, strategy="croma", best__val_miou=0.75)]
    _, sentence, *_ = findings(compare(sweep, runs))
    assert sentence == (
        "10 % labels, 6 dates: croma has the best validation mIoU, 0.750, "
        "0.250 ahead of utae (too few seeds to tell this from chance)."
    )


@pytest.fixture
def rotated(rotating: SweepConfig, run: Make) -> Comparison:
    """Return 6 dates with one whole seed of five folds and one of two, 1 date not begun with."""
    found = [run(1e-3, best__val_miou=0.5)]
    for seed, folds in ((1, 5), (2, 2)):
        counts = [np.full((19, 19), seed + rotation) for rotation in range(folds)]
        found += [
            run(1e-3, seed, rotation=rotation, counts_KK=each, test__miou=0.4)
            for rotation, each in enumerate(counts)
        ]
    return compare(rotating, found)


def test_a_report_on_rotated_folds_says_so_everywhere(rotated: Comparison, comparison: Comparison) -> None:
    for each, said in ((rotated, True), (comparison, False)):
        console = Console(width=80, file=io.StringIO())
        console.print(as_terminal(each))
        assert isinstance(console.file, io.StringIO)
        assert ("five folds, confusions summed" in console.file.getvalue()) is said
        assert ("Five folds, confusions summed" in as_markdown(each)) is said
        assert (json.loads(as_json(each)).get("folds") == "rotate") is said
        assert ("best five-fold test mIoU" in findings(each)[1]) is said


def test_seeds_that_lack_folds_are_said(rotated: Comparison) -> None:
    assert findings(rotated)[-1] == (
        "The sweep is unfinished: 11 search trials and 11 seeds of five folds are missing (1 of them have "
        "some folds and are not scored yet), in 4 of 4 cells."
    )
    assert "| utae | 10 % | 6 | 1/3 | 0 | 0 | 0 | 1/3 | 0.500 | 0.027 | – |" in as_markdown(rotated)


def test_a_finished_sweep_misses_nothing(sweep: SweepConfig, run: Make) -> None:
    runs = [
        run(lr, seed, strategy, dates, best__val_miou=1 - lr, test__miou=0.4)
        for strategy in ("utae", "croma")
        for dates in (1, 6)
        for lr, seed in ((1e-3, 0), (2e-3, 0), (3e-3, 0), (1e-3, 1), (1e-3, 2))
    ]
    assert not any("missing" in sentence for sentence in findings(compare(sweep, runs)))


def test_a_search_that_its_budget_ended_is_marked_and_not_called_unfinished(
    sweep: SweepConfig, run: Make
) -> None:
    fields = {name: getattr(sweep, name) for name in type(sweep).model_fields}
    limited = {"trials": 3, "confirmation_seeds": 1, "device_hours": 0.01}
    runs = [
        run(1e-3, seed, strategy, dates, best__val_miou=0.5, test__miou=0.4, cost__device_seconds=40.0)
        for strategy in ("utae", "croma")
        for dates in (1, 6)
        for seed in (0, 1)
    ]
    comparison = compare(SweepConfig.model_validate(fields | {"budget": limited}), runs)
    assert findings(comparison)[-1] == "The budget ended the search of 4 of 4 cells after 4 of 12 trials."
    text = as_markdown(comparison)
    assert "| utae | 10 % | 6 | 1/3† | 0 |" in text
    assert "†: the cell's budget ended its search" in text
