from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError
from torch.nn import functional

from shapeft_tune.config import SweepConfig
from shapeft_tune.config.training import (
    CrossEntropy,
    Dice,
    Focal,
    Loss,
    LossSum,
    LossTerm,
    Lovasz,
    WeightedCrossEntropy,
)
from shapeft_tune.train.losses import build_loss, class_weights
from tests.config.examples import SWEEP

CLASSES, VOID = 19, 19
LOSSES: dict[str, Loss] = {
    "cross entropy": CrossEntropy(label_smoothing=0.1),
    "weighted": WeightedCrossEntropy(power=0.5),
    "focal": Focal(gamma=1.5),
    "weighted focal": Focal(gamma=0.5, power=1.0),
    "dice": Dice(),
    "lovasz": Lovasz(),
    "sum": LossSum(terms=(LossTerm(weight=0.7, loss=CrossEntropy()), LossTerm(weight=2, loss=Dice()))),
}
each_loss = pytest.mark.parametrize("config", LOSSES.values(), ids=LOSSES)
Batch = tuple[torch.Tensor, torch.Tensor]


@pytest.fixture
def batch() -> Batch:
    """Predictions that are sometimes right and labels that lack some classes and hold some void."""
    torch.manual_seed(0)
    target = torch.randint(0, CLASSES - 4, (2, 8, 8))
    target[:, :2] = VOID
    return torch.randn(2, CLASSES, 8, 8) * 3, target


def of(config: Loss, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return build_loss(config, torch.arange(1, CLASSES + 1))(logits, target)


def value_and_gradient(config: Loss, logits: torch.Tensor, target: torch.Tensor) -> Batch:
    logits = logits.detach().requires_grad_()
    loss = of(config, logits, target)
    (gradient,) = torch.autograd.grad(loss, logits)
    return loss.detach(), gradient


def known_pixels(logits: torch.Tensor, target: torch.Tensor) -> tuple[list[list[float]], list[int]]:
    """Probabilities and label of each pixel that is not void, as plain numbers."""
    pixels = [
        (logits[b, :, y, x].double().softmax(dim=0).tolist(), int(target[b, y, x]))
        for b, y, x in (target < VOID).nonzero().tolist()
    ]
    return [probabilities for probabilities, _ in pixels], [label for _, label in pixels]


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy_is_torchs_over_the_pixels_that_count(batch: Batch, smoothing: float) -> None:
    ours = of(CrossEntropy(label_smoothing=smoothing), *batch)
    theirs = functional.cross_entropy(*batch, ignore_index=VOID, label_smoothing=smoothing)
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-6)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_weighted_cross_entropy_is_torchs_with_the_same_weights(batch: Batch, smoothing: float) -> None:
    ours = of(WeightedCrossEntropy(power=0.5, label_smoothing=smoothing), *batch)
    weights = class_weights(torch.arange(1, CLASSES + 1), 0.5)
    theirs = functional.cross_entropy(*batch, weight=weights, ignore_index=VOID, label_smoothing=smoothing)
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-5)


def test_rare_classes_weigh_more_and_absent_ones_nothing() -> None:
    weights = class_weights(torch.tensor([900, 100, 0]), power=1.0)
    assert weights[1].item() == pytest.approx(9 * weights[0].item())
    assert weights[2] == 0
    assert (0.9 * weights[0] + 0.1 * weights[1]).item() == pytest.approx(1.0)


@pytest.mark.parametrize("gamma", [0.5, 2.0])
@pytest.mark.parametrize("power", [0.0, 1.0])
def test_focal_is_the_published_formula_pixel_by_pixel(batch: Batch, gamma: float, power: float) -> None:
    total = weights = 0.0
    for probabilities, label in zip(*known_pixels(*batch), strict=True):
        true = probabilities[label]
        weight = (label + 1) ** -power  # class k has k + 1 pixels in training
        total += weight * (1 - true) ** gamma * -math.log(true)
        weights += weight
    assert of(Focal(gamma=gamma, power=power), *batch).item() == pytest.approx(total / weights, rel=1e-5)


def test_focal_without_focus_is_cross_entropy(batch: Batch) -> None:
    for focal, plain in (
        (Focal(gamma=0), CrossEntropy()),
        (Focal(gamma=0, power=0.5), WeightedCrossEntropy(power=0.5)),
    ):
        got, expected = value_and_gradient(focal, *batch), value_and_gradient(plain, *batch)
        torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-7)


def test_dice_is_the_published_formula_class_by_class(batch: Batch) -> None:
    """Classes that the labels lack add nothing; the mean is over all of them."""
    probabilities, labels = known_pixels(*batch)
    losses = []
    for k in set(labels):
        overlap = sum(pixel[k] for pixel, label in zip(probabilities, labels, strict=True) if label == k)
        sizes = sum(pixel[k] for pixel in probabilities) + labels.count(k)
        losses.append(1 - 2 * overlap / sizes)
    assert of(Dice(), *batch).item() == pytest.approx(sum(losses) / CLASSES, rel=1e-5)


