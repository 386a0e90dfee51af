"""Fixtures that every test may use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

os.environ.setdefault(
    "HF_HUB_OFFLINE", "1"
)  # before the hub client is imported: no test may leave the machine

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """Return the folder of real tiles and weights beside the checkout, or skip."""
    if not (SHARED / "data").is_dir():
        pytest.skip(f"real tiles are not here: {SHARED / 'data'} is missing")
    return SHARED
