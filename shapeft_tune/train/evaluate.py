"""Scoring a model on every patch of a split, each exactly once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from shapeft_tune.data import Samples, Split, evaluation_batches, prefetched, samples_on
from shapeft_tune.train.metrics import Counts, Scores, patch_confusions
from shapeft_tune.train.setup import Setup


@dataclass(frozen=True)
class Evaluation:
    """The confusion matrix of every patch, from which every score can be computed again."""

    class_names: tuple[str, ...]
    patch_ids: tuple[int, ...]
    counts_NKK: Counts
    loss: float
    """Mean over batches, each as heavy as its pixels that are not void."""

    @property
    def scores(self) -> Scores:
        """Scores of all patches pooled."""
        return Scores.of(self.counts_NKK.sum(axis=0))


def evaluate_split(setup: Setup, split: Split, samples: Samples | None = None) -> Evaluation:
    """Score the model in evaluation mode and leave it in the mode it was in.

    ``samples`` makes the split's batches; whoever evaluates it more than once keeps them.
    """
    samples = samples or samples_on(setup.compute.device, split)
    was_training = setup.model.training
    setup.model.eval()
    ids: list[int] = []
    counts: list[torch.Tensor] = []
    losses: list[torch.Tensor] = []
    pixels: list[torch.Tensor] = []
    with torch.inference_mode(), setup.compute.arithmetic():
        for batch in prefetched(evaluation_batches(split, setup.config.training.batch_size, samples)):
            here = batch.to(setup.compute.device)
            images_BTCHW = setup.normalisation.apply(here.images_BTCHW)
            logits_BKHW = setup.model(images_BTCHW, here.days_BT, here.valid_BT)
            target_BHW = here.target_BHW.long()
            ids.extend(batch.patch_ids)
            counts.append(patch_confusions(logits_BKHW, target_BHW))
            losses.append(setup.loss(logits_BKHW, target_BHW))
            pixels.append((target_BHW < logits_BKHW.shape[1]).sum())
    setup.model.train(was_training)
    counts_NKK = torch.cat(counts).cpu().numpy().astype(np.int64)
    loss = _mean(torch.stack(losses), torch.stack(pixels))
    return Evaluation(split.folder.class_names, tuple(ids), counts_NKK, loss)


def _mean(losses: torch.Tensor, pixels: torch.Tensor) -> float:
    """Return the mean of batches' losses, each as heavy as its labelled pixels; 0 where there are none."""
    return float((losses.double() * pixels).sum() / pixels.sum().clamp(min=1))
