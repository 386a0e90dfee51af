"""Optimisers, and learning rates as a pure function of the step, so that resuming needs no schedule state."""

from __future__ import annotations

import math

import torch
from torch import nn

from shapeft_tune.config.training import AdamW, Cosine, MultiStep, Optimiser, Schedule, Sgd
from shapeft_tune.models import Segmenter

DECAYED = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)
"""Modules whose ``weight`` is decayed."""


def build_optimiser(config: Optimiser, model: Segmenter) -> torch.optim.Optimizer:
    """Return the optimiser over the model's groups.

    Only the weights of linear and convolutional layers are decayed: not biases and norms, and not tokens,
    positions and tables of attention biases either, which decay would pull away from what pretraining found.
    The learning rate of each group is set step by step with :func:`set_learning_rate`.
    """
    matrices = {id(module.weight) for module in model.modules() if isinstance(module, DECAYED)}
    parts = [
        {"params": chosen, "name": group.name, "lr_ratio": group.lr_ratio, "weight_decay": decay}
        for group in model.parameter_groups()
        for decayed, decay in ((True, config.weight_decay), (False, 0.0))
        if (chosen := [each for each in group.parameters if (id(each) in matrices) == decayed])
    ]
    match config:
        case AdamW():
            return torch.optim.AdamW(parts, lr=config.lr)
        case Sgd():
            return torch.optim.SGD(parts, lr=config.lr, momentum=config.momentum)


def set_learning_rate(optimiser: torch.optim.Optimizer, lr: float) -> None:
    """Give every group its ratio of ``lr``."""
    for group in optimiser.param_groups:
        group["lr"] = lr * group["lr_ratio"]


def schedule_factor(schedule: Schedule, step: int, steps: int) -> float:
    """Return the share of the peak learning rate at ``step`` (from 0) of ``steps``."""
    warmup = schedule.warmup * steps
    if step < warmup:
        return (step + 1) / (math.floor(warmup) + 1)
    match schedule:
        case Cosine():
            progress = (step - warmup) / max(steps - warmup, 1)
            return schedule.final_ratio + (1 - schedule.final_ratio) * (1 + math.cos(math.pi * progress)) / 2
        case MultiStep():
            passed = sum(step >= milestone * steps for milestone in schedule.milestones)
            return schedule.gamma**passed
