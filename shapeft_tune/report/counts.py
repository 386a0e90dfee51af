"""What each test patch of a trial was labelled as, from the matrices in the home or else in the record."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt

from shapeft_tune.scores import CONFUSION_FILE, Counts, Scores

logger = logging.getLogger(__name__)

RESULT_FILE = "result.json"
"""Beside the matrices; names the classes where these were written before they had names of their own."""
Pixels = npt.NDArray[np.int32]
CLOSE = 1e-6
"""What the mIoU of a trial's matrices may be off the recorded one, by rounding."""


@dataclass(frozen=True, eq=False)
class PatchCounts:
    """How a trial's best weights labelled each test patch, as far as scores need it; void is left out.

    Of each patch's confusion matrix only the diagonal and the margins are kept, 3 numbers a class and not K:
    enough for IoU, F1 and accuracy, and with 19 classes a sixth of the room. Legend: N patches, K classes.
    """

    ids: tuple[str, ...]
    class_names: tuple[str, ...]
    hit_NK: Pixels
    """Pixels of a class that were called it."""
    target_NK: Pixels
    """Pixels of a class."""
    predicted_NK: Pixels
    """Pixels that were called a class."""
    pooled_KK: Counts
    """The confusion matrix of all patches; rows are targets, columns predictions."""

    @classmethod
    def of(cls, ids: Sequence[str], class_names: Sequence[str], counts_NKK: npt.NDArray[Any]) -> PatchCounts:
        """Keep of the patches' confusion matrices what scores need."""
        return PatchCounts(
            tuple(map(sys.intern, ids)),  # the same patches occur in every trial
            tuple(class_names),
            hit_NK=np.diagonal(counts_NKK, axis1=1, axis2=2).astype(np.int32),
            target_NK=counts_NKK.sum(axis=2, dtype=np.int32),
            predicted_NK=counts_NKK.sum(axis=1, dtype=np.int32),
            pooled_KK=counts_NKK.sum(axis=0, dtype=np.int64),
        )


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
        patches = _read(folder)
        _check_score(patches, miou)
    except (OSError, EOFError, ValueError, KeyError, TypeError, BadZipFile) as error:
        logger.warning("%s: no matrices of the test patches (%s)", folder / CONFUSION_FILE, error)
        return None
    return patches


def is_of_trial(folder: Path, fingerprint: str) -> bool:
    """Return whether a folder holds the matrices of this very trial, by what its result says."""
    try:
        return (folder / CONFUSION_FILE).exists() and _result(folder).get("fingerprint") == fingerprint
    except (OSError, ValueError, AttributeError):
        return False


def _read(folder: Path) -> PatchCounts:
    """Read what is in a folder.

    Raises:
        ValueError: it is not whole; others where a part is not there or cannot be read.
    """
    with np.load(folder / CONFUSION_FILE, allow_pickle=False) as arrays:
        ids, counts_NKK = arrays["test_ids"], arrays["test_counts"]
        names = arrays["class_names"].tolist() if "class_names" in arrays else _result(folder)["class_names"]
    shape = (len(ids), len(names), len(names))
    if counts_NKK.shape != shape or not np.issubdtype(counts_NKK.dtype, np.integer) or (counts_NKK < 0).any():
        raise ValueError(f"expected counts {list(shape)}; got {counts_NKK.dtype} {list(counts_NKK.shape)}")
    patches = PatchCounts.of([str(each) for each in ids.tolist()], [str(each) for each in names], counts_NKK)
    if len(set(patches.ids)) < len(patches.ids):
        raise ValueError("a patch is in it twice")
    return patches


def _check_score(patches: PatchCounts, miou: float | None) -> None:
    found = Scores.of(patches.pooled_KK).miou
    if miou is not None and abs(found - miou) > CLOSE:
        raise ValueError(f"they come to mIoU {found:.6f}; the record says {miou:.6f}")


def _result(folder: Path) -> Any:
    return json.loads((folder / RESULT_FILE).read_text(encoding="utf-8"))
