"""What each way of tuning trains, how fast, and that nothing else moves."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from shapeft_tune.config.tuning import FinetuneTuning, LoraTuning, Tuning
from shapeft_tune.errors import UserError
from shapeft_tune.models import Segmenter, build_model
from shapeft_tune.models.encoder import Encoder, MapShape
from shapeft_tune.models.tuning import encoder_groups, prepared
from tests.models.small_models import NUM_CLASSES, make_series, small_croma

DEPTH = 4  # of CROMA's size small
BLOCKS = DEPTH + 2  # the patches' projection comes before the layers, the final norm after them


class Convolution(Encoder):
    """An encoder without attention, MLP or depth."""

    bands = ("B4",)

    def __init__(self) -> None:
        super().__init__()
        self.maps = (MapShape(2, 1),)
        self.convolution = nn.Conv2d(1, 2, kernel_size=1)

    def forward_features(self, images_NCHW: torch.Tensor) -> list[torch.Tensor]:
        return [self.convolution(images_NCHW)]

    def layers(self) -> list[list[nn.Parameter]]:
        return [list(self.convolution.parameters())]


def built(tuning: Tuning) -> Segmenter:
    torch.manual_seed(0)
    return build_model(small_croma(tuning), NUM_CLASSES).train()


def step(model: Segmenter, lr: float = 0.01) -> None:
    groups = [{"params": group.parameters, "lr": lr * group.lr_ratio} for group in model.parameter_groups()]
    optimiser = torch.optim.AdamW(groups, weight_decay=0.1)
    make_series().through(model).square().mean().backward()
    optimiser.step()


def moved(model: Segmenter, before: dict[str, torch.Tensor]) -> set[str]:
    return {name for name, value in model.named_parameters() if not torch.equal(value, before[name])}


def parameters_of(model: Segmenter) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in model.named_parameters()}


def test_layer_decay_gives_each_layer_a_share_of_the_next_ones_rate() -> None:
    model = built(FinetuneTuning(weights="none", encoder_lr_ratio=0.5, layer_decay=0.8))
    *encoder, decoder = model.parameter_groups()
    assert [group.lr_ratio for group in encoder] == pytest.approx(
        [0.5 * 0.8**below for below in range(BLOCKS - 1, -1, -1)]
    )
    assert decoder.lr_ratio == 1.0
    of_module = {id(value): name for name, value in model.named_parameters()}
    assert {of_module[id(value)].split(".")[1] for value in encoder[0].parameters} == {"linear_input"}
    assert all("layers.0." in of_module[id(value)] for value in encoder[1].parameters)
    assert all("norm_out" in of_module[id(value)] for value in encoder[-1].parameters)


def test_layer_decay_without_layers_is_refused() -> None:
    with pytest.raises(UserError, match=r"layer_decay: expected 1 .* 1 layer; got 0\.9"):
        encoder_groups(Convolution(), FinetuneTuning(weights="none", layer_decay=0.9))


def test_in_the_first_of_two_stages_only_the_decoder_moves_and_in_the_second_everything() -> None:
    model = built(FinetuneTuning(weights="none", frozen_share=0.5))
    before = parameters_of(model)
    model.set_progress(0.49)
    assert not any(module.training for module in model.get_submodule("encoder").modules())
    step(model)
    first = moved(model, before)
    assert first
    assert not any(name.startswith("encoder.") for name in first)
    model.set_progress(0.5)
    assert all(module.training for module in model.get_submodule("encoder").modules())
    model.zero_grad()
    step(model)
    assert moved(model, before) == set(before)


def test_the_second_stage_is_reached_in_evaluation_mode_too() -> None:
    model = built(FinetuneTuning(weights="none", frozen_share=0.5)).eval()
    model.set_progress(0.0)
    model.set_progress(0.9)
    assert not any(module.training for module in model.modules())


@pytest.mark.parametrize(
    ("targets", "ends"),
    [
        (("attention",), {"to_qkv", "to_out"}),
        (("mlp",), {"net.0", "net.3"}),
        (("attention", "mlp"), {"to_qkv", "to_out", "net.0", "net.3"}),
    ],
)
def test_lora_trains_updates_of_the_chosen_matrices_and_nothing_else_of_the_encoder(
    targets: tuple[str, ...], ends: set[str]
) -> None:
    model = built(LoraTuning.model_validate({"weights": "none", "rank": 2, "targets": targets}))
    trained = {
        name.removeprefix("encoder.transformer.layers.")
        for name, value in model.named_parameters()
        if value.requires_grad and name.startswith("encoder.")
    }
    inside = {"to_qkv": 0, "to_out": 0, "net.0": 1, "net.3": 1}
    assert trained == {
        f"{layer}.{inside[end]}.{end}.lora_{half}.default.weight"
        for layer in range(DEPTH)
        for end in ends
        for half in "AB"
    }


def test_lora_begins_as_the_pretrained_network_and_moves_only_what_it_trains() -> None:
    model = built(LoraTuning(weights="none", rank=2, encoder_lr_ratio=2.0))
    plain = built(FinetuneTuning(weights="none"))
    images = torch.rand(1, 12, 16, 16)
    with torch.no_grad():
        ours, theirs = (each.get_submodule("encoder").forward_features(images) for each in (model, plain))  # type: ignore[operator]
    assert all(torch.equal(one, other) for one, other in zip(ours, theirs, strict=True))
    before = parameters_of(model)
    step(model)
    step(model)  # the first leaves A as it is: its gradient passes through B, which begins at zero
    frozen = {name for name in before if name.startswith("encoder.") and "lora_" not in name}
    assert moved(model, before) == set(before) - frozen
    assert {group.name: group.lr_ratio for group in model.parameter_groups()} == {
        "encoder": 2.0,
        "decoder": 1.0,
    }


def test_under_lora_only_the_updates_have_dropout() -> None:
    model = built(LoraTuning(weights="none", dropout=0.5))
    training = {
        name for name, part in model.get_submodule("encoder").named_modules() if part.training and name
    }
    assert training
    assert all("lora_" in name for name in training)
    assert not any(part.training for part in model.eval().modules())


def test_lora_on_an_encoder_without_such_matrices_is_refused() -> None:
    with pytest.raises(UserError, match="selects no parameter"):
        prepared(Convolution(), LoraTuning(weights="none"))
