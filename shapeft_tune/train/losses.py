"""Losses over the pixels that are not void."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F

from shapeft_tune.config.training import CrossEntropy, Loss, WeightedCrossEntropy

LossFunction = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""``(logits_BKHW, target_BHW) -> scalar``; every target from K on is void."""


def build_loss(config: Loss, pixels_K: torch.Tensor) -> LossFunction:
    """Return the loss that a config describes.

    Args:
        config: which loss.
        pixels_K: pixels of each class in the labelled training patches.
    """
    match config:
        case CrossEntropy():
            weights_K = torch.ones(len(pixels_K))
        case WeightedCrossEntropy():
            weights_K = class_weights(pixels_K, config.power)
    return MeanCrossEntropy(weights_K.to(pixels_K.device), config.label_smoothing)


def class_weights(pixels_K: torch.Tensor, power: float) -> torch.Tensor:
    """Return frequency to the minus ``power``, scaled so that the mean weight of a labelled pixel is 1.

    A class without pixels gets weight 0: nothing is known of how rare it is.
    """
    share_K = pixels_K / pixels_K.sum().clamp(min=1)
    raw_K = torch.where(share_K > 0, share_K.clamp(min=1e-12) ** -power, 0.0)
    return raw_K / (raw_K * share_K).sum().clamp(min=1e-12)


class MeanCrossEntropy:
    """Weighted mean over the pixels that count, 0 for a batch of nothing but void.

    ``torch.nn.CrossEntropyLoss`` divides by zero there, and the trial would end as if it had diverged.
    """

    def __init__(self, weights_K: torch.Tensor, label_smoothing: float) -> None:
        self.weights_K = weights_K
        self.label_smoothing = label_smoothing

    def __call__(self, logits_BKHW: torch.Tensor, target_BHW: torch.Tensor) -> torch.Tensor:
        """Return the loss of one batch, computed in fp32."""
        void = len(self.weights_K)
        target_BHW = target_BHW.clamp(max=void)
        total = F.cross_entropy(
            logits_BKHW.float(),
            target_BHW,
            weight=self.weights_K,
            ignore_index=void,
            reduction="sum",
            label_smoothing=self.label_smoothing,
        )
        weight = F.pad(self.weights_K, (0, 1))[target_BHW].sum()
        return total / weight.clamp(min=1e-12)
