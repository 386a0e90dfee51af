"""Pretrained weights: which file is meant, where it lies, reading it without running any code in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor, nn

from shapeft_tune.errors import WeightsError


@dataclass(frozen=True)
class OfficialCheckpoint:
    """A file that a model's authors publish on the Hugging Face hub."""

    file: str
    repository: str

    @property
    def address(self) -> str:
        """Where to download it."""
        return f"https://huggingface.co/{self.repository}/resolve/main/{self.file}"


def resolve_weights(weights: str, official: OfficialCheckpoint | None, folder: Path | None) -> Path | None:
    """Return the file that ``weights`` means; None for ``none``.

    ``official`` is what the word ``official`` stands for, None where nothing was published. Other words are
    file names, absolute or relative to ``folder``. Raises WeightsError where the file is missing.
    """
    if weights == "none":
        return None
    if weights == "official":
        if official is None:
            raise WeightsError("weights: official: nothing is published for this model; use none or a file")
        return _existing(official.file, folder, f"Download it from {official.address}.")
    return _existing(weights, folder, "Put it there, or give its absolute path.")


def _existing(name: str, folder: Path | None, advice: str) -> Path:
    if folder is None and not Path(name).is_absolute():
        raise WeightsError(f"weights {name}: no weights folder was given to look for it in. {advice}")
    path = (folder or Path()) / name  # an absolute name replaces the folder
    if not path.is_file():
        raise WeightsError(f"weights {name}: expected the file {path}, which does not exist. {advice}")
    return path


def read_checkpoint(path: Path) -> Mapping[str, Any]:
    """Return the dictionary in a checkpoint, on the CPU, its tensors still on disk until they are used.

    Raises WeightsError for a broken file and for a pickle with anything but plain data and tensors in it:
    opening such a file would run code that its author chose.
    """
    try:
        checkpoint = torch.load(path, weights_only=True, map_location="cpu", mmap=True)
    except UnpicklingError as error:
        raise WeightsError(
            f"{path}: expected tensors and plain data only; loading the rest could run arbitrary code: it is"
            f" refused ({_first_line(error)}). Save the state dictionary alone, with torch.save."
        ) from error
    except (RuntimeError, EOFError, ValueError, OSError) as error:
        raise WeightsError(
            f"{path}: expected a whole file written by torch.save (torch 1.6 or later), but reading it failed"
            f" ({_first_line(error)}). It may be truncated: fetch it again."
        ) from error
    if not isinstance(checkpoint, Mapping):
        raise WeightsError(f"{path}: expected a dictionary; got {type(checkpoint).__name__}")
    return checkpoint


def load_strictly(module: nn.Module, state: Mapping[str, Tensor], source: str) -> None:
    """Copy ``state`` into ``module``; raises WeightsError naming every entry that does not fit."""
    expected = module.state_dict()
    faults = [f"missing: {name}" for name in expected if name not in state]
    faults += [f"unexpected: {name}" for name in state if name not in expected]
    faults += [
        f"{name}: expected shape {list(expected[name].shape)}, got {list(value.shape)}"
        for name, value in state.items()
        if name in expected and value.shape != expected[name].shape
    ]
    if faults:
        raise WeightsError("\n  ".join([f"{source} does not fit the model ({len(faults)} entries)", *faults]))
    module.load_state_dict(state)


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
