"""The promise that every model keeps, whatever it is made of."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from shapeft_tune.config.models import ModelConfig
from shapeft_tune.config.tuning import FrozenTuning
from shapeft_tune.models import Segmenter, build_model
from shapeft_tune.models.encoder import Encoder
from shapeft_tune.models.galileo_layers import Block
from tests.models.small_models import NUM_CLASSES, SMALL_MODELS, SMALL_TIMM, Series, make_series

FROZEN = [name for name, config in SMALL_MODELS.items() if config.tuning.mode == "frozen"]


def loss_of(model: Segmenter, series: Series) -> torch.Tensor:
    """Loss on fixed labels, with the same draws of dropout in every call."""
    torch.manual_seed(3)
    size = series.images_BTCHW.shape[-2:]
    labels_BHW = torch.randint(0, NUM_CLASSES, (len(series.days_BT), *size))
    return functional.cross_entropy(series.through(model), labels_BHW)


def optimiser_of(model: Segmenter, lr: float) -> torch.optim.Optimizer:
    groups = [
        {"params": group.parameters, "lr": lr * group.lr_ratio, "weight_decay": 0.1}
        for group in model.parameter_groups()
    ]
    return torch.optim.AdamW(groups)


def gradients_of(model: Segmenter, series: Series) -> dict[str, torch.Tensor]:
    model.zero_grad()
    loss_of(model, series).backward()
    return {name: value.grad for name, value in model.named_parameters() if value.grad is not None}


@pytest.mark.parametrize(("dates", "height", "width"), [(1, 16, 16), (26, 16, 16), (3, 32, 48)])
def test_logits_have_one_map_per_class_at_the_size_of_the_patch(
    model: Segmenter, config: ModelConfig, dates: int, height: int, width: int
) -> None:
    with torch.no_grad():
        logits = make_series(dates, height, width, config.sensors).through(model)
    assert logits.shape == (2, NUM_CLASSES, height, width)
    assert logits.dtype == torch.float32
    assert logits.isfinite().all()


@pytest.mark.parametrize("positions", [[3], [0, 2]])
def test_padded_dates_full_of_garbage_change_neither_logits_nor_gradients(
    model: Segmenter, config: ModelConfig, positions: list[int]
) -> None:
    series = make_series(sensors=config.sensors)
    padded = series.with_padding(positions)
    torch.testing.assert_close(padded.through(model), series.through(model), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(gradients_of(model, padded), gradients_of(model, series), rtol=1e-4, atol=1e-5)


def test_a_patch_with_fewer_dates_is_as_if_it_were_alone(model: Segmenter, config: ModelConfig) -> None:
    series = make_series(sensors=config.sensors).without_date(patch=1, date=2)
    alone = Series(series.images_BTCHW[1:, :2], series.days_BT[1:, :2], series.valid_BT[1:, :2])
    with torch.no_grad():
        torch.testing.assert_close(series.through(model)[1:], alone.through(model), rtol=1e-5, atol=1e-5)


def test_the_order_of_the_dates_does_not_matter(model: Segmenter, config: ModelConfig) -> None:
    series, order = make_series(sensors=config.sensors), [2, 0, 1]
    shuffled = Series(series.images_BTCHW[:, order], series.days_BT[:, order], series.valid_BT)
    with torch.no_grad():
        torch.testing.assert_close(shuffled.through(model), series.through(model), rtol=1e-5, atol=1e-5)


def test_the_days_matter_exactly_where_the_model_is_to_see_them(
    model: Segmenter, config: ModelConfig
) -> None:
    series = make_series(sensors=config.sensors)
    later = Series(series.images_BTCHW, series.days_BT * 2 + 40, series.valid_BT)
    name = next(name for name, other in SMALL_MODELS.items() if other is config)
    sees_dates = "blind to dates" not in name
    with torch.no_grad():
        assert torch.equal(later.through(model), series.through(model)) != sees_dates


def test_parameter_groups_hold_every_trainable_parameter_once(model: Segmenter) -> None:
    grouped = [id(parameter) for group in model.parameter_groups() for parameter in group.parameters]
    wanted = [id(parameter) for parameter in model.parameters() if parameter.requires_grad]
    assert sorted(grouped) == sorted(wanted)
    assert model.trainable_parameters == sum(p.numel() for p in model.parameters() if p.requires_grad)


def test_gradients_reach_exactly_the_parameters_that_are_trained(
    model: Segmenter, config: ModelConfig
) -> None:
    series = make_series(sensors=config.sensors)
    optimiser = optimiser_of(model.train(), lr=1e-4)
    gradients_of(model, series)
    optimiser.step()  # LoRA's first halves get a gradient only when the second ones have moved
    reached = {name for name, gradient in gradients_of(model, series).items() if gradient.any()}
    everything = {name for name, _ in model.named_parameters()}
    of_encoder = {name for name in everything if "encoder." in name}
    rests = {"frozen": of_encoder, "lora": {name for name in of_encoder if "lora_" not in name}}
    assert reached == everything - rests.get(config.tuning.mode, set())


@pytest.mark.parametrize(
    ("name", "ratios"),
    [
        ("utae", {"encoder": 1.0, "decoder": 1.0}),
        ("croma frozen", {"decoder": 1.0}),
        ("croma finetuned", {"encoder": 0.25, "decoder": 1.0}),
        ("croma from scratch", {"encoder": 1.0, "decoder": 1.0}),
    ],
)
def test_the_encoder_learns_at_its_own_rate(name: str, ratios: dict[str, float]) -> None:
    groups = build_model(SMALL_MODELS[name], NUM_CLASSES).parameter_groups()
    assert {group.name: group.lr_ratio for group in groups} == ratios


@pytest.mark.parametrize("name", FROZEN)
def test_a_frozen_encoder_stays_bit_for_bit_the_same_in_training(name: str) -> None:
    torch.manual_seed(0)
    model = build_model(SMALL_MODELS[name], NUM_CLASSES).train()
    encoder = model.get_submodule("encoder")
    before = {key: value.clone() for key, value in encoder.state_dict().items()}
    optimiser = optimiser_of(model, lr=0.1)
    loss_of(model, make_series(sensors=SMALL_MODELS[name].sensors)).backward()
    optimiser.step()
    assert not any(part.training for part in encoder.modules())
    assert all(torch.equal(value, before[key]) for key, value in encoder.state_dict().items())


@pytest.mark.parametrize("name", FROZEN)
def test_a_frozen_encoder_runs_without_a_graph(name: str) -> None:
    model = build_model(SMALL_MODELS[name], NUM_CLASSES).train()
    series = make_series(sensors=SMALL_MODELS[name].sensors)
    series.images_BTCHW.requires_grad_()  # would drag a graph through the encoder, were one recorded
    loss_of(model, series).backward()
    assert series.images_BTCHW.grad is None


def test_saved_weights_give_the_same_logits_bit_for_bit(
    model: Segmenter, config: ModelConfig, tmp_path: Path
) -> None:
    torch.save(model.state_dict(), tmp_path / "model.pt")
    torch.manual_seed(99)
    other = build_model(config, NUM_CLASSES).eval()
    series = make_series(sensors=config.sensors)
    with torch.no_grad():
        assert not torch.equal(series.through(other), series.through(model))
        other.load_state_dict(torch.load(tmp_path / "model.pt", weights_only=True))
        assert torch.equal(series.through(other), series.through(model))


def test_bf16_arithmetic_stays_close_to_fp32(model: Segmenter, config: ModelConfig) -> None:
    series = make_series(sensors=config.sensors)
    with torch.no_grad():
        full = series.through(model)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            half = series.through(model).float()
    assert (half - full).square().mean().sqrt() < 0.05 * full.std()


def test_one_step_of_training_lowers_the_loss(model: Segmenter, config: ModelConfig) -> None:
    model.train()
    series = make_series(sensors=config.sensors)
    optimiser = optimiser_of(model, lr=3e-4)
    before = loss_of(model, series)
    before.backward()
    optimiser.step()
    assert loss_of(model, series) < before


def test_a_batch_of_one_patch_can_be_trained_on(model: Segmenter, config: ModelConfig) -> None:
    series = make_series(sensors=config.sensors)
    single = Series(series.images_BTCHW[:1], series.days_BT[:1], series.valid_BT[:1])
    assert loss_of(model.train(), single).isfinite()


@pytest.mark.parametrize("unpadded", [True, False])
def test_a_batch_encoded_in_pieces_trains_as_a_whole_one(
    model: Segmenter, config: ModelConfig, unpadded: bool
) -> None:
    """Logits' loss, gradients, running statistics and the random numbers that come next."""
    without_dropout(model.train())
    series = make_series(sensors=config.sensors)
    series = series if unpadded else series.without_date(patch=1, date=2)
    start = copy.deepcopy(model.state_dict())
    whole = gradients_of(model, series), copy.deepcopy(model.state_dict()), torch.get_rng_state()
    model.load_state_dict(start)
    model.set_pieces(4)
    pieces = gradients_of(model, series), model.state_dict(), torch.get_rng_state()
    for ours, theirs in zip(pieces, whole, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)


