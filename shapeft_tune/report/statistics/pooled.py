"""Scores of pooled pixels, many at once; each as :mod:`shapeft_tune.scores` has it for one matrix.

Legend: ... any axes, K classes.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def iou_of(hit_K: npt.ArrayLike, target_K: npt.ArrayLike, predicted_K: npt.ArrayLike) -> Floats:
    """Return the IoU of every class, ``[..., K]``; NaN where it is neither in target nor in prediction."""
    hit = np.asarray(hit_K, dtype=np.float64)
    union = np.asarray(target_K, dtype=np.float64) + np.asarray(predicted_K, dtype=np.float64) - hit
    return np.divide(hit, union, out=np.full_like(hit, np.nan), where=union > 0)


def mean_iou(iou_K: Floats) -> Floats:
    """Return the mean over the classes that occur, ``[...]``; 0 where none does."""
    occurs = ~np.isnan(iou_K)
    total = np.where(occurs, iou_K, 0.0).sum(axis=-1)
    return np.asarray(total / np.maximum(occurs.sum(axis=-1), 1))
