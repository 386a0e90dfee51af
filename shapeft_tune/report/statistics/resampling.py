"""What the scores would be on other samples of the land: patches are drawn anew, with replacement.

The drawing is Efron's bootstrap (Efron and Tibshirani 1993, chapters 6 and 8). A patch is drawn with all its
pixels and under all seeds at once, because every seed was scored on the same patches. Pixels are pooled over
the drawn patches before anything is divided: mIoU is a ratio of sums, and not a mean over patches.

Legend: B draws, S seeds, N patches, K classes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from shapeft_tune.report.counts import Pixels
from shapeft_tune.report.statistics.pooled import Floats, iou_of, mean_iou

DRAWS = 2000
"""Of the patches. A standard error is then known to 1.6 % of itself."""
AT_A_TIME = 250
"""Draws whose weights are in memory: 5 MB for 2433 patches."""
SEED = 20_181_001
"""Of the random draws. They depend on nothing else but the number of patches, so that every strategy is
scored on the same drawn patches, and a report made twice is the same."""


@dataclass(frozen=True, eq=False)
class Replicates:
    """The scores of every seed over the draws."""

    miou_BS: Floats
    iou_BSK: Floats
    """NaN where a class occurs in none of the drawn patches."""


def resampled(
    hit_SNK: Pixels | Floats, target_SNK: Pixels | Floats, predicted_SNK: Pixels | Floats, draws: int = DRAWS
) -> Replicates:
    """Score every draw of the patches, under every seed."""
    seeds, patches, classes = hit_SNK.shape
    stacked = np.stack([hit_SNK, target_SNK, predicted_SNK])  # 3 S N K
    pixels_NX = stacked.transpose(2, 0, 1, 3).reshape(patches, -1).astype(np.float64)
    iou_BSK = np.concatenate(
        [
            # Sums of whole numbers below 2^53: exact in any order
            iou_of(*(weights_BN @ pixels_NX).reshape(-1, 3, seeds, classes).swapaxes(0, 1))
            for weights_BN in drawn_weights(patches, draws)
        ]
    )
    return Replicates(mean_iou(iou_BSK), iou_BSK)


def drawn_weights(patches: int, draws: int = DRAWS) -> Iterator[Floats]:
    """Yield, some draws at a time, how often each patch is drawn: ``[B, N]``, each row adds up to N."""
    chance = np.random.default_rng(SEED)
    for first in range(0, draws, AT_A_TIME):
        rows = min(AT_A_TIME, draws - first)
        drawn_BN = chance.integers(patches, size=(rows, patches))
        cells = drawn_BN + patches * np.arange(rows)[:, None]
        counts = np.bincount(cells.ravel(), minlength=rows * patches)
        yield counts.reshape(rows, patches).astype(np.float64)
