"""One trial: everything that can change its result, and nothing else (no paths, no worker counts)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any

from pydantic import Field

from shapeft_tune.config.base import Frozen, Violation
from shapeft_tune.config.data import DataConfig
from shapeft_tune.config.inputs import Whole
from shapeft_tune.config.models import ModelConfig
from shapeft_tune.config.training import TrainingConfig, ValidationConfig


class TrialConfig(Frozen):
    """One training run, complete: equal configs are the same experiment and have the same fingerprint."""

    data: DataConfig
    model: ModelConfig
    training: TrainingConfig = TrainingConfig()
    validation: ValidationConfig = ValidationConfig()
    seed: int = Field(0, ge=0)
    """Decides initial weights, order and augmentation of the patches, and which patches are labelled."""

    def rules(self) -> Iterator[Violation]:
        """A trial is validated at least once; its normalisation fits its network; nothing leaks."""
        normalisation, model = self.data.normalisation, self.model
        if normalisation == "pretraining" and not model.has_pretraining_statistics:
            expected = f"official or own: {model.name} has no pretraining with statistics of its own"
            yield Violation("data.normalisation", expected, normalisation)
        if normalisation != "pretraining" and (need := model.need_of_pretraining_statistics):
            yield Violation("data.normalisation", f"pretraining for {model.name} ({need})", normalisation)
        yield from self._crops()
        yield from self._leaks()
        steps = self.training.steps
        if isinstance(steps, int) and self.validation.every > steps:
            yield Violation(
                "validation.every", f"at most training.steps ({steps})", str(self.validation.every)
            )

    def _crops(self) -> Iterator[Violation]:
        crop, model = self.data.augmentation.crop, self.model
        if crop is None:
            return
        if not isinstance(model.input, Whole):
            expected = f"none: model.input ({model.input.name}) decides what the network is trained on"
            yield Violation("data.augmentation.crop", expected, str(crop))
        elif crop % model.size_multiple or crop < model.smallest_side:
            expected = f"a multiple of {model.size_multiple} pixels, at least {model.smallest_side}"
            yield Violation("data.augmentation.crop", expected, str(crop))

    def _leaks(self) -> Iterator[Violation]:
        seen = set(self.model.seen_folds)
        for purpose in ("validation", "test"):
            if leaked := sorted(seen & set(getattr(self.data.folds, purpose))):
                expected = f"folds that the pretrained weights have not seen (they have {sorted(seen)})"
                yield Violation(f"data.folds.{purpose}", expected, str(leaked))

    def canonical(self) -> dict[str, Any]:
        """Return the config as plain JSON types, defaults written out."""
        return self.model_dump(mode="json")

    def fingerprint(self) -> str:
        """Return 16 hexadecimal digits that name this experiment in ledger, record, folders and report."""
        text = json.dumps(self.canonical(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]
