"""What the record is told of a report."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from shapeft_tune.report import Comparison, compare
from shapeft_tune.report.note import note_of, result_table
from shapeft_tune.report.publish import colour_of, curves_of, metrics_of, publication_of
from shapeft_tune.report.report import Report, Reproduction
from shapeft_tune.tracking.wire import LONGEST_TAG
from tests.report.synthetic import synthetic_runs, synthetic_sweep


@pytest.fixture(scope="module")
def report() -> Report:
    sweep = synthetic_sweep(("utae", "croma_frozen"), seeds=2, trials=2)
    comparison = compare(sweep, synthetic_runs(sweep))
    return Report(sweep, comparison, (), Reproduction(sweep.name, ("sweep simulated.yaml",)))


def with_cell(comparison: Comparison, at: int, **fields: object) -> Comparison:
    cells = list(comparison.cells)
    cells[at] = replace(cells[at], **fields)  # type: ignore[arg-type]
    return replace(comparison, cells=tuple(cells))


def test_what_is_not_known_of_a_cell_is_left_out(report: Report) -> None:
    cell = replace(report.comparison.cells[0], test_miou_mean=None, test_miou_low=None, test_miou_high=None)
    assert "result/test_miou" not in metrics_of(cell)
    assert "result/val_miou" in metrics_of(cell)
    assert None not in metrics_of(cell).values()


def test_a_cells_numbers_have_their_names(report: Report) -> None:
    cell = report.comparison.cells[0]
    metrics = metrics_of(cell)
    assert metrics["result/test_miou"] == cell.test_miou_mean
    assert metrics["result/test_miou_low"] == cell.test_miou_low
    assert metrics[f"map/{cell.strategy}"] == cell.test_miou_mean


def test_every_strategy_and_number_of_dates_has_a_curve_over_labels(report: Report) -> None:
    curves = {(curve.strategy, curve.temporal_length): curve for curve in curves_of(report.comparison)}
    assert len(curves) == 2 * 3
    curve = curves["utae", 6]
    assert sorted(curve.points) == [0.01, 0.1, 1.0]
    assert curve.points[0.1] == report.comparison.cell("utae", 0.1, 6).test_miou_mean


def test_one_tested_cell_makes_no_curve(report: Report) -> None:
    alone = [cell for cell in report.comparison.cells if cell.label_fraction == 0.1]
    assert curves_of(replace(report.comparison, cells=tuple(alone))) == ()


def test_a_strategy_keeps_its_hue_and_pales_with_fewer_dates(report: Report) -> None:
    few, many = (report.comparison.cell("utae", 0.1, dates) for dates in (1, 24))
    assert colour_of(many, report.comparison) == "#0072b2"
    brightness = [int(colour_of(few, report.comparison)[at : at + 2], 16) for at in (1, 3, 5)]
    assert all(pale > full for pale, full in zip(brightness, (0x00, 0x72, 0xB2), strict=True))


def test_the_table_names_the_best_strategy_of_every_setting_once(report: Report) -> None:
    table = result_table(report.comparison)
    rows = table.splitlines()
    assert rows[0] == "| strategy | dates | 1 % | 10 % | 100 % |"
    assert len(rows) == 2 + 2 * 3
    assert table.count("**") == 2 * len(report.comparison.settings)
    best = max(report.comparison.cell(name, 1.0, 24).test_miou_mean or 0 for name in ("utae", "croma_frozen"))
    assert f"**{best:.3f}**" in table


def test_a_score_of_the_validation_folds_is_marked(report: Report) -> None:
    comparison = with_cell(report.comparison, 0, test_miou_mean=None, test_miou_low=None, test_miou_high=None)
    note = note_of(replace(report, comparison=comparison))
    assert f"{comparison.cells[0].val_miou_best:.3f}†" in note
    assert "† best trial" in note.replace("†:", "†")


def test_the_note_of_one_strategy_names_no_best_one(report: Report) -> None:
    sweep = synthetic_sweep(("utae",), seeds=2, trials=2)
    note = note_of(replace(report, comparison=compare(sweep, synthetic_runs(sweep))))
    assert "Bold" in note_of(report)
    assert "Bold" not in note
    assert "**" not in note.replace(f"**{sweep.question}**", "")


def test_the_note_of_a_sweep_without_test_scores_has_the_validation_folds_instead(report: Report) -> None:
    searched = tuple(run for run in synthetic_runs(report.sweep) if run.facts.seed == 0)
    comparison = compare(report.sweep, searched)
    table = result_table(comparison)
    assert table.count("†") == len(comparison.cells)
    assert "**" not in table
    assert "not tested yet" in note_of(replace(report, comparison=comparison))


def test_the_note_of_a_sweep_that_has_only_begun_has_a_dash_for_what_is_not_there(report: Report) -> None:
    first = tuple(run for run in synthetic_runs(report.sweep)[:1])
    table = result_table(compare(report.sweep, first))
    assert (table.count("†"), table.count("–")) == (1, len(report.comparison.cells) - 1)


def test_the_note_of_a_large_sweep_keeps_its_table(report: Report) -> None:
    sweep = synthetic_sweep(seeds=2, trials=2)
    large = replace(report, sweep=sweep, comparison=compare(sweep, synthetic_runs(sweep)))
    note = note_of(large)
    assert result_table(large.comparison) in note[:LONGEST_TAG]


def test_the_page_is_what_a_reader_is_sent_to(report: Report) -> None:
    files = {Path("a/report.md"): "report", Path("a/report.html"): "report", Path("a/cells.csv"): "report"}
    assert publication_of(report, files, None).page == "report/report.html"
    assert publication_of(report, {Path("a/report.md"): "report"}, None).page == "report/report.md"
    assert publication_of(report, {}, None).page == ""


def test_a_winners_weights_are_looked_for_in_its_trials_folder(report: Report) -> None:
    published = publication_of(report, {}, Path("/home/simulated")).cells[0]
    best = report.comparison.cells[0].best_fingerprint
    assert published.winner is not None
    assert published.winner.checkpoint == Path(f"/home/simulated/trials/utae/{best}/best.pt")
