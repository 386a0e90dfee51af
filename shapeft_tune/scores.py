"""Scores of a segmentation, from a confusion matrix. Needs no torch, because the report counts with it too.

Rows are targets, columns predictions, both over the K classes of the data set. Void pixels are left out and
void is never predicted, so the matrix holds every pixel that counts. Matrices of several test folds add up.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

Counts = npt.NDArray[np.int64]
CONFUSION_FILE = "confusion.npz"
"""A trial's file: ``validation_counts`` and, if it was tested, ``test_counts``, both int32 ``[N, K, K]``,
with ``validation_ids`` and ``test_ids`` of the patches, and ``class_names``."""


@dataclass(frozen=True)
class Scores:
    """What a confusion matrix amounts to. All are fractions of 1; a class that does not occur has no IoU."""

    miou: float
    """Primary: mean over the classes that occur in target or prediction."""
    miou_seed20: float
    """The study's convention: mean over K + 1 (20), void and absent classes counted as 0; at most 0.95."""
    macro_f1: float
    """Mean over the classes that occur in target or prediction."""
    overall_accuracy: float
    classes_scored: int
    """Over how many classes the means run."""
    iou: tuple[float | None, ...]
    """One for each class; None where it occurs neither in target nor in prediction."""
    precision: tuple[float | None, ...] = ()
    """Of the pixels that were called a class, the share that is it; None where none was called it."""
    recall: tuple[float | None, ...] = ()
    """Of the pixels of a class, the share that was found; None where it has none."""

    @classmethod
    def of(cls, counts_KK: Counts) -> Scores:
        """Score one pooled confusion matrix ``[K, K]``; all zeros scores 0 over 0 classes."""
        hit = np.diagonal(counts_KK).astype(float)
        target, predicted = counts_KK.sum(axis=1), counts_KK.sum(axis=0)
        union = target + predicted - hit
        occurs = union > 0
        iou = hit[occurs] / union[occurs]
        f1 = 2 * hit[occurs] / (target + predicted)[occurs]
        scored = int(occurs.sum())
        by_class = iter(iou.tolist())
        return cls(
            miou=float(iou.mean()) if scored else 0.0,
            miou_seed20=float(iou.sum()) / (len(counts_KK) + 1),
            macro_f1=float(f1.mean()) if scored else 0.0,
            overall_accuracy=float(hit.sum() / max(counts_KK.sum(), 1)),
            classes_scored=scored,
            iou=tuple(next(by_class) if there else None for there in occurs),
            precision=_shares(hit, predicted),
            recall=_shares(hit, target),
        )

    def summary(self) -> Mapping[str, float]:
        """Return the scores that are one number each."""
        return {
            "miou": self.miou,
            "miou_seed20": self.miou_seed20,
            "macro_f1": self.macro_f1,
            "overall_accuracy": self.overall_accuracy,
            "classes_scored": self.classes_scored,
        }


def _shares(hit_K: npt.NDArray[np.float64], of_K: Counts) -> tuple[float | None, ...]:
    pairs = zip(hit_K.tolist(), of_K.tolist(), strict=True)
    return tuple(hit / total if total else None for hit, total in pairs)


def pooled_test_counts(file: Path) -> Counts | None:
    """Return the matrix ``[K, K]`` of all test patches from a trial's file; None where it was not tested."""
    with np.load(file) as arrays:
        return arrays["test_counts"].sum(axis=0, dtype=np.int64) if "test_counts" in arrays else None
