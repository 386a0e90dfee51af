"""Scoring a model on every patch of a split, each exactly once."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain

import numpy as np
import torch

from shapeft_tune.data import Batch, Samples, Split, evaluation_batches, prefetched, samples_on
from shapeft_tune.errors import OutOfMemory
from shapeft_tune.models.pieces import in_pieces
from shapeft_tune.train.halving import advice
from shapeft_tune.train.memory import until_it_fits
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

    ``samples`` makes the split's batches; whoever evaluates it more than once keeps them. The processes of a
    team score one batch each in turn, and all return the evaluation of all batches.
    """
    samples = samples or samples_on(setup.compute.device, split)
    was_training = setup.model.training
    setup.model.eval()
    scorer = Scorer(setup)
    scored = []
    with torch.inference_mode(), setup.compute.arithmetic():
        batch_size, turn = setup.config.training.batch_size, setup.team.turn
        for batch in prefetched(evaluation_batches(split, batch_size, samples, turn)):
            scored.append((batch.patch_ids, *scorer.scored(batch)))
    setup.model.train(was_training)
    ids, counts, losses, pixels = zip(*setup.team.in_turn(scored), strict=True)
    counts_NKK = torch.cat(counts).cpu().numpy().astype(np.int64)
    loss = _mean(torch.stack(losses), torch.stack(pixels))
    return Evaluation(split.folder.class_names, tuple(chain(*ids)), counts_NKK, loss)


class Scorer:
    """Scores batches; where one does not fit into memory, its patches go through the model in parts.

    In evaluation mode no patch knows of the others, so that changes nothing. Once found, the number of parts
    is kept for the batches that follow.
    """

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.parts = 1

    def scored(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return each patch's confusion matrix [B, K, K], the batch's loss, and its labelled pixels.

        Raises:
            OutOfMemory: a single patch does not fit.
        """

        def make_room(said: str) -> None:
            if self.parts >= len(batch):
                raise OutOfMemory(advice(self.setup.config, "in evaluation, even patch by patch", said))
            self.parts = min(2 * self.parts, len(batch))

        return until_it_fits(lambda: self._attempt(batch), make_room)

    def _attempt(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        here = batch.to(self.setup.compute.device)
        (logits_BKHW,) = in_pieces(self._logits, self.parts, here.images_BTCHW, here.days_BT, here.valid_BT)
        target_BHW = here.target_BHW.long()
        return (
            patch_confusions(logits_BKHW, target_BHW),
            self.setup.loss(logits_BKHW, target_BHW),
            (target_BHW < logits_BKHW.shape[1]).sum(),
        )

    def _logits(
        self, images_BTCHW: torch.Tensor, days_BT: torch.Tensor, valid_BT: torch.Tensor
    ) -> list[torch.Tensor]:
        images_BTCHW = self.setup.normalisation.apply(images_BTCHW)
        return [self.setup.model(images_BTCHW, days_BT, valid_BT)]


def _mean(losses: torch.Tensor, pixels: torch.Tensor) -> float:
    """Return the mean of batches' losses, each as heavy as its labelled pixels; 0 where there are none."""
    return float((losses.double() * pixels).sum() / pixels.sum().clamp(min=1))
