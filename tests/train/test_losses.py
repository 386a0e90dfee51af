from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from shapeft_tune.config.training import CrossEntropy, WeightedCrossEntropy
from shapeft_tune.train.losses import build_loss, class_weights

CLASSES, VOID = 19, 19


@pytest.fixture
def batch() -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    target = torch.randint(0, CLASSES, (2, 8, 8))
    target[:, :2] = VOID
    return torch.randn(2, CLASSES, 8, 8), target


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy_is_torchs_over_the_pixels_that_count(
    batch: tuple[torch.Tensor, torch.Tensor], smoothing: float
) -> None:
    ours = build_loss(CrossEntropy(label_smoothing=smoothing), torch.ones(CLASSES))(*batch)
    theirs = functional.cross_entropy(*batch, ignore_index=VOID, label_smoothing=smoothing)
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-6)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_weighted_cross_entropy_is_torchs_with_the_same_weights(
    batch: tuple[torch.Tensor, torch.Tensor], smoothing: float
) -> None:
    pixels = torch.arange(1, CLASSES + 1)
    ours = build_loss(WeightedCrossEntropy(power=0.5, label_smoothing=smoothing), pixels)(*batch)
    weights = class_weights(pixels, 0.5)
    theirs = functional.cross_entropy(*batch, weight=weights, ignore_index=VOID, label_smoothing=smoothing)
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-5)


def test_rare_classes_weigh_more_and_absent_ones_nothing() -> None:
    weights = class_weights(torch.tensor([900, 100, 0]), power=1.0)
    assert weights[1].item() == pytest.approx(9 * weights[0].item())
    assert weights[2] == 0
    assert (0.9 * weights[0] + 0.1 * weights[1]).item() == pytest.approx(1.0)


def test_a_batch_of_nothing_but_void_has_no_loss_and_no_gradient_that_is_not_a_number() -> None:
    logits = torch.randn(1, CLASSES, 4, 4, requires_grad=True)
    loss = build_loss(CrossEntropy(), torch.ones(CLASSES))(logits, torch.full((1, 4, 4), VOID))
    loss.backward()
    assert loss.item() == 0
    assert logits.grad is not None
    assert not logits.grad.any()
