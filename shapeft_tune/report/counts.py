"""The confusion matrix of every test patch of a trial, from the home or else from the record."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from shapeft_tune.scores import CONFUSION_FILE, Counts, Scores

logger = logging.getLogger(__name__)

RESULT_FILE = "result.json"
"""Beside the matrices; names the classes where these were written before they had names of their own."""
CLOSE = 1e-6
"""What the mIoU of a trial's matrices may be off the recorded one, by rounding."""


@dataclass(frozen=True, eq=False)
class PatchCounts:
    """How a trial's best weights labelled each test patch. Legend: N patches, K classes."""

    ids: tuple[str, ...]
    class_names: tuple[str, ...]
    counts_NKK: Counts
    """Rows are targets, columns predictions; void is left out."""


def patches_in(folder: Path, miou: float | None) -> PatchCounts | None:
    """Return the matrices of a trial's test patches from the folder with its files.

    Args:
        folder: holds ``confusion.npz``, and ``result.json`` with the classes' names if the first has none.
        miou: what the trial is recorded with, which the matrices must come to; None: nothing to hold
            against them.

    Returns:
        None, with a warning that says why, where they are damaged, not there, or those of another trial.
    """
    try:
        return _checked(_read(folder), miou)
    except (OSError, EOFError, ValueError, KeyError, TypeError, BadZipFile) as error:
        logger.warning("%s: no matrices of the test patches (%s)", folder / CONFUSION_FILE, error)
        return None


def is_of_trial(folder: Path, fingerprint: str) -> bool:
    """Return whether a folder holds the matrices of this very trial, by what its result says."""
    try:
        return (folder / CONFUSION_FILE).exists() and _result(folder).get("fingerprint") == fingerprint
    except (OSError, ValueError, AttributeError):
        return False


def _read(folder: Path) -> PatchCounts:
    with np.load(folder / CONFUSION_FILE, allow_pickle=False) as arrays:
        ids, counts_NKK = arrays["test_ids"], arrays["test_counts"]
        names = arrays["class_names"].tolist() if "class_names" in arrays else _result(folder)["class_names"]
    return PatchCounts(tuple(map(str, ids.tolist())), tuple(map(str, names)), counts_NKK)


def _checked(patches: PatchCounts, miou: float | None) -> PatchCounts:
    """Return the matrices if they are whole and come to the recorded score.

    Raises:
        ValueError: they are or do not.
    """
    kinds, counts_NKK = len(patches.class_names), patches.counts_NKK
    shape = (len(patches.ids), kinds, kinds)
    if counts_NKK.shape != shape or not np.issubdtype(counts_NKK.dtype, np.integer) or (counts_NKK < 0).any():
        raise ValueError(f"expected counts {list(shape)}; got {counts_NKK.dtype} {list(counts_NKK.shape)}")
    if len(set(patches.ids)) < len(patches.ids):
        raise ValueError("a patch is in it twice")
    found = Scores.of(counts_NKK.sum(axis=0, dtype=np.int64)).miou
    if miou is not None and abs(found - miou) > CLOSE:
        raise ValueError(f"they come to mIoU {found:.6f}; the record says {miou:.6f}")
    return patches


def _result(folder: Path) -> Any:
    return json.loads((folder / RESULT_FILE).read_text(encoding="utf-8"))
