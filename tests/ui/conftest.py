"""One recorded sweep, one MLflow server on it, and a browser, for all tests of MLflow's own pages."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from shapeft_tune.report.report import Report
from tests.browser import DESKTOP, chromium_missing, save_screenshot
from tests.ui.mlflow_page import mlflow_page
from tests.ui.record import record_sweep
from tests.ui.server import served

if TYPE_CHECKING:
    from playwright.sync_api import Page

SCREENSHOTS = Path(__file__).parent / "screenshots"


@dataclass(frozen=True)
class Site:
    """A recorded sweep on MLflow's own pages."""

    address: str
    experiment: str
    """Its address."""
    report: Report
    home: Path
    printed: str
    """What the command that serves them has said."""


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Record a sweep and serve it; skip where no browser could look at it."""
    if missing := chromium_missing():
        pytest.skip(missing)
    home = tmp_path_factory.mktemp("home")
    report = record_sweep(home)
    log = tmp_path_factory.mktemp("server") / "server.log"
    with served(home, log) as address:
        yield Site(address, f"{address}/#/experiments/1", report, home, log.read_text())


@pytest.fixture
def page(site: Site) -> Iterator[Page]:
    with mlflow_page(DESKTOP) as page:
        yield page


@pytest.fixture
def screenshot(page: Page, request: pytest.FixtureRequest) -> Callable[[str], Path]:
    """Return what keeps a picture of the page, under the test's name."""

    def save(what: str = "") -> Path:
        name = request.node.name.removeprefix("test_") + (f"_{what}" if what else "")
        return save_screenshot(page, SCREENSHOTS / f"{name}.png")

    return save
