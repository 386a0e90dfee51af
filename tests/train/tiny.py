"""A trial of a second: a tiny sample, a tiny model, a dozen steps."""

from __future__ import annotations

from typing import Any

from shapeft_tune.config import TrialConfig
from shapeft_tune.config.merge import with_values

TINY: dict[str, Any] = {
    "data": {
        "dataset": {"name": "sample", "patches": 10, "patch_size": 16, "dates": 6},
        "temporal_length": 2,
    },
    "model": {"name": "utae", "encoder_widths": [8, 8], "decoder_widths": [8, 8], "heads": 2, "width": 8},
    "training": {"steps": 12, "batch_size": 2, "optimiser": {"name": "adamw", "lr": 0.003}},
    "validation": {"every": 4},
}


def tiny(**values: Any) -> TrialConfig:
    """Return the tiny trial with some fields changed; ``__`` stands for the dot of a path."""
    changes = {path.replace("__", "."): value for path, value in values.items()}
    return TrialConfig.model_validate(with_values(TINY, changes))
