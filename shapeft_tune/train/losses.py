"""Losses over the pixels that are not void.

Dice and Lovász come from segmentation_models_pytorch. Its focal loss is one-against-all with sigmoids, where
the network's output is a softmax over the classes, and its softmax variant has neither void nor class
weights; so the few lines of the softmax form stand here.

Shape suffixes: B batch, K classes, H W pixels, N pixels that are not void.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F

from shapeft_tune.config.training import (
    CrossEntropy,
    Dice,
    Focal,
    Loss,
    LossSum,
    Lovasz,
    WeightedCrossEntropy,
)

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
            return MeanCrossEntropy(_no_weights(pixels_K), config.label_smoothing)
        case WeightedCrossEntropy():
            return MeanCrossEntropy(class_weights(pixels_K, config.power), config.label_smoothing)
        case Focal():
            weights_K = class_weights(pixels_K, config.power) if config.power else _no_weights(pixels_K)
            return MeanFocal(weights_K, config.gamma)
        case Dice():
            return _dice()
        case Lovasz():
            return _lovasz()
        case LossSum():
            terms = [(term.weight, build_loss(term.loss, pixels_K)) for term in config.terms]
            return WeightedSum(terms)


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
        return total / _total_weight(self.weights_K, target_BHW)


class MeanFocal:
    """Cross-entropy of each pixel times (1 - p)^gamma, p the probability of its true class.

    Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017 (arXiv:1708.02002), with a softmax in place
    of the sigmoid. As there, no gradient is held back: it flows through the factor too. The mean is weighted
    as in :class:`MeanCrossEntropy`, so that ``gamma`` 0 is cross-entropy.
    """

    def __init__(self, weights_K: torch.Tensor, gamma: float) -> None:
        self.weights_K, self.gamma = weights_K, gamma

    def __call__(self, logits_BKHW: torch.Tensor, target_BHW: torch.Tensor) -> torch.Tensor:
        """Return the loss of one batch, computed in fp32."""
        void = len(self.weights_K)
        target_BHW = target_BHW.clamp(max=void)
        surprise_BHW = F.cross_entropy(logits_BKHW.float(), target_BHW, ignore_index=void, reduction="none")
        # Kept off 0, where the slope of a power below 1 is infinite, and infinite times 0 no number.
        error_BHW = -torch.expm1(-surprise_BHW.clamp(min=torch.finfo(torch.float32).tiny))
        weight_BHW = F.pad(self.weights_K, (0, 1))[target_BHW]
        total = (weight_BHW * error_BHW**self.gamma * surprise_BHW).sum()
        return total / _total_weight(self.weights_K, target_BHW)


class Labelled:
    """A loss of segmentation_models_pytorch, given the pixels that are not void and nothing else.

    Its own ways to ignore void are not used: Lovász returns an empty tensor for a batch of nothing but void.
    """

    def __init__(self, loss: LossFunction) -> None:
        self.loss = loss

    def __call__(self, logits_BKHW: torch.Tensor, target_BHW: torch.Tensor) -> torch.Tensor:
        """Return the loss of one batch, computed in fp32; 0 for a batch of nothing but void."""
        known_BHW = target_BHW < logits_BKHW.shape[1]
        logits_NK, target_N = logits_BKHW.movedim(1, -1)[known_BHW].float(), target_BHW[known_BHW]
        if len(target_N) == 0:
            return logits_NK.sum()
        return self.loss(logits_NK.T[None, :, :, None], target_N[None, :, None])


class WeightedSum:
    """The sum of several losses, each times its weight."""

    def __init__(self, terms: Sequence[tuple[float, LossFunction]]) -> None:
        self.terms = tuple(terms)

    def __call__(self, logits_BKHW: torch.Tensor, target_BHW: torch.Tensor) -> torch.Tensor:
        """Return the loss of one batch, computed in fp32."""
        return torch.stack([weight * loss(logits_BKHW, target_BHW) for weight, loss in self.terms]).sum()


def _dice() -> LossFunction:
    """Classes that the batch lacks count as hit: they add 0, and the mean is over all classes."""
    from segmentation_models_pytorch.losses import DiceLoss  # imports all its networks: seconds

    return Labelled(DiceLoss("multiclass"))


def _lovasz() -> LossFunction:
    """Classes that the batch lacks are left out, as published (``classes="present"``)."""
    from segmentation_models_pytorch.losses import LovaszLoss  # imports all its networks: seconds

    return Labelled(LovaszLoss("multiclass"))


def _no_weights(pixels_K: torch.Tensor) -> torch.Tensor:
    return torch.ones(len(pixels_K), device=pixels_K.device)


def _total_weight(weights_K: torch.Tensor, target_BHW: torch.Tensor) -> torch.Tensor:
    return F.pad(weights_K, (0, 1))[target_BHW].sum().clamp(min=1e-12)
