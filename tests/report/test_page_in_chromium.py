from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from shapeft_tune.config import load_trial
from shapeft_tune.report.report import Report
from shapeft_tune.report.write import write_files
from tests.browser import DESKTOP, PHONE, chromium_page, save_screenshot
from tests.report.reports import simulated

if TYPE_CHECKING:
    from playwright.sync_api import Page

SIZES = {"desktop": DESKTOP, "phone": PHONE}
OUTSIDE = """() => [...document.querySelectorAll('body *')]
  .filter((each) => !each.closest('.scroll, pre, svg, .skip, caption.hidden') && each.getClientRects().length)
  .filter((each) => each.getBoundingClientRect().right > innerWidth + 1)
  .map((each) => each.outerHTML.slice(0, 120))"""
OVERLAPPING = """() => {
  const blocks = [...document.querySelectorAll('section > *')].filter((each) => each.getClientRects().length);
  return blocks.slice(1).filter((each, index) => {
    const [above, here] = [blocks[index].getBoundingClientRect(), each.getBoundingClientRect()];
    return here.top < above.bottom - 1;
  }).map((each) => each.outerHTML.slice(0, 120));
}"""
CONTRAST = """() => {
  const channel = (value) => value <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  const light = (colour) => {
    const [r, g, b] = colour.match(/[\\d.]+/g).map((each) => channel(each / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (each) => {
    const colour = getComputedStyle(each).backgroundColor;
    return /, 0\\)$|transparent/.test(colour) && each.parentElement ? ground(each.parentElement) : colour;
  };
  const texts = [...document.querySelectorAll('body *')].filter((each) => each.getClientRects().length &&
    [...each.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim()));
  return texts.map((each) => {
    const [a, b] = [light(getComputedStyle(each).color), light(ground(each))].sort((x, y) => y - x);
    return [(a + 0.05) / (b + 0.05), each.outerHTML.slice(0, 100)];
  }).sort((x, y) => x[0] - y[0])[0];
}"""


@pytest.fixture(scope="module")
def report() -> Report:
    return simulated()


