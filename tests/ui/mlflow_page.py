"""MLflow's experiment page as a person uses it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from tests.browser import bare_page

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

NO_ASSISTANT = "localStorage.setItem('mlflow.assistant.fab.autoOpenedOnFirstLoad_v1', 'true')"
"""Keeps a panel shut that opens itself on a first visit and takes a quarter of the window."""
ML = "workflowType=machine_learning"
TROUBLE = ("Request error", "Something went wrong", "share key is invalid", "does not exist")
TRACES = """() => [...document.querySelectorAll('.js-plotly-plot')].map(
    (plot) => plot.data.map((trace) => ({type: trace.type, name: trace.name, points: (trace.x || []).length,
                                         x: [...(trace.x || [])], y: [...(trace.y || [])]})))"""


@contextlib.contextmanager
def mlflow_page(size: tuple[int, int]) -> Iterator[Page]:
    """Open an empty page for MLflow, without what greets a first visitor."""
    with bare_page(size) as page:
        page.add_init_script(NO_ASSISTANT)
        yield page


def visit(page: Page, address: str) -> None:
    """Open an address as in a new tab: a change behind the # alone would keep the old page's state."""
    page.goto("about:blank")
    page.goto(address)


def trouble_on(page: Page) -> list[str]:
    """Return what the page complains of."""
    text = page.locator("body").inner_text()
    return [words for words in TROUBLE if words in text]


def plots_on(page: Page) -> list[list[dict[str, Any]]]:
    """Return the traces of each of Plotly's charts that the page has drawn, in their order."""
    plots: list[list[dict[str, Any]]] = page.evaluate(TRACES)
    return plots


def run_row(page: Page, name: str) -> Locator:
    """Return the rows of the table whose run, or group of runs, has these words in its name."""
    return page.locator(".ag-pinned-left-cols-container .ag-row").filter(has_text=name)


def expand(page: Page, name: str) -> None:
    """Show the runs that are nested under a run, by the + before its name."""
    run_row(page, name).first.locator("button").first.click()


def group_by(page: Page, tag: str) -> None:
    """Let the table group its runs by a tag."""
    page.get_by_role("button", name="Group by").click()
    page.get_by_role("menuitemcheckbox", name=tag, exact=True).first.click()
    page.keyboard.press("Escape")
