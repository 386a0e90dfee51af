"""Fixtures that every test may use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

# Before the hub client is imported: no test may leave the machine.
os.environ.setdefault("HF_HUB_OFFLINE", "1")

SHARED = Path(__file__).resolve().parents[2] / "shared"


LONGEST = "tests/tune/test_sweep.py"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest file first, so that two workers that share the files end together."""
    items.sort(key=lambda item: not item.nodeid.startswith(LONGEST))


@pytest.fixture(scope="session")
def shared() -> Path:
    """Return the folder of real tiles and weights beside the checkout, or skip."""
    if not (SHARED / "data").is_dir():
        pytest.skip(f"real tiles are not here: {SHARED / 'data'} is missing")
    return SHARED
