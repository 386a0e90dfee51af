"""Makes the pictures of the README from a finished quickstart: ``make pictures``, or run this module.

python -m tests.ui.pictures [HOME] [FOLDER]
"""

from __future__ import annotations

import io
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from shapeft_tune.tracking.publishing.views import TRIALS, address_of_view, ready_comparisons
from tests.browser import bare_page, chromium_missing
from tests.ui.mlflow_page import mlflow_page, run_row, visit
from tests.ui.server import served

if TYPE_CHECKING:
    from playwright.sync_api import Page

SWEEP = "quickstart"
WIDTH, COMPARISON_HEIGHT, RUNS_HEIGHT, REPORT_HEIGHT = 1400, 1240, 900, 1000
LARGEST = 250_000
"""Bytes of a picture: the README shall open fast, and the repository stay small."""
SHADES = (256, 128, 64, 32)


def make_pictures(home: Path, folder: Path) -> None:
    """Write four pictures of a home's quickstart into a folder, over older ones.

    Raises:
        SystemExit: something that they show is missing.
    """
    report = home / SWEEP / "report"
    page_file, heat_map = report / "report.html", report / "figures" / "map.png"
    for file in (home / "mlflow.db", page_file, heat_map):
        if not file.is_file():
            sys.exit(f"{file}: expected a home with a finished quickstart; got none - make sweep")
    if missing := chromium_missing():
        sys.exit(missing)
    folder.mkdir(parents=True, exist_ok=True)
    place = ready_comparisons(f"sqlite:///{(home / 'mlflow.db').resolve()}").get(SWEEP)
    if place is None:
        sys.exit(f"{home}: expected a record with a published report; got none - report its sweep again")
    with tempfile.TemporaryDirectory() as logs, served(home, Path(logs) / "server.log") as address:
        _picture_mlflow(address, place, folder)
    with bare_page((WIDTH, REPORT_HEIGHT)) as page:
        page.goto(page_file.resolve().as_uri())
        _save(page, folder / "report.png")
    shutil.copyfile(heat_map, folder / "map.png")


def _picture_mlflow(address: str, place: str, folder: Path) -> None:
    experiment_id = place.split("/")[2]
    with mlflow_page((WIDTH, COMPARISON_HEIGHT)) as page:
        visit(page, f"{address}/{place}")
        page.locator("canvas").first.wait_for()
        page.wait_for_function(
            "document.querySelectorAll('.js-plotly-plot').length >= 3"
        )  # the rest is drawn when it is scrolled to
        _close_banner(page)
        _save(page, folder / "mlflow_comparison.png")
    with mlflow_page((WIDTH, RUNS_HEIGHT)) as page:
        visit(page, f"{address}/{address_of_view(experiment_id, TRIALS)}")
        run_row(page, "Group: ").first.wait_for()
        _close_banner(page)
        _save(page, folder / "mlflow_runs.png")


def _close_banner(page: Page) -> None:
    """Close what MLflow says above every view that is somebody else's."""
    words = page.get_by_text("You're viewing a shared view")
    words.wait_for()
    words.locator("xpath=ancestor::*[.//button][1]//button").last.click()
    words.wait_for(state="detached")


def _save(page: Page, path: Path) -> None:
    """Write a picture in as many colours as its size allows."""
    from PIL import Image

    page.wait_for_timeout(2000)  # charts and tables move into place
    shot = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    packed = io.BytesIO()
    shot.save(packed, "PNG", optimize=True)
    for shades in SHADES:
        if packed.tell() < LARGEST:
            break
        packed = io.BytesIO()
        reduced = shot.quantize(shades, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
        reduced.save(packed, "PNG", optimize=True)
    path.write_bytes(packed.getvalue())
    print(f"{path}: {packed.tell() // 1000} kB")


if __name__ == "__main__":
    given = [Path(word) for word in sys.argv[1:]]
    make_pictures(*(given + [Path("runs"), Path("docs/images")][len(given) :]))
