"""What a trial needs to go on exactly where it stopped, written so that a crash never leaves half a file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from shapeft_tune.atomic import replacing
from shapeft_tune.errors import TrialError
from shapeft_tune.models import Segmenter


@dataclass(frozen=True)
class Checkpoint:
    """A trial between two steps. Schedule and order of patches follow from the step."""

    fingerprint: str
    step: int
    """Optimiser steps done."""
    seconds: float
    """Time spent so far, over all the pieces of the trial."""
    model: Mapping[str, torch.Tensor]
    """Without the frozen parameters: those come from the weights or the seed again."""
    optimiser: Mapping[str, Any]
    random: Mapping[str, Any]
    train_seconds: float | None = None
    """Those of ``seconds`` that steps of training took; None in checkpoints of before."""
    pieces: int = 1
    """In how many each batch has come to be encoded."""

    def save(self, path: Path) -> None:
        """Write atomically."""
        save_atomically({name: getattr(self, name) for name in self.__dataclass_fields__}, path)

    @classmethod
    def load(cls, path: Path, fingerprint: str) -> Checkpoint:
        """Read a checkpoint of this very trial.

        Raises:
            TrialError: the file is damaged or belongs to another trial.
        """
        checkpoint = cls(**load_tensors(path))
        if checkpoint.fingerprint != fingerprint:
            raise TrialError(f"{path}: expected trial {fingerprint}, got trial {checkpoint.fingerprint}")
        return checkpoint


def save_atomically(content: Mapping[str, Any], path: Path) -> None:
    """Write tensors and plain values."""
    with replacing(path) as file:
        torch.save(dict(content), file)


def load_tensors(path: Path) -> dict[str, Any]:
    """Read what :func:`save_atomically` wrote; tensors and plain values only, no code.

    Raises:
        TrialError: missing or damaged.
    """
    try:
        return dict(torch.load(path, map_location="cpu", weights_only=True))
    except FileNotFoundError as error:
        raise TrialError(f"{path}: expected a checkpoint; there is none") from error
    except Exception as error:  # torch raises half a dozen types for a damaged file
        raise TrialError(f"{path}: damaged checkpoint ({error}); remove it to start again") from error


def trained_state(model: Segmenter) -> dict[str, torch.Tensor]:
    """Return parameters and buffers without the frozen parameters.

    A frozen CROMA-large is 1.2 GB that never changes; writing it every time would dwarf the training.
    """
    frozen = _frozen_names(model)
    return {name: tensor for name, tensor in model.state_dict().items() if name not in frozen}


def restore(model: Segmenter, state: Mapping[str, torch.Tensor]) -> None:
    """Put a :func:`trained_state` back.

    Raises:
        TrialError: the state does not fit the model.
    """
    found = model.load_state_dict(dict(state), strict=False)
    missing = sorted(set(found.missing_keys) - _frozen_names(model))
    if missing or found.unexpected_keys:
        raise TrialError(f"checkpoint does not fit: missing {missing}, unexpected {found.unexpected_keys}")


def random_state() -> dict[str, Any]:
    """Return the state of every generator that a training step draws from."""
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return {"cpu": torch.get_rng_state(), "cuda": cuda}


def set_random_state(state: Mapping[str, Any]) -> None:
    """Put a :func:`random_state` back."""
    torch.set_rng_state(state["cpu"])
    if state["cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(state["cuda"])


def _frozen_names(model: Segmenter) -> set[str]:
    return {name for name, parameter in model.named_parameters() if not parameter.requires_grad}
