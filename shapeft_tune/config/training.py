"""How a trial is trained and validated: optimiser, schedule, loss, budget, precision."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag

from shapeft_tune.config.base import Frozen, Violation, named


class AdamW(Frozen):
    """Adam with decoupled weight decay."""

    name: Literal["adamw"] = "adamw"
    lr: float = Field(1e-3, gt=0, le=10)
    """Peak learning rate of the decoder; an encoder may have a ratio of it."""
    weight_decay: float = Field(0.01, ge=0, le=1)


class Sgd(Frozen):
    """Stochastic gradient descent with momentum."""

    name: Literal["sgd"] = "sgd"
    lr: float = Field(0.01, gt=0, le=100)
    """Peak learning rate of the decoder; an encoder may have a ratio of it."""
    momentum: float = Field(0.9, ge=0, lt=1)
    weight_decay: float = Field(0.0, ge=0, le=1)


class Cosine(Frozen):
    """Linear warm-up, then half a cosine down to a share of the peak."""

    name: Literal["cosine"] = "cosine"
    warmup: float = Field(0.05, ge=0, lt=1)
    """Share of the budget."""
    final_ratio: float = Field(0.01, ge=0, le=1)
    """Learning rate at the end, as a share of the peak."""


class MultiStep(Frozen):
    """Linear warm-up, then a drop at each milestone."""

    name: Literal["multi_step"] = "multi_step"
    warmup: float = Field(0.0, ge=0, lt=1)
    """Share of the budget."""
    milestones: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = Field((0.6, 0.9), min_length=1)
    """Shares of the budget, ascending."""
    gamma: float = Field(0.1, gt=0, lt=1)
    """Factor at each milestone."""

    def rules(self) -> Iterator[Violation]:
        """Milestones ascend and come after the warm-up."""
        if list(self.milestones) != sorted(set(self.milestones)):
            yield Violation("milestones", "ascending shares of the budget", str(list(self.milestones)))
        if self.warmup >= min(self.milestones):
            yield Violation(
                "warmup", f"less than the first milestone ({min(self.milestones)})", str(self.warmup)
            )


class CrossEntropy(Frozen):
    """Mean cross-entropy over the pixels that are not void."""

    name: Literal["cross_entropy"] = "cross_entropy"
    label_smoothing: float = Field(0.0, ge=0, lt=1)


class WeightedCrossEntropy(Frozen):
    """Cross-entropy whose class weights follow the frequencies in the labelled training patches."""

    name: Literal["weighted_cross_entropy"] = "weighted_cross_entropy"
    power: float = Field(0.5, gt=0, le=1)
    """Weight = frequency to the minus this power; 1 balances the classes fully."""
    label_smoothing: float = Field(0.0, ge=0, lt=1)


class Focal(Frozen):
    """Cross-entropy in which pixels that are already sure count less (Lin et al., 2017)."""

    name: Literal["focal"] = "focal"
    gamma: float = Field(2.0, ge=0, le=10)
    """A pixel counts by its error's probability to this power; 0 is cross-entropy."""
    power: float = Field(0.0, ge=0, le=1)
    """Class weights as in ``weighted_cross_entropy``; 0 for none."""


class Dice(Frozen):
    """One minus the Dice overlap of each class, over the whole batch (Milletari et al., 2016)."""

    name: Literal["dice"] = "dice"


class Lovasz(Frozen):
    """Lovász-Softmax, a convex stand-in for the IoU of the classes in the batch (Berman et al., 2018)."""

    name: Literal["lovasz"] = "lovasz"


SingleLoss = Annotated[
    CrossEntropy | WeightedCrossEntropy | Focal | Dice | Lovasz, named(), Field(discriminator="name")
]


class LossTerm(Frozen):
    """One loss of a sum."""

    weight: float = Field(1.0, gt=0, le=1000)
    """Factor of this loss in the sum."""
    loss: SingleLoss


class LossSum(Frozen):
    """A weighted sum of losses, such as cross-entropy, steady early on, and one that is near to the IoU."""

    name: Literal["sum"] = "sum"
    terms: tuple[LossTerm, ...] = Field(min_length=2)


class Epochs(Frozen):
    """A budget in passes over the labelled patches, as the study had it: fewer labels, fewer steps."""

    epochs: int = Field(ge=1)


def _unit(value: Any) -> str:
    return "epochs" if isinstance(value, dict | Epochs) else "steps"


Steps = Annotated[int, Field(ge=1)]
Budget = Annotated[Annotated[Steps, Tag("steps")] | Annotated[Epochs, Tag("epochs")], Discriminator(_unit)]
Optimiser = Annotated[AdamW | Sgd, named(), Field(discriminator="name")]
Schedule = Annotated[Cosine | MultiStep, named(), Field(discriminator="name")]
Loss = Annotated[
    CrossEntropy | WeightedCrossEntropy | Focal | Dice | Lovasz | LossSum,
    named(),
    Field(discriminator="name"),
]


class TrainingConfig(Frozen):
    """Everything between the data and the trained weights."""

    steps: Budget = 1000
    """Optimiser steps, the same for every label fraction; or ``{epochs: N}`` to reproduce the study."""
    batch_size: int = Field(8, ge=1, le=4096)
    """Patches per optimiser step."""
    optimiser: Optimiser = AdamW()
    schedule: Schedule = Cosine()
    loss: Loss = CrossEntropy()
    gradient_clip: float | None = Field(1.0, gt=0)
    """Largest norm of the gradient; null for no limit."""
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    """``auto``: bf16 arithmetic where the device computes it natively, fp32 elsewhere."""


class ValidationConfig(Frozen):
    """When and on how much a running trial is validated."""

    every: int = Field(100, ge=1)
    """Optimiser steps between validations; pruning compares at these steps, checkpoints are written there."""
    patches: int | None = Field(None, ge=1)
    """Validate on this many patches of the fold, always the same ones; null for all."""
