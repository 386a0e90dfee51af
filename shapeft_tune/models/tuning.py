"""What the tuning modes do to an encoder: which parameters learn, how fast, and which parts rest."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any, Self

import torch
from torch import nn

from shapeft_tune.config.tuning import FinetuneTuning, FrozenTuning, LoraTuning, ScratchTuning, Tuning
from shapeft_tune.errors import UserError
from shapeft_tune.models.encoder import Encoder
from shapeft_tune.models.segmenter import ParameterGroup, Segmenter, trainable

UPDATE = "lora_"
"""Begins the names of the modules that peft adds."""


class TunedSegmenter(Segmenter):
    """A segmenter whose encoder is trained as its tuning says, and all its other parts always."""

    def __init__(self, encoder: Encoder, tuning: Tuning) -> None:
        super().__init__()
        self.tuning, self.progress = tuning, 1.0
        self.encoder = prepared(encoder, tuning)
        set_encoder_mode(self.encoder, tuning, self.progress, self.training)

    @property
    def encoder_rests(self) -> bool:
        """Whether the whole encoder is frozen now, so that no gradient is needed in it."""
        return rests(self.tuning, self.progress)

    def encoding(self) -> AbstractContextManager[Any]:
        """Return the context in which the encoder runs: without a graph where it rests."""
        return torch.set_grad_enabled(torch.is_grad_enabled() and not self.encoder_rests)

    def set_progress(self, share: float) -> None:
        """Begin the second stage of a two-stage tuning when its time has come."""
        before, self.progress = self.encoder_rests, share
        if self.encoder_rests != before:
            set_encoder_mode(self.encoder, self.tuning, share, self.training)

    def train(self, mode: bool = True) -> Self:
        """Set the mode of all parts; what is frozen stays in evaluation mode."""
        super().train(mode)
        set_encoder_mode(self.encoder, self.tuning, self.progress, mode)
        return self

    def parameter_groups(self) -> list[ParameterGroup]:
        """Return the encoder's trained parameters and those of all other parts."""
        own = [parameter for name, parameter in self.named_parameters() if not name.startswith("encoder.")]
        return [
            *encoder_groups(self.encoder, self.tuning),
            ParameterGroup("decoder", trainable(own), lr_ratio=1.0),
        ]


def prepared(encoder: Encoder, tuning: Tuning) -> Encoder:
    """Return the encoder with its parameters marked as trained or not, and with updates where LoRA adds them.

    Raises UserError where the tuning selects no parameter.
    """
    match tuning:
        case FrozenTuning():
            return encoder.requires_grad_(False)
        case LoraTuning():
            return _with_updates(encoder, tuning)
        case FinetuneTuning() | ScratchTuning():
            return encoder.requires_grad_(True)


def rests(tuning: Tuning, progress: float) -> bool:
    """Return whether the whole encoder is frozen when this share of the budget is done."""
    return isinstance(tuning, FrozenTuning) or (
        isinstance(tuning, FinetuneTuning) and progress < tuning.frozen_share
    )


def set_encoder_mode(encoder: Encoder, tuning: Tuning, progress: float, training: bool) -> None:
    """Set the mode of an encoder's parts; frozen ones are in evaluation mode, dropout and norms included."""
    if isinstance(tuning, LoraTuning):
        encoder.eval()
        for name, module in encoder.named_modules():
            if UPDATE in name:
                module.train(training)
    else:
        encoder.train(training and not rests(tuning, progress))


def encoder_groups(encoder: Encoder, tuning: Tuning) -> list[ParameterGroup]:
    """Return the encoder's trained parameters with their learning rates; nothing where it is frozen."""
    match tuning:
        case FrozenTuning():
            return []
        case LoraTuning():
            return [ParameterGroup("encoder", trainable(encoder.parameters()), tuning.encoder_lr_ratio)]
        case ScratchTuning():
            return [ParameterGroup("encoder", trainable(encoder.parameters()), lr_ratio=1.0)]
        case FinetuneTuning() if tuning.layer_decay == 1:
            return [ParameterGroup("encoder", trainable(encoder.parameters()), tuning.encoder_lr_ratio)]
        case FinetuneTuning():
            return _decayed_groups(encoder, tuning)


def _decayed_groups(encoder: Encoder, tuning: FinetuneTuning) -> list[ParameterGroup]:
    layers = encoder.layers()
    if len(layers) < 2:
        raise UserError(
            "model.tuning.layer_decay: expected 1 for an encoder of"
            f" {len(layers)} layer; got {tuning.layer_decay}"
        )
    return [
        ParameterGroup(
            f"encoder_{number}",
            trainable(layer),
            tuning.encoder_lr_ratio * tuning.layer_decay ** (len(layers) - 1 - number),
        )
        for number, layer in enumerate(layers)
    ]


def _with_updates(encoder: Encoder, tuning: LoraTuning) -> Encoder:
    ends = [end for target in tuning.targets for end in _ends(encoder, target)]
    from peft import LoraConfig, inject_adapter_in_model  # imports transformers: seconds, for LoRA alone

    config = LoraConfig(
        r=tuning.rank, lora_alpha=tuning.alpha, lora_dropout=tuning.dropout, target_modules=ends, bias="none"
    )
    inject_adapter_in_model(config, encoder)
    for name, parameter in encoder.named_parameters():
        parameter.requires_grad_(UPDATE in name)
    return encoder


def _ends(encoder: Encoder, target: str) -> tuple[str, ...]:
    """Return the names that a target selects; raises UserError where it selects nothing."""
    ends = encoder.update_targets.get(target, ())
    found = [name for name, module in encoder.named_modules() if isinstance(module, nn.Linear)]
    if not any(name == end or name.endswith(f".{end}") for name in found for end in ends):
        held = ", ".join(sorted(encoder.update_targets))
        advice = f"it has {held}" if held else "it has neither; use mode frozen or finetune"
        raise UserError(
            f"model.tuning.targets: expected layers that this encoder has; got {target}, which selects no"
            f" parameter - {advice}"
        )
    return ends
