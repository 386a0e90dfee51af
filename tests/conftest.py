"""Fixtures that every test may use."""

from __future__ import annotations

from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """Return the folder of real tiles and weights beside the checkout, or skip."""
    if not (SHARED / "data").is_dir():
        pytest.skip(f"real tiles are not here: {SHARED / 'data'} is missing")
    return SHARED
