"""What a trial tells: while it runs, and when it has ended."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from shapeft_tune.atomic import write_atomically
from shapeft_tune.config.protocol import METRIC, Role
from shapeft_tune.errors import TrialError
from shapeft_tune.scores import CONFUSION_FILE, Scores
from shapeft_tune.train.evaluate import Evaluation

RESULT_FILE = "result.json"
LABELS_FILE = "labels.json"
"""Which patches a trial learns from (``labelled_patches``), and how many it is scored on (``patches``, by
split), written before it begins."""
CURVES = ("miou", "miou_seed20", "overall_accuracy", "macro_f1")
"""Scores of validation that are recorded over steps."""


@dataclass(frozen=True)
class Progress:
    """One validation of a running trial."""

    step: int
    steps: int
    train_loss: float
    """Mean over the steps since the last validation."""
    lr: float
    """Of the decoder, at this step."""
    validation: Scores
    validation_loss: float
    best_miou: float
    seconds: float
    """Time spent so far, over all the pieces of the trial."""
    lr_encoder: float | None = None
    """Of the encoder, at this step; None where it is not trained or trained as all the rest."""
    readings: Mapping[str, float] = field(default_factory=dict)
    """Speed of the steps since the last validation, and what they took of the machine, by record's names."""

    def metrics(self) -> dict[str, float]:
        """Return what is recorded over steps, by the record's names."""
        scores = self.validation.summary()
        rates = {"train/lr": self.lr}
        if self.lr_encoder is not None:
            rates["train/lr_encoder"] = self.lr_encoder
        return {
            "train/loss": self.train_loss,
            **rates,
            "val/loss": self.validation_loss,
            **{f"val/{name}": scores[name] for name in CURVES},
            **self.readings,
        }


@dataclass(frozen=True)
class Cost:
    """What a trial took, however often it was resumed."""

    seconds: float
    """Time spent training and scoring."""
    train_seconds: float = 0.0
    """Those that steps of training took; 0 where that was not recorded."""
    pieces: int = 1
    """In how many each batch came to be encoded, so that it fitted into memory."""
    peak_memory_bytes: int | None = None
    """Most memory of a GPU that tensors took at once, since the trial was last begun or resumed; None on a
    CPU."""


@dataclass(frozen=True)
class TrialResult:
    """A trial that ran to its end. All scores are of the weights with the best validation mIoU."""

    fingerprint: str
    role: Role
    config: Mapping[str, Any]
    steps: int
    best_step: int
    validation: Scores
    test: Scores | None
    """None in a search trial: the test folds were not opened."""
    labelled_patches: tuple[int, ...]
    class_names: tuple[str, ...]
    trainable_parameters: int
    seconds: float
    """Time spent training and scoring, however often it was resumed."""
    device: str
    precision: str
    metric: tuple[str, int] = tuple(METRIC)  # type: ignore[assignment]
    train_seconds: float = 0.0
    pieces: int = 1
    peak_memory_bytes: int | None = None
    """These three: as in :class:`Cost`; results of before have none of them."""

    @property
    def cost(self) -> Cost:
        """What the trial took."""
        return Cost(self.seconds, self.train_seconds, self.pieces, self.peak_memory_bytes)

    @property
    def steps_per_second(self) -> float | None:
        """Speed of training without validation; None where that was not recorded."""
        return self.steps / self.train_seconds if self.train_seconds else None

    def metrics(self) -> dict[str, float]:
        """Return what is recorded once, by the record's names."""
        validation = self.validation.summary()
        found = {
            **{f"best/val_{name}": validation[name] for name in CURVES},
            "best/step": self.best_step,
            "cost/seconds": self.seconds,
            "cost/trainable_parameters": self.trainable_parameters,
            "cost/pieces": self.pieces,
        }
        if self.steps_per_second is not None:
            found["cost/steps_per_second"] = self.steps_per_second
        if self.peak_memory_bytes is not None:
            found["cost/peak_memory_gb"] = self.peak_memory_bytes / 1e9
        found |= self._by_class("best/iou", self.validation)
        if self.test:
            found |= {f"test/{name}": value for name, value in self.test.summary().items()}
            found |= self._by_class("test/iou", self.test)
        return found

    def _by_class(self, prefix: str, scores: Scores) -> dict[str, float]:
        by_class = zip(self.class_names, scores.iou, strict=True)
        return {f"{prefix}/{name}": iou for name, iou in by_class if iou is not None}

    def save(self, folder: Path) -> None:
        """Write atomically; the file's presence means that the trial is done."""
        write_atomically(folder / RESULT_FILE, json.dumps(asdict(self), indent=1).encode())

    @classmethod
    def load(cls, folder: Path) -> TrialResult | None:
        """Read the result of a trial that is done; None for any other.

        Raises:
            TrialError: the file is damaged.
        """
        try:
            content = json.loads((folder / RESULT_FILE).read_text(encoding="utf-8"))
            return cls(**{name: _restored(name, value) for name, value in content.items()})
        except FileNotFoundError:
            return None
        except (ValueError, TypeError) as error:
            raise TrialError(f"{folder / RESULT_FILE}: damaged ({error}); remove it to run again") from error


def _restored(name: str, value: Any) -> Any:
    if name in ("validation", "test") and value is not None:
        stored: dict[str, Any] = {
            key: tuple(each) if isinstance(each, list) else each for key, each in value.items()
        }
        return Scores(**stored)
    if name == "role":
        return Role(value)
    return tuple(value) if isinstance(value, list) else value


def save_confusions(folder: Path, validation: Evaluation, test: Evaluation | None) -> None:
    """Keep the confusion matrix of every patch, so that any score and interval can be computed later."""
    parts = {"validation": validation} | ({"test": test} if test else {})
    arrays = {f"{name}_ids": np.array(part.patch_ids) for name, part in parts.items()}
    arrays |= {f"{name}_counts": part.counts_NKK.astype(np.int32) for name, part in parts.items()}
    arrays["class_names"] = np.array(validation.class_names)
    np.savez_compressed(folder / CONFUSION_FILE, **arrays)  # type: ignore[arg-type]
