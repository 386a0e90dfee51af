"""What a person sees of a sweep in MLflow's own pages, in a real browser."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from shapeft_tune.report.publish import curves_of
from shapeft_tune.tracking.connection import connect
from shapeft_tune.tracking.publishing.views import TRIALS, address_of_view
from tests.browser import save_screenshot
from tests.ui.conftest import SCREENSHOTS, Site
from tests.ui.mlflow_page import ML, expand, group_by, plots_on, run_row, trouble_on, visit
from tests.ui.record import LABEL_FRACTIONS, STRATEGIES

if TYPE_CHECKING:
    from playwright.sync_api import Page, ViewportSize

pytestmark = pytest.mark.timeout(600)
"""Recording, a server and a browser, beside other tests on a small machine."""
TALL: ViewportSize = {"width": 1400, "height": 2800}
"""The table keeps only those rows in the page that the window shows."""
COMPARISON = "viewStateShareKey=comparison&compareRunsMode=CHART"
Screenshot = Callable[..., Path]


def test_cells_are_nested_under_the_sweep_and_trials_under_their_cells(
    site: Site, page: Page, screenshot: Screenshot
) -> None:
    visit(page, f"{site.experiment}/runs?{ML}")
    run_row(page, "simulated").wait_for()
    assert run_row(page, "utae").count() == 0
    expand(page, "simulated")
    cell = run_row(page, "utae labels=0.1 dates=24")
    cell.wait_for()
    expand(page, "utae labels=0.1 dates=24")
    run_row(page, "seed=1").wait_for()
    assert run_row(page, "utae labels=0.1 dates=24").count() == 1 + 2 + 2  # the cell, its search, its seeds
    screenshot()


@pytest.mark.parametrize(
    ("tag", "values"),
    [("label_fraction", [str(each) for each in LABEL_FRACTIONS]), ("strategy", list(STRATEGIES))],
)
def test_runs_can_be_grouped_by(
    site: Site, page: Page, screenshot: Screenshot, tag: str, values: list[str]
) -> None:
    visit(page, f"{site.experiment}/runs?{ML}")
    run_row(page, "simulated").wait_for()
    page.set_viewport_size(TALL)
    group_by(page, tag)
    for value in values:
        run_row(page, f"Group: {value}").wait_for()
    screenshot()


def test_the_comparison_draws_every_cell_and_a_line_for_each_number_of_dates(
    site: Site, page: Page, screenshot: Screenshot
) -> None:
    page.set_viewport_size(TALL)
    visit(page, f"{site.experiment}/runs?{COMPARISON}&{ML}")
    page.locator("canvas").first.wait_for()  # the parallel coordinates
    page.wait_for_function("document.querySelectorAll('.js-plotly-plot').length >= 7")
    cells, curves = len(site.report.comparison.cells), curves_of(site.report.comparison)
    plots = plots_on(page)
    screenshot()
    assert trouble_on(page) == []
    lines = {trace["name"]: trace for trace in plots[0] if trace["type"] == "scatter"}
    assert lines.keys() == {curve.title for curve in curves}
    for curve in curves:
        assert lines[curve.title]["x"] == [100 * fraction for fraction in LABEL_FRACTIONS]
        assert lines[curve.title]["y"] == pytest.approx([curve.points[each] for each in LABEL_FRACTIONS])
    maps = [trace for plot in plots for trace in plot if trace["type"] == "contour"]
    assert [trace["points"] for trace in maps] == [cells // len(STRATEGIES)] * len(STRATEGIES)
    bars = [trace for plot in plots for trace in plot if trace["type"] == "bar"]
    assert sorted(trace["points"] for trace in bars) == sorted(
        [cells, cells, *[trace["points"] for trace in maps]]
    )


def test_the_note_opens_the_comparison_and_holds_the_table(
    site: Site, page: Page, screenshot: Screenshot
) -> None:
    visit(page, f"{site.experiment}/runs?{ML}")
    page.locator("[data-component-id='mlflow.experiment.metadata_editor.expand_button']").click()
    page.get_by_role("cell", name="croma_frozen").first.wait_for()
    screenshot()
    best = site.report.comparison.cell("utae", 1.0, 24)
    assert f"{best.test_miou_mean:.3f}" in page.get_by_role("table").first.inner_text()
    with page.expect_popup() as opened:
        page.get_by_role("link", name="Open the comparison").click()
    opened.value.get_by_text("All cells, by labels and dates").wait_for()
    assert trouble_on(opened.value) == []


def test_the_command_prints_where_the_comparison_is(site: Site, page: Page) -> None:
    line = next(line for line in site.printed.splitlines() if line.startswith("Comparison of simulated: "))
    visit(page, line.removeprefix("Comparison of simulated: "))
    page.get_by_text("All cells, by labels and dates").wait_for()
    assert trouble_on(page) == []


def test_the_view_of_trials_groups_them(site: Site, page: Page, screenshot: Screenshot) -> None:
    page.set_viewport_size(TALL)
    visit(page, f"{site.address}/{address_of_view('1', TRIALS)}")
    for strategy in STRATEGIES:
        for fraction in LABEL_FRACTIONS:
            run_row(page, f"Group: strategy: {strategy}, label_fraction: {fraction}").wait_for()
    screenshot()
    assert trouble_on(page) == []


def test_the_artifacts_of_a_trial_open(site: Site, page: Page, screenshot: Screenshot) -> None:
    client = connect(f"sqlite:///{site.home / 'mlflow.db'}", create=False)
    found = client.search_runs(
        ["1"],
        "tags.role = 'confirmation' and tags.strategy = 'utae' and tags.label_fraction = '0.01'"
        " and tags.temporal_length = '1'",
    )
    visit(page, f"{site.experiment}/runs/{found[0].info.run_id}/artifacts/config.json")
    page.get_by_text('"temporal_length"').first.wait_for()
    screenshot("config")
    visit(page, f"{site.experiment}/runs/{found[0].info.run_id}/artifacts/confusion.png")
    page.wait_for_function("[...document.images].some((image) => image.naturalWidth > 300)")
    screenshot("confusion")


def test_the_report_opens_from_the_note(site: Site, page: Page) -> None:
    visit(page, f"{site.experiment}/runs?{ML}")
    with page.expect_popup() as opened:
        page.get_by_role("link", name="read the report").click()
    opened.value.frame_locator("iframe").get_by_role("heading", name="The report's page").wait_for()
    save_screenshot(opened.value, SCREENSHOTS / "the_report_opens_from_the_note.png")


def test_winners_are_models_with_their_scores(site: Site, page: Page, screenshot: Screenshot) -> None:
    visit(page, f"{site.experiment}/models?{ML}")
    best = site.report.comparison.cells[0]
    name = f"#{best.best_fingerprint[:6]}"
    page.get_by_text(name).first.wait_for()
    screenshot("all")
    page.get_by_text(name).first.click()
    page.get_by_text("result/test_miou").first.wait_for()
    page.get_by_text("pastis folds 5").first.wait_for()  # the data set that the score is of
    screenshot("one")