def test_lovasz_is_the_published_extension_of_the_jaccard_loss(batch: Batch) -> None:
    """Berman et al., equation 8: errors, largest first, times what each adds to the set's Jaccard loss."""
    probabilities, labels = known_pixels(*batch)
    losses = []
    for k in sorted(set(labels)):
        truth = {place for place, label in enumerate(labels) if label == k}
        errors = {place: abs((place in truth) - pixel[k]) for place, pixel in enumerate(probabilities)}
        order = sorted(errors, key=lambda place: -errors[place])
        jaccard = []  # of the sets of the first 0, 1, 2, ... mispredicted pixels
        for count in range(len(order) + 1):
            wrong = set(order[:count])
            jaccard.append(len(wrong) / len(truth | wrong))
        steps = [after - before for before, after in pairwise(jaccard)]
        losses.append(sum(errors[place] * step for place, step in zip(order, steps, strict=True)))
    assert of(Lovasz(), *batch).item() == pytest.approx(sum(losses) / len(losses), rel=1e-5)


@pytest.mark.parametrize("config", [Dice(), Lovasz()], ids=["dice", "lovasz"])
def test_a_perfect_map_has_no_overlap_loss(batch: Batch, config: Loss) -> None:
    target = batch[1]
    logits = 60.0 * functional.one_hot(target, CLASSES + 1)[..., :CLASSES].movedim(-1, 1)
    assert of(config, logits, target).item() == pytest.approx(0, abs=1e-6)


def test_a_sum_weighs_its_terms(batch: Batch) -> None:
    parts = [(0.7, CrossEntropy()), (2.0, Dice()), (0.1, Lovasz())]
    whole = LossSum(terms=tuple(LossTerm(weight=weight, loss=loss) for weight, loss in parts))
    expected = sum(weight * of(loss, *batch).item() for weight, loss in parts)
    assert of(whole, *batch).item() == pytest.approx(expected, rel=1e-6)


@each_loss
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**31), share=st.floats(0, 1), void=st.integers(VOID, 255))
def test_what_is_predicted_at_void_pixels_never_matters(
    config: Loss, seed: int, share: float, void: int
) -> None:
    """Neither to the loss nor to the gradients, which are zero there."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(2, CLASSES, 4, 4, generator=generator) * 5
    target = torch.randint(0, CLASSES, (2, 4, 4), generator=generator)
    hidden = torch.rand(2, 4, 4, generator=generator) < share
    target[hidden] = void
    other = torch.where(hidden[:, None], torch.randn(logits.shape, generator=generator) * 100, logits)
    (loss, gradient), (same_loss, same_gradient) = (
        value_and_gradient(config, each, target) for each in (logits, other)
    )
    assert torch.equal(loss, same_loss)
    assert torch.equal(gradient, same_gradient)
    assert gradient.isfinite().all()
    assert not gradient.movedim(1, -1)[hidden].any()


@each_loss
def test_a_batch_of_nothing_but_void_has_no_loss_and_no_gradient_that_is_not_a_number(config: Loss) -> None:
    loss, gradient = value_and_gradient(config, torch.randn(1, CLASSES, 4, 4), torch.full((1, 4, 4), VOID))
    assert loss.shape == ()
    assert loss.item() == 0
    assert not gradient.any()


@each_loss
@pytest.mark.parametrize("autocast", [False, True])
def test_half_precision_logits_are_computed_on_in_fp32(batch: Batch, config: Loss, autocast: bool) -> None:
    logits, target = batch[0].bfloat16(), batch[1]
    exact = of(config, logits.float(), target)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
        loss = of(config, logits, target)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(exact.item(), rel=1e-6)


@each_loss
@pytest.mark.parametrize("sure_of", [0, 1])
def test_pixels_beyond_doubt_right_or_wrong_have_finite_gradients(config: Loss, sure_of: int) -> None:
    logits = torch.zeros(1, CLASSES, 2, 2)
    logits[:, sure_of] = 1e4
    loss, gradient = value_and_gradient(config, logits, torch.zeros(1, 2, 2, dtype=torch.long))
    assert loss.isfinite()
    assert gradient.isfinite().all()


@each_loss
def test_the_gradient_is_the_slope_of_the_loss(batch: Batch, config: Loss) -> None:
    """Along its own direction, by central differences."""
    gradient = value_and_gradient(config, *batch)[1]
    step = 0.02 * gradient / gradient.norm()
    higher, lower = (of(config, batch[0] + sign * step, batch[1]).item() for sign in (1, -1))
    assert (higher - lower) / 0.04 == pytest.approx(gradient.norm().item(), rel=0.01)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("dice", Dice()),
        ({"name": "focal", "gamma": 3}, Focal(gamma=3)),
        (
            {"name": "sum", "terms": [{"loss": "cross_entropy"}, {"weight": 0.5, "loss": "lovasz"}]},
            LossSum(terms=(LossTerm(loss=CrossEntropy()), LossTerm(weight=0.5, loss=Lovasz()))),
        ),
    ],
)
def test_a_loss_is_one_of_the_choices_of_a_search(written: Any, meant: Loss) -> None:
    search = {"training.loss": {"choice": ["cross_entropy", written]}}
    cell = SweepConfig.model_validate(SWEEP | {"search": search}).cells[0]
    assert cell.trial({"training.loss": written}, seed=0).training.loss == meant


def test_a_sum_within_a_sum_is_refused() -> None:
    inner = {"name": "sum", "terms": [{"loss": "dice"}, {"loss": "lovasz"}]}
    with pytest.raises(ValidationError, match="'sum'"):
        TypeAdapter(Loss).validate_python({"name": "sum", "terms": [{"loss": "dice"}, {"loss": inner}]})
