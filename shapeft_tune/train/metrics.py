"""Counting pixels by target and prediction; what the counts amount to is in ``scores.py``.

Letters in names: N patches, K classes, H, W pixels.
"""

from __future__ import annotations

import torch

from shapeft_tune.scores import Counts, Scores

__all__ = ["Counts", "Scores", "patch_confusions"]


def patch_confusions(logits_NKHW: torch.Tensor, target_NHW: torch.Tensor) -> torch.Tensor:
    """Count pixels by (target, prediction) for each patch.

    Args:
        logits_NKHW: one score for each class; the largest is the prediction.
        target_NHW: class numbers; everything from K on is void.

    Returns:
        int64 ``[N, K, K]``.
    """
    patches, classes = logits_NKHW.shape[:2]
    prediction_NHW = logits_NKHW.argmax(dim=1)
    counted = target_NHW < classes
    patch = torch.arange(patches, device=logits_NKHW.device)[:, None, None].expand_as(target_NHW)
    cell = (patch * classes + target_NHW) * classes + prediction_NHW
    counts = torch.bincount(cell[counted], minlength=patches * classes * classes)
    return counts.reshape(patches, classes, classes)
