"""Data sets for the tests of this layer: one generated, and small ones laid out by hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shapeft_tune.config.data import SampleDataset
from shapeft_tune.data.pastis import SEASON_START, PastisFolder
from shapeft_tune.data.sample import generate_sample


@pytest.fixture(scope="session")
def generated(tmp_path_factory: pytest.TempPathFactory) -> PastisFolder:
    """Two thirds of the quickstart's sample: 40 patches of 32 pixels with 40 dates or a few more."""
    root = tmp_path_factory.mktemp("sample")
    generate_sample(SampleDataset(patches=40), root)
    return PastisFolder.open(root)


@dataclass
class HandMade:
    """A folder whose every value is known: frame f, band b of patch p is 1000 p + 10 f + b everywhere."""

    root: Path
    features: list[dict[str, Any]]

    def add(
        self,
        id: Any,
        fold: Any = 1,
        days: tuple[int, ...] = (5, 20, 60),
        size: tuple[int, int] = (8, 8),
        **properties: Any,
    ) -> HandMade:
        stored = {str(frame): _yyyymmdd(day) for frame, day in enumerate(days)}
        known = {"ID_PATCH": id, "Fold": fold, "dates-S2": stored, **properties}
        self.features.append({"type": "Feature", "properties": known, "geometry": None})
        if isinstance(id, int):
            values = 1000 * id + 10 * np.arange(len(days))[:, None, None, None] + np.arange(10)[:, None, None]
            images = np.broadcast_to(values, (len(days), 10, *size)).astype(np.int16)
            np.save(self.root / f"DATA_S2/S2_{id}.npy", images)
            labels = np.arange(3 * size[0] * size[1], dtype=np.uint8).reshape(3, *size) % 20
            np.save(self.root / f"ANNOTATIONS/TARGET_{id}.npy", labels)
        return self

    def with_radar(
        self, name: str, days: dict[int, tuple[int, ...]], size: tuple[int, int] = (8, 8)
    ) -> HandMade:
        """Give patches a series of Sentinel-1 (``S1A`` or ``S1D``).

        Frame f, channel c of patch p is -(p + f / 2 + c / 8) dB everywhere.
        """
        (self.root / f"DATA_{name}").mkdir(exist_ok=True)
        for id, of_patch in days.items():
            (known,) = (each["properties"] for each in self.features if each["properties"]["ID_PATCH"] == id)
            known[f"dates-{name}"] = {str(frame): _yyyymmdd(day) for frame, day in enumerate(of_patch)}
            decibels = -(id + np.arange(len(of_patch))[:, None] / 2 + np.arange(3) / 8)
            images = np.broadcast_to(decibels[:, :, None, None], (len(of_patch), 3, *size))
            np.save(self.root / f"DATA_{name}/{name}_{id}.npy", images.astype(np.float16))
        return self

    def written(self) -> Path:
        content = {"type": "FeatureCollection", "features": self.features}
        (self.root / "metadata.geojson").write_text(json.dumps(content))
        return self.root

    def opened(self) -> PastisFolder:
        return PastisFolder.open(self.written())


def _yyyymmdd(day: int) -> int:
    return int((SEASON_START + timedelta(days=day)).strftime("%Y%m%d"))


@pytest.fixture
def handmade(tmp_path: Path) -> HandMade:
    for name in ("DATA_S2", "ANNOTATIONS"):
        (tmp_path / name).mkdir()
    return HandMade(tmp_path, [])


@pytest.fixture
def save_target(handmade: HandMade) -> Callable[[int, Any], None]:
    """Overwrite one patch's labels."""
    return lambda id, labels: np.save(handmade.root / f"ANNOTATIONS/TARGET_{id}.npy", labels)
