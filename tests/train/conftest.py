"""Where tiny trials find their data and write their results."""

from __future__ import annotations

from pathlib import Path

import pytest

from shapeft_tune.config.places import Places


@pytest.fixture(scope="session")
def places(tmp_path_factory: pytest.TempPathFactory) -> Places:
    """One home for the session, so that the sample is generated once."""
    return Places(tmp_path_factory.mktemp("home"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The trial's own folder."""
    return tmp_path / "trial"