def test_no_more_goes_through_an_encoder_at_once_than_a_piece(model: Segmenter, config: ModelConfig) -> None:
    series, seen = make_series(sensors=config.sensors), []
    most = model.train().most_pieces(*series.valid_BT.shape)
    encoder = next((module for module in model.modules() if isinstance(module, Encoder)), None)
    if encoder is None:  # nothing to part: a whole network on pixels, say
        assert most == 1
        return
    for name in ("forward_features", "forward_series"):
        if method := getattr(encoder, name, None):
            setattr(encoder, name, noting(method, seen))
    model.set_pieces(100)
    series.through(model)
    assert seen == [series.valid_BT.numel()] if most == 1 else [series.valid_BT.numel() // most] * most


def test_frames_that_a_batch_norm_learns_from_together_are_not_parted() -> None:
    assert build_model(SMALL_TIMM, NUM_CLASSES).train().most_pieces(2, 3) == 1
    resting = SMALL_TIMM.model_copy(update={"tuning": FrozenTuning(weights="none")})
    assert build_model(resting, NUM_CLASSES).train().most_pieces(2, 3) == 6
    resized = SMALL_MODELS["croma resized"]
    assert build_model(resized, NUM_CLASSES).train().most_pieces(2, 3) == 6
    assert build_model(SMALL_MODELS["galileo finetuned"], NUM_CLASSES).train().most_pieces(2, 3) == 2


def without_dropout(model: Segmenter) -> None:
    """Take chance out of the encoder: in pieces, it draws other numbers."""
    for encoder in (module for module in model.modules() if isinstance(module, Encoder)):
        for module in encoder.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0
            elif isinstance(module, Block):
                module.drop_path = 0.0


def noting(method: Callable[..., Any], seen: list[int]) -> Callable[..., Any]:
    """Return the method, which notes how many frames it is given."""

    def noted(images: torch.Tensor, *others: torch.Tensor) -> Any:
        seen.append(images.shape[:-3].numel())
        return method(images, *others)

    return noted
