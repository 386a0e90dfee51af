from __future__ import annotations

import numpy as np
import pytest
import torch
from torchmetrics.classification import (
    MulticlassAccuracy,
    MulticlassF1Score,
    MulticlassPrecision,
    MulticlassRecall,
)
from torchmetrics.segmentation import MeanIoU

from shapeft_tune.train.metrics import Scores, patch_confusions

CLASSES, VOID = 19, 19


def random_patches(seed: int, classes: int = CLASSES) -> tuple[torch.Tensor, torch.Tensor]:
    """Return logits and targets of three patches with void, where only the first ``classes`` occur."""
    generator = torch.Generator().manual_seed(seed)
    target = torch.randint(0, classes, (3, 16, 16), generator=generator)
    target[torch.rand(target.shape, generator=generator) < 0.1] = VOID
    logits = torch.randn(3, CLASSES, 16, 16, generator=generator)
    logits[:, classes:] = -100.0
    right = torch.nn.functional.one_hot(target.clamp(max=18), CLASSES).movedim(-1, 1)
    return logits + 2.0 * right * (torch.rand(3, 1, 16, 16, generator=generator) < 0.5), target


@pytest.mark.parametrize(("seed", "classes"), [(0, 19), (1, 19), (2, 5)])
def test_scores_agree_with_torchmetrics_on_random_predictions(seed: int, classes: int) -> None:
    logits, target = random_patches(seed, classes)
    scores = Scores.of(patch_confusions(logits, target).sum(0).numpy())
    counted = target != VOID
    prediction, truth = logits.argmax(1)[counted], target[counted]
    iou = MeanIoU(num_classes=CLASSES, per_class=True, input_format="index")
    by_class = iou(prediction[None], truth[None])
    assert scores.miou == pytest.approx(by_class[:classes].mean().item(), abs=1e-6)
    assert scores.miou_seed20 == pytest.approx(by_class[:classes].sum().item() / 20, abs=1e-6)
    assert scores.classes_scored == classes
    f1 = MulticlassF1Score(CLASSES, average="none")(prediction, truth)
    assert scores.macro_f1 == pytest.approx(f1[:classes].mean().item(), abs=1e-6)
    accuracy = MulticlassAccuracy(CLASSES, average="micro")(prediction, truth)
    assert scores.overall_accuracy == pytest.approx(accuracy.item(), abs=1e-6)


def test_a_perfect_map_scores_one_and_at_most_95_by_the_convention_of_the_study() -> None:
    scores = Scores.of(np.eye(CLASSES, dtype=np.int64) * 7)
    assert (scores.miou, scores.overall_accuracy, scores.macro_f1) == (1.0, 1.0, 1.0)
    assert scores.miou_seed20 == pytest.approx(0.95)


def test_precision_is_of_what_was_called_a_class_and_recall_of_what_is_one() -> None:
    logits, target = random_patches(5)
    logits[:, 3] += 1.0  # called too often: found more, and less sure
    scores = Scores.of(patch_confusions(logits, target).sum(0).numpy())
    counted = target != VOID
    prediction, truth = logits.argmax(1)[counted], target[counted]
    precision = MulticlassPrecision(CLASSES, average="none")(prediction, truth)
    recall = MulticlassRecall(CLASSES, average="none")(prediction, truth)
    assert scores.precision == pytest.approx(precision.tolist(), abs=1e-6)
    assert scores.recall == pytest.approx(recall.tolist(), abs=1e-6)
    assert scores.recall[3] > scores.precision[3] + 0.1
    mean_recall = MulticlassAccuracy(CLASSES, average="macro")(prediction, truth).item()
    assert scores.overall_accuracy != pytest.approx(mean_recall, abs=1e-3)


def test_precision_of_a_class_that_was_never_called_and_recall_of_one_that_is_not_there_are_none() -> None:
    counts = np.zeros((CLASSES, CLASSES), dtype=np.int64)
    counts[0, 1] = 3
    scores = Scores.of(counts)
    assert (scores.precision[:3], scores.recall[:3]) == ((None, 0.0, None), (0.0, None, None))


def test_a_class_that_is_predicted_but_not_there_counts_and_one_that_is_neither_does_not() -> None:
    counts = np.zeros((CLASSES, CLASSES), dtype=np.int64)
    counts[0, 0], counts[0, 1] = 3, 1
    scores = Scores.of(counts)
    assert scores.iou[:3] == (0.75, 0.0, None)
    assert scores.miou == pytest.approx(0.375)
    assert scores.classes_scored == 2


def test_void_pixels_count_for_nothing() -> None:
    logits, target = random_patches(3)
    changed = logits.clone()
    changed[:, :, :, :4] = torch.randn(3, CLASSES, 16, 4)
    target[:, :, :4] = VOID
    assert torch.equal(patch_confusions(logits, target), patch_confusions(changed, target))


def test_every_patch_has_a_matrix_of_its_own() -> None:
    logits, target = random_patches(4)
    together = patch_confusions(logits, target)
    alone = [patch_confusions(logits[i : i + 1], target[i : i + 1])[0] for i in range(3)]
    assert torch.equal(together, torch.stack(alone))
    assert together.sum().item() == (target != VOID).sum().item()


def test_nothing_to_score_is_zero_over_zero_classes() -> None:
    scores = Scores.of(np.zeros((CLASSES, CLASSES), dtype=np.int64))
    assert (scores.miou, scores.classes_scored, set(scores.iou)) == (0.0, 0, {None})
