"""Assembling a trial from its config: data, model, loss, optimiser, device."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch

from shapeft_tune.config.places import Places
from shapeft_tune.config.protocol import Role
from shapeft_tune.config.training import Epochs
from shapeft_tune.config.trial import TrialConfig
from shapeft_tune.data import (
    Normalisation,
    Splits,
    normalisation_for,
    open_dataset,
    open_splits,
)
from shapeft_tune.errors import DataError
from shapeft_tune.models import Segmenter, build_model
from shapeft_tune.models.weights import noting_digests
from shapeft_tune.train.device import Compute, choose_compute
from shapeft_tune.train.losses import LossFunction, build_loss
from shapeft_tune.train.optimiser import build_optimiser
from shapeft_tune.train.parallel import ALONE, Team
from shapeft_tune.train.shared_norm import share_statistics


@dataclass(frozen=True)
class Setup:
    """Everything a training loop needs, built once."""

    config: TrialConfig
    steps: int
    splits: Splits
    normalisation: Normalisation
    model: Segmenter
    optimiser: torch.optim.Optimizer
    loss: LossFunction
    compute: Compute
    weights: Mapping[str, str]
    """SHA-256 of every pretrained file that the model was filled from, by name."""
    team: Team = ALONE
    """The processes that share the trial's batches."""


def set_up(
    config: TrialConfig, places: Places, role: Role, device: str | None = None, team: Team = ALONE
) -> Setup:
    """Build a trial; the seed decides every random number from here on.

    All processes of a ``team`` build the same, but for what they draw while they train.

    Raises:
        DataError: the data set does not serve.
        WeightsError: the weights do not.
    """
    folder = open_dataset(
        config.data.dataset,
        data=places.data,
        home=places.home,
        cache=places.cache,
        cache_bytes=places.cache_bytes,
    )
    splits = open_splits(config, folder, role)
    compute = choose_compute(config.training.precision, device)
    team.require_rows(config.training.batch_size)
    torch.manual_seed(config.seed)
    with noting_digests() as weights:
        model = build_model(config.model, len(folder.class_names), places.weights_folder).to(compute.device)
    share_statistics(model, team)
    team.seed_apart(config.seed)
    return Setup(
        config=config,
        steps=total_steps(config, len(splits.train)),
        splits=splits,
        normalisation=normalisation_for(
            config.data, folder, model.pretraining_statistics, config.model.sensors
        ),
        model=model,
        optimiser=build_optimiser(config.training.optimiser, model),
        loss=build_loss(config.training.loss, class_pixels(splits).to(compute.device)),
        compute=compute,
        weights=weights,
        team=team,
    )


def total_steps(config: TrialConfig, labelled: int) -> int:
    """Return the trial's optimiser steps; a budget in epochs depends on how many patches are labelled."""
    budget = config.training.steps
    if isinstance(budget, Epochs):
        return math.ceil(budget.epochs * labelled / config.training.batch_size)
    return budget


def class_pixels(splits: Splits) -> torch.Tensor:
    """Return the labelled pixels of each class, ``[K]``. Raises DataError where there are none."""
    pixels_K = torch.tensor(splits.pixels_K)
    if not pixels_K.any():
        raise DataError(
            "expected labelled pixels to learn from; got"
            f" {len(splits.train)} training patches of nothing but void"
        )
    return pixels_K
