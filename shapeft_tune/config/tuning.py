"""What of a pretrained network is trained, and how fast. Told apart by ``mode``."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from shapeft_tune.config.base import Frozen, named

Weights = Annotated[str, Field(min_length=1)]
"""``none`` (random), ``official`` (the authors' checkpoint), or the name of a file in the weights folder."""


class FrozenTuning(Frozen):
    """The encoder keeps its weights; decoder and temporal fusion are trained."""

    mode: Literal["frozen"] = "frozen"
    weights: Weights
    """``none`` (random), ``official``, or a checkpoint file."""


class FinetuneTuning(Frozen):
    """Everything is trained; the encoder with a learning rate of its own."""

    mode: Literal["finetune"] = "finetune"
    weights: Weights
    """``none`` (random), ``official``, or a checkpoint file."""
    encoder_lr_ratio: float = Field(0.1, gt=0, le=10)
    """Learning rate of the encoder's last layer = this x the decoder's."""
    layer_decay: float = Field(1.0, gt=0, le=1)
    """Each layer of the encoder learns at this x the rate of the next deeper one; 1 for the same rate."""
    frozen_share: float = Field(0.0, ge=0, lt=1)
    """Share of the budget in which the encoder stays frozen first, while the decoder finds its feet."""


class LoraTuning(Frozen):
    """Low-rank updates of the encoder's matrices are trained in place of the matrices (Hu et al., 2022)."""

    mode: Literal["lora"] = "lora"
    weights: Weights
    """``none`` (random), ``official``, or a checkpoint file."""
    rank: int = Field(8, ge=1, le=256)
    alpha: float = Field(16.0, gt=0)
    """Updates are scaled by alpha / rank."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """On what goes into the updates."""
    targets: tuple[Literal["attention", "mlp"], ...] = Field(("attention", "mlp"), min_length=1)
    """Which matrices of every layer get an update."""
    encoder_lr_ratio: float = Field(1.0, gt=0, le=10)
    """Learning rate of the updates = this x the decoder's."""


class ScratchTuning(Frozen):
    """Everything is trained from random weights, with one learning rate."""

    mode: Literal["scratch"] = "scratch"

    @property
    def weights(self) -> str:
        """Random, by definition."""
        return "none"


Tuning = Annotated[
    FrozenTuning | FinetuneTuning | LoraTuning | ScratchTuning, named("mode"), Field(discriminator="mode")
]
