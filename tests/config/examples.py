"""A small sweep and a small trial to vary."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

MODEL = {"name": "utae", "encoder_widths": [8, 8], "decoder_widths": [8, 8], "heads": 2, "width": 8}
CROMA = {"name": "croma_optical", "size": "small", "tuning": {"mode": "frozen", "weights": "none"}}
TRIAL: dict[str, Any] = {
    "data": {"dataset": "sample"},
    "model": MODEL,
    "training": {"optimiser": {"name": "adamw", "lr": 0.002}},
}
SWEEP: dict[str, Any] = {
    "name": "small",
    "base": {
        "data": {"dataset": "sample"},
        "training": {"steps": 40, "optimiser": {"name": "adamw", "lr": 0.002}},
        "validation": {"every": 20},
    },
    "settings": {"label_fractions": [0.5, 1.0], "temporal_lengths": [1, 3]},
    "strategies": {"utae": {"config": {"model": MODEL}}},
    "search": {"training.optimiser.lr": {"log_uniform": [1e-3, 1e-2]}},
    "budget": {"trials": 3, "confirmation_seeds": 1},
}


def written(folder: Path, content: Mapping[str, Any]) -> Path:
    """Write a YAML file and return its path."""
    file = folder / "sweep.yaml"
    file.write_text(yaml.safe_dump(dict(content), sort_keys=False), encoding="utf-8")
    return file


def without(content: Mapping[str, Any], key: str) -> dict[str, Any]:
    """Return a mapping less one key."""
    return {name: value for name, value in content.items() if name != key}