@pytest.fixture(scope="module")
def address(report: Report, tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_files(report, tmp_path_factory.mktemp("report")).html.as_uri()


class Opened:
    """A page, and what it asked for and complained of."""

    def __init__(self, page: Page, address: str) -> None:
        self.page, self.requests, self.complaints = page, list[str](), list[str]()
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("console", lambda message: self.complaints.append(message.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.goto(address)

    def column(self, table: str, number: int) -> list[str]:
        """Return a column of a table as it stands, from the top down."""
        return self.page.locator(f"#table-{table} tbody tr > :nth-child({number})").all_inner_texts()


@pytest.fixture(params=list(SIZES))
def opened(request: pytest.FixtureRequest, address: str) -> Iterator[Opened]:
    with chromium_page(SIZES[request.param], offline=True) as page:
        yield Opened(page, address)


@pytest.fixture
def desktop(address: str) -> Iterator[Opened]:
    with chromium_page(DESKTOP, offline=True) as page:
        yield Opened(page, address)


def test_the_page_asks_for_nothing_and_complains_of_nothing(opened: Opened, address: str) -> None:
    opened.page.wait_for_timeout(200)
    assert [each for each in opened.requests if not each.startswith("data:")] == [address]
    assert opened.complaints == []
    broken = "[...document.images].filter((each) => !each.complete || !each.naturalWidth).length"
    assert opened.page.evaluate(broken) == 0


def test_nothing_is_wider_than_the_screen_or_lies_over_another(opened: Opened, tmp_path: Path) -> None:
    page = opened.page
    save_screenshot(page, tmp_path / "report.png", full=True)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.evaluate(OUTSIDE) == []
    assert page.evaluate(OVERLAPPING) == []
    page.evaluate("document.querySelectorAll('details').forEach((each) => (each.open = true))")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.evaluate(OUTSIDE) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_text_stands_out_from_its_ground(opened: Opened, scheme: Any, tmp_path: Path) -> None:
    """4.5 to 1 is what WCAG 2 asks of text (success criterion 1.4.3)."""
    opened.page.emulate_media(color_scheme=scheme)
    save_screenshot(opened.page, tmp_path / f"{scheme}.png")
    ratio, element = opened.page.evaluate(CONTRAST)
    assert ratio >= 4.5, element


def test_the_table_of_scores_fits_on_a_desktop(desktop: Opened) -> None:
    box = "(each) => each.scrollWidth <= each.clientWidth"
    assert desktop.page.locator("#table-results .scroll").evaluate(box)


def test_a_click_sorts_by_number_and_another_turns_it_round(desktop: Opened, report: Report) -> None:
    scores = sorted(cell.test_miou_mean or 0.0 for cell in report.comparison.cells)
    heading = desktop.page.locator("#table-results thead th:nth-child(4)")
    assert heading.get_attribute("aria-sort") is None
    heading.get_by_role("button").click()
    assert heading.get_attribute("aria-sort") == "descending"
    assert desktop.column("results", 4) == [f"{score:.3f}" for score in reversed(scores)]
    heading.get_by_role("button").click()
    assert heading.get_attribute("aria-sort") == "ascending"
    assert desktop.column("results", 4) == [f"{score:.3f}" for score in scores]
    assert desktop.page.locator("#table-results [aria-sort]").count() == 1


def test_labels_sort_as_numbers_by_the_keyboard_alone(desktop: Opened) -> None:
    desktop.page.locator("#table-results thead th:nth-child(2) button").focus()
    desktop.page.keyboard.press("Enter")
    assert list(dict.fromkeys(desktop.column("results", 2))) == ["100 %", "10 %", "1 %"]
    desktop.page.keyboard.press("Space")
    assert list(dict.fromkeys(desktop.column("results", 2))) == ["1 %", "10 %", "100 %"]


def test_what_has_no_number_comes_last_in_either_order(tmp_path: Path) -> None:
    address = write_files(simulated(keep=0.5), tmp_path).html.as_uri()
    with chromium_page(DESKTOP, offline=True) as page:
        opened = Opened(page, address)
        for _ in range(2):
            page.locator("#table-results thead th:nth-child(4) button").click()
            texts = opened.column("results", 4)
            assert texts[0] != "–"
            assert texts[-1] == "–"


def test_a_saved_configuration_is_the_repeat_beside_it(
    desktop: Opened, report: Report, tmp_path: Path
) -> None:
    recipe = report.reproduction.recipes[0]
    shown = desktop.page.locator(".recipe").first
    shown.locator("summary").first.click()
    with desktop.page.expect_download() as download:
        shown.get_by_role("button", name="Save as").nth(1).click()
    assert download.value.suggested_filename == f"{recipe.name}-seed{recipe.repeats[1].seed}.json"
    assert f"train {download.value.suggested_filename} " in shown.locator("pre").first.inner_text()
    download.value.save_as(tmp_path / "config.json")
    assert load_trial(tmp_path / "config.json").fingerprint() == recipe.repeats[1].fingerprint


def test_on_a_telephone_a_figure_that_goes_on_to_the_right_fades_out_there(address: str) -> None:
    with chromium_page(PHONE, offline=True) as page:
        page.goto(address)
        figure = page.locator("#figure-cost_of_training .scroll")
        hidden = figure.evaluate("(each) => each.scrollWidth - each.clientWidth")
        assert hidden > 0
        assert _darkest_at_the_right_of_its_margin(figure.screenshot()) < 0.95
        figure.evaluate("(each) => { each.scrollLeft = each.scrollWidth; }")
        assert _darkest_at_the_right_of_its_margin(figure.screenshot()) > 0.99


def _darkest_at_the_right_of_its_margin(png: bytes) -> float:
    """Return the lightness of the darkest of some pixels at the right edge, in the empty rows at the top."""
    from matplotlib.image import imread

    return float(imread(BytesIO(png))[5:8, -4:-1, :3].min())


def test_without_a_script_every_number_is_there_and_no_button(address: str, report: Report) -> None:
    with chromium_page(DESKTOP, offline=True) as page:
        assert page.context.browser
        context = page.context.browser.new_context(java_script_enabled=False)
        plain = context.new_page()
        plain.goto(address)
        texts = plain.locator("#table-results tbody tr > :nth-child(4)").all_inner_texts()
        assert texts == [f"{cell.test_miou_mean:.3f}" for cell in report.comparison.cells]
        assert [each for each in plain.locator("button").all() if each.is_visible()] == []


def test_it_prints_without_what_is_for_a_screen(desktop: Opened, tmp_path: Path) -> None:
    desktop.page.emulate_media(media="print")
    assert not desktop.page.locator("nav").is_visible()
    assert desktop.page.locator("#table-results").is_visible()
    pdf = desktop.page.pdf(path=str(tmp_path / "report.pdf"), format="A4")
    assert pdf.startswith(b"%PDF")
