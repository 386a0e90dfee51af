"""Training on real Sentinel-2 tiles with real crop labels, where they are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from shapeft_tune.config import TrialConfig
from shapeft_tune.config.places import Places
from shapeft_tune.config.protocol import Role
from shapeft_tune.data import PastisFolder
from shapeft_tune.train import Scores, run_trial

CONFIG = TrialConfig.model_validate(
    {
        "data": {"dataset": "pastis", "temporal_length": 6},
        "model": {
            "name": "utae",
            "encoder_widths": [16, 32],
            "decoder_widths": [16, 32],
            "heads": 4,
            "width": 64,
        },
        "training": {"steps": 60, "batch_size": 3, "optimiser": {"name": "adamw", "lr": 0.005}},
        "validation": {"every": 30},
    }
)


def constant_guess(folder: PastisFolder, fold: int) -> Scores:
    """Return the scores of the best map of one class alone, chosen on the fold itself."""
    targets = np.concatenate([folder.target(patch).ravel() for patch in folder.in_folds({fold})])
    counts = np.bincount(targets, minlength=20)[:19]
    matrix = np.zeros((19, 19), dtype=np.int64)
    matrix[:, counts.argmax()] = counts
    return Scores.of(matrix)


def test_a_small_utae_learns_real_crops_far_better_than_a_constant_guess(
    shared: Path, tmp_path: Path
) -> None:
    torch.set_num_threads(1)  # two would wait for each other beside other tests
    data = shared / "data" / "flanders"
    result = run_trial(CONFIG, Places(tmp_path, data), tmp_path / "trial", role=Role.CONFIRMATION)
    guess = constant_guess(PastisFolder.open(data), 5)
    assert result.test is not None
    assert result.test.miou > 2 * guess.miou
    assert result.test.overall_accuracy > guess.overall_accuracy + 0.1
