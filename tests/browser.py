"""A real headless Chromium for tests of pages: found, started, and ended again."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Page

CHROMIUM = "SHAPEFT_CHROMIUM"
"""Environment variable with the path of a Chromium that is not on the search path."""
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
)
DESKTOP = (1400, 900)
PHONE = (390, 844)
PATIENCE_MS = 60_000
"""How long a page may take to show something: a machine may be busy with other tests."""


def chromium_missing() -> str:
    """Return why no page can be opened here, empty where one can be."""
    if importlib.util.find_spec("playwright") is None:
        return "playwright is not installed: make install"
    if chromium() is None:
        return f"no Chromium on the search path: make browser, or set {CHROMIUM} to one"
    return ""


def chromium() -> str | None:
    """Return the path of a Chromium, None where there is none."""
    named = os.environ.get(CHROMIUM)
    return named or next(filter(None, map(shutil.which, NAMES)), None)


@contextlib.contextmanager
def chromium_page(size: tuple[int, int] = DESKTOP, *, offline: bool = False) -> Iterator[Page]:
    """Open an empty page of this width and height in pixels; skip the test where there is no Chromium.

    Args:
        size: of the window.
        offline: whether requests over the network fail; pages of files open all the same.
    """
    if missing := chromium_missing():
        pytest.skip(missing)
    with bare_page(size, offline=offline) as page:
        yield page


@contextlib.contextmanager
def bare_page(size: tuple[int, int] = DESKTOP, *, offline: bool = False) -> Iterator[Page]:
    """Open an empty page, as :func:`chromium_page` does, outside of tests."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as player:
        browser = player.chromium.launch(executable_path=chromium(), args=list(ARGUMENTS))
        try:
            context = browser.new_context(
                viewport={"width": size[0], "height": size[1]}, offline=offline, color_scheme="light"
            )
            page = context.new_page()
            page.set_default_timeout(PATIENCE_MS)
            yield page
        finally:
            browser.close()


def save_screenshot(page: Page, path: Path, *, full: bool = False) -> Path:
    """Keep what the page shows, the whole of it or what the window holds, and say where."""
    path.parent.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=str(path), full_page=full)
    print(f"screenshot: {path}")
    return path
