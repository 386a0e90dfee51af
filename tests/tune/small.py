"""Small sweeps to vary, and commands run as a user runs them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from shapeft_tune.config import SweepConfig

UTAE = {"name": "utae", "encoder_widths": [8, 8], "decoder_widths": [8, 8], "heads": 2, "width": 8}
SAMPLE = {"name": "sample", "patches": 10, "patch_size": 16, "dates": 6}
SMALL: dict[str, Any] = {
    "name": "small",
    "base": {
        "data": {"dataset": SAMPLE},
        "training": {"steps": 8, "batch_size": 2, "optimiser": {"name": "adamw", "lr": 0.002}},
        "validation": {"every": 4},
    },
    "settings": {"label_fractions": [1.0], "temporal_lengths": [1, 3]},
    "strategies": {"utae": {"config": {"model": UTAE}}},
    "search": {"training.optimiser.lr": {"log_uniform": [1e-3, 1e-2]}},
    "budget": {"trials": 3, "confirmation_seeds": 2},
    "optimisation": {"sampler": "random", "pruner": "none"},
}


def small(**changes: Any) -> SweepConfig:
    """Return the small sweep with some sections replaced."""
    return SweepConfig.model_validate(SMALL | changes)


def written(path: Path, content: Mapping[str, Any]) -> Path:
    """Write a sweep file."""
    path.write_text(yaml.safe_dump(dict(content), sort_keys=False), encoding="utf-8")
    return path


def command(*arguments: object) -> list[str]:
    """Return the command line of a user."""
    return [sys.executable, "-m", "shapeft_tune", *map(str, arguments)]


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(command(*arguments), capture_output=True, text=True, timeout=200, check=False)
