"""Optimisers, and learning rates as a pure function of the step, so that resuming needs no schedule state."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch

from shapeft_tune.config.training import AdamW, Cosine, MultiStep, Optimiser, Schedule, Sgd
from shapeft_tune.models import ParameterGroup


def build_optimiser(config: Optimiser, groups: Iterable[ParameterGroup]) -> torch.optim.Optimizer:
    """Return the optimiser over the model's groups; vectors (biases, norms) are not decayed.

    The learning rate of each group is set step by step with :func:`set_learning_rate`.
    """
    parts = [
        {"params": chosen, "name": group.name, "lr_ratio": group.lr_ratio, "weight_decay": decay}
        for group in groups
        for matrices, decay in ((True, config.weight_decay), (False, 0.0))
        if (chosen := [parameter for parameter in group.parameters if (parameter.ndim > 1) == matrices])
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
