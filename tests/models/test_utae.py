"""U-TAE through files in the published format, against a plain restatement that takes one date at a time."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor
from torch.nn import functional

from benchmarks.plain_utae import PlainUtae
from shapeft_tune.config.models import Utae
from shapeft_tune.config.tuning import FinetuneTuning, FrozenTuning, LoraTuning
from shapeft_tune.errors import DataError, WeightsError
from shapeft_tune.models import Segmenter, build_model
from tests.models.reference_ltae import reference_ltae
from tests.models.small_models import NUM_CLASSES, SMALL_UTAE, make_series, randomise

Weights = dict[str, Tensor]
KEYS = "temporal_encoder.attention_heads"


def conv_shapes(name: str, shape: tuple[int, ...], norm: str, batch: bool, outputs: int) -> dict[str, Any]:
    shapes: dict[str, Any] = {f"{name}.weight": shape, f"{name}.bias": (outputs,)}
    shapes |= {f"{norm}.weight": (outputs,), f"{norm}.bias": (outputs,)}
    if batch:
        shapes |= {f"{norm}.running_mean": (outputs,), f"{norm}.running_var": (outputs,)}
        shapes[f"{norm}.num_batches_tracked"] = ()
    return shapes


def layer_shapes(
    prefix: str, inputs: int, outputs: int, side: int, batch: bool, first: int = 0
) -> dict[str, Any]:
    shape = (outputs, inputs, side, side)
    return conv_shapes(f"{prefix}.{first}", shape, f"{prefix}.{first + 1}", batch, outputs)


def published_shapes(config: Utae, outputs: int) -> dict[str, tuple[int, ...]]:
    """Names and shapes of utae-paps' state dictionary."""
    encoder, decoder, width = config.encoder_widths, config.decoder_widths, config.width
    shapes = layer_shapes("in_conv.conv.conv", 10, encoder[0], 3, False)
    shapes |= layer_shapes("in_conv.conv.conv", encoder[0], encoder[0], 3, False, first=3)
    for level, (fine, coarse) in enumerate(pairwise(encoder)):
        shapes |= layer_shapes(f"down_blocks.{level}.down.conv", fine, fine, 4, False)
        shapes |= layer_shapes(f"down_blocks.{level}.conv1.conv", fine, coarse, 3, False)
        shapes |= layer_shapes(f"down_blocks.{level}.conv2.conv", coarse, coarse, 3, False)
    for step, level in enumerate(range(len(encoder) - 1, 0, -1)):
        up, skip, coarse, fine = f"up_blocks.{step}", encoder[level - 1], decoder[level], decoder[level - 1]
        shapes |= layer_shapes(f"{up}.skip_conv", skip, skip, 1, True)
        shapes |= conv_shapes(f"{up}.up.0", (coarse, fine, 4, 4), f"{up}.up.1", True, fine)
        shapes |= layer_shapes(f"{up}.conv1.conv", fine + skip, fine, 3, True)
        shapes |= layer_shapes(f"{up}.conv2.conv", fine, fine, 3, True)
    shapes |= layer_shapes("out_conv.conv.conv", decoder[0], 32, 3, True)
    shapes |= layer_shapes("out_conv.conv.conv", 32, outputs, 3, True, first=3)
    keys, channels = config.heads * config.key_size, encoder[-1]
    mlp = conv_shapes("temporal_encoder.mlp.0", (channels, width), "temporal_encoder.mlp.1", True, channels)
    norms = {f"temporal_encoder.{n}_norm.{p}": (channels,) for n in ("in", "out") for p in ("weight", "bias")}
    projection = {
        "temporal_encoder.inconv.weight": (width, channels, 1),
        "temporal_encoder.inconv.bias": (width,),
    }
    heads = {f"{KEYS}.Q": (config.heads, config.key_size), f"{KEYS}.fc1_k.weight": (keys, width)}
    return shapes | mlp | norms | projection | heads | {f"{KEYS}.fc1_k.bias": (keys,)}


def published_weights(outputs: int = NUM_CLASSES, config: Utae = SMALL_UTAE) -> Weights:
    torch.manual_seed(4)
    weights = {name: torch.randn(shape) * 0.3 for name, shape in published_shapes(config, outputs).items()}
    weights[f"{KEYS}.Q"] *= 30  # sharp attention, different at every pixel
    for name in weights:
        if name.endswith("running_var"):
            weights[name] = weights[name].abs() + 0.5
        if name.endswith("num_batches_tracked"):
            weights[name] = torch.tensor(17)
    return weights


def save_published(folder: Path, weights: Weights, **settings: Any) -> Path:
    """Write Fold_1/model.pth.tar as utae-paps does, with an optimiser's state; conf.json beside the fold."""
    parameter = torch.nn.Parameter(torch.zeros(3))
    optimiser = torch.optim.Adam([parameter])
    parameter.sum().backward()
    optimiser.step()
    (folder / "Fold_1").mkdir()
    if settings:
        (folder / "conf.json").write_text(json.dumps(settings), encoding="utf-8")
    path = folder / "Fold_1" / "model.pth.tar"
    torch.save({"epoch": 3, "state_dict": weights, "optimizer": optimiser.state_dict()}, path)
    return path


def tuned_from(path: Path | str, **changes: Any) -> Utae:
    return SMALL_UTAE.model_copy(update={"tuning": FinetuneTuning(weights=str(path), **changes)})


def load(path: Path, classes: int = NUM_CLASSES) -> Segmenter:
    return build_model(tuned_from(path), classes).eval()


def conv_norm_relu(maps: Tensor, weights: Weights, prefix: str, first: int = 0, stride: int = 1) -> Tensor:
    padded = functional.pad(maps, (1, 1, 1, 1), mode="reflect")
    conv = f"{prefix}.{first}"
    maps = functional.conv2d(padded, weights[f"{conv}.weight"], weights[f"{conv}.bias"], stride)
    return norm_relu(maps, weights, f"{prefix}.{first + 1}")


def norm_relu(maps: Tensor, weights: Weights, name: str) -> Tensor:
    weight, bias = weights[f"{name}.weight"], weights[f"{name}.bias"]
    if f"{name}.running_mean" in weights:
        statistics = weights[f"{name}.running_mean"], weights[f"{name}.running_var"]
        return functional.relu(functional.batch_norm(maps, *statistics, weight, bias))
    return functional.relu(functional.group_norm(maps, 4, weight, bias))


def encode_frame(weights: Weights, frame_CHW: Tensor, levels: int) -> list[Tensor]:
    fine = conv_norm_relu(frame_CHW[None], weights, "in_conv.conv.conv")
    maps = [conv_norm_relu(fine, weights, "in_conv.conv.conv", first=3)]
    for level in range(levels - 1):
        shrunk = conv_norm_relu(maps[-1], weights, f"down_blocks.{level}.down.conv", stride=2)
        widened = conv_norm_relu(shrunk, weights, f"down_blocks.{level}.conv1.conv")
        maps.append(widened + conv_norm_relu(widened, weights, f"down_blocks.{level}.conv2.conv"))
    return maps


def ltae_weights(weights: Weights, config: Utae) -> Weights:
    """The names of the L-TAE's own reference, which has no bias of the keys: the softmax cancels it."""
    start = "temporal_encoder."
    part = {name.removeprefix(start): value for name, value in weights.items() if name.startswith(start)}
    part["in_project.weight"], part["in_project.bias"] = part["inconv.weight"][..., None], part["inconv.bias"]
    part["mlp.0.weight"] = part["mlp.0.weight"][:, :, None, None]
    part["query_hk"] = part["attention_heads.Q"]
    part["key_weight_hkC"] = part["attention_heads.fc1_k.weight"].view(config.heads, config.key_size, -1)
    return part


def reference_utae(weights: Weights, config: Utae, frames_TCHW: Tensor, days_T: Tensor) -> Tensor:
    """Return the logits [K, H, W] of one series without padding."""
    levels = len(config.encoder_widths)
    encoded = [encode_frame(weights, frame, levels) for frame in frames_TCHW]
    bottom_TCHW = torch.cat([maps[-1] for maps in encoded])
    fused, attention_ThHW = reference_ltae(
        ltae_weights(weights, config), bottom_TCHW, days_T, config.heads, dates=True
    )
    current = fused[None]
    for step, level in enumerate(range(levels - 2, -1, -1)):
        skip_TCHW = torch.cat([maps[level] for maps in encoded])
        mask_ThHW = functional.interpolate(attention_ThHW, skip_TCHW.shape[-2:], mode="bilinear")
        groups = [
            sum(mask_ThHW[date, head] * group[date] for date in range(len(days_T)))
            for head, group in enumerate(skip_TCHW.chunk(config.heads, dim=1))
        ]
        up = f"up_blocks.{step}"
        conv, wider = weights[f"{up}.skip_conv.0.weight"], weights[f"{up}.up.0.weight"]
        skip = functional.conv2d(torch.cat(groups)[None], conv, weights[f"{up}.skip_conv.0.bias"])
        larger = functional.conv_transpose2d(current, wider, weights[f"{up}.up.0.bias"], stride=2, padding=1)
        sides = [norm_relu(larger, weights, f"{up}.up.1"), norm_relu(skip, weights, f"{up}.skip_conv.1")]
        current = conv_norm_relu(torch.cat(sides, dim=1), weights, f"{up}.conv1.conv")
        current = current + conv_norm_relu(current, weights, f"{up}.conv2.conv")
    narrow = conv_norm_relu(current, weights, "out_conv.conv.conv")
    return conv_norm_relu(narrow, weights, "out_conv.conv.conv", first=3)[0]


def assert_same(got: Tensor, expected: Tensor) -> None:
    """Largest difference below 1e-4 of the largest value."""
    assert (got - expected).abs().max() < 1e-4 * expected.abs().max()


@pytest.mark.parametrize("gradients", [False, True])
def test_a_published_file_gives_the_logits_of_a_frame_by_frame_restatement(
    tmp_path: Path, gradients: bool
) -> None:
    weights = published_weights()
    model = load(save_published(tmp_path, weights))
    series = make_series(dates=3, height=16, width=24).without_date(patch=1, date=0)
    with torch.set_grad_enabled(gradients):  # frames go through in parts where there are none
        logits_BKHW = series.through(model).detach()
    for patch, valid_T in enumerate(series.valid_BT):
        frames_TCHW, days_T = series.images_BTCHW[patch, valid_T], series.days_BT[patch, valid_T]
        expected_KHW = reference_utae(weights, SMALL_UTAE, frames_TCHW, days_T)
        assert expected_KHW.std() > 0.01  # the ReLU at the end has not silenced the comparison
        assert_same(logits_BKHW[patch], expected_KHW)


def test_weights_saved_by_data_parallel_are_the_same(tmp_path: Path) -> None:
    weights = published_weights()
    (tmp_path / "parallel").mkdir()
    plain = load(save_published(tmp_path, weights))
    prefixed = {f"module.{name}": value for name, value in weights.items()}
    parallel = load(save_published(tmp_path / "parallel", prefixed))
    for one, other in zip(plain.parameters(), parallel.parameters(), strict=True):
        assert torch.equal(one, other)


def test_the_output_of_void_is_left_out_of_a_model_without_it(tmp_path: Path) -> None:
    path = save_published(tmp_path, published_weights(outputs=NUM_CLASSES + 1))
    series = make_series(dates=2, height=16, width=16)
    with torch.no_grad():
        whole, without = (series.through(load(path, NUM_CLASSES + 1)), series.through(load(path)))
    torch.testing.assert_close(whole[:, :NUM_CLASSES], without)


@pytest.mark.parametrize("classes", [NUM_CLASSES - 2, NUM_CLASSES + 1])
def test_another_number_of_classes_is_refused_with_those_that_work(tmp_path: Path, classes: int) -> None:
    path = save_published(tmp_path, published_weights())
    with pytest.raises(WeightsError, match=rf"build the model for {NUM_CLASSES}, or for {NUM_CLASSES - 1}"):
        load(path, classes)


def test_a_file_that_does_not_fit_is_refused_with_every_published_name(tmp_path: Path) -> None:
    weights = published_weights()
    del weights[f"{KEYS}.fc1_k.bias"], weights["in_conv.conv.conv.3.weight"]
    weights["paps.heatmap"] = torch.zeros(1)
    weights["temporal_encoder.inconv.weight"] = torch.zeros(16, 7, 1)
    path = save_published(tmp_path, weights)
    with pytest.raises(WeightsError, match="4 entries") as refusal:
        load(path)
    for part in (
        f"missing: {KEYS}.fc1_k.bias",
        "missing: in_conv.conv.conv.3.weight",
        "unexpected: paps.heatmap",
        "inconv.weight: expected shape [16, 16, 1], got [16, 7, 1]",
    ):
        assert part in str(refusal.value)


def test_settings_that_contradict_conf_json_are_refused_with_the_value_to_set(tmp_path: Path) -> None:
    settings = {"encoder_widths": [8, 8, 16], "n_head": 8, "agg_mode": "att_mean", "lr": 0.001}
    path = save_published(tmp_path, published_weights(), **settings)
    with pytest.raises(WeightsError) as refusal:
        load(path)
    faults = str(refusal.value).splitlines()[1:]
    assert faults == [
        "  n_head is 8: set model.heads to that; it is 4",
        "  agg_mode is att_mean: only att_group can be loaded",
    ]


def test_a_file_of_something_else_is_refused_with_what_it_holds(tmp_path: Path) -> None:
    torch.save({"s2_encoder": {}}, tmp_path / "other.pt")
    with pytest.raises(WeightsError, match=r"state_dict; got s2_encoder"):
        load(tmp_path / "other.pt")


def test_frozen_trains_only_what_sees_the_whole_series() -> None:
    model = build_model(SMALL_UTAE.model_copy(update={"tuning": FrozenTuning(weights="none")}), 5).train()
    trained = {name.split(".")[0] for name, value in model.named_parameters() if value.requires_grad}
    assert trained == {"temporal", "ups", "head"}
    assert not any(part.training for part in model.get_submodule("encoder").modules())


def test_finetuning_slows_the_levels_down_towards_the_input() -> None:
    config = tuned_from("none", encoder_lr_ratio=0.5, layer_decay=0.5)
    ratios = [group.lr_ratio for group in build_model(config, NUM_CLASSES).parameter_groups()]
    assert ratios == [0.125, 0.25, 0.5, 1.0]  # stem, two levels, all the rest


def test_two_stages_keep_the_encoder_first() -> None:
    model = build_model(tuned_from("none", frozen_share=0.5), NUM_CLASSES).train()
    encoder = model.get_submodule("encoder")
    reached = []
    for progress in (0.2, 0.7):
        model.set_progress(progress)
        model.zero_grad()
        make_series(dates=1, height=16, width=16).through(model).square().sum().backward()
        reached.append((encoder.training, any(value.grad is not None for value in encoder.parameters())))
    assert reached == [(False, False), (True, True)]


def test_modes_and_words_that_do_not_work_are_refused_with_those_that_do() -> None:
    with pytest.raises(ValidationError, match="scratch, finetune or frozen"):
        Utae(tuning=LoraTuning(weights="none"))
    with pytest.raises(ValidationError, match=r"zenodo\.org/record/5172293"):
        Utae(tuning=FinetuneTuning(weights="official"))


def test_logits_and_gradients_equal_those_of_the_benchmarks_plain_version() -> None:
    torch.manual_seed(5)
    model = build_model(SMALL_UTAE, NUM_CLASSES).eval()
    randomise(model)
    plain = PlainUtae(SMALL_UTAE, NUM_CLASSES).eval()
    plain.copy_weights(model.state_dict())
    series = make_series(dates=3, height=16, width=24)
    fast_BTCHW, plain_BTCHW = (series.images_BTCHW.clone().requires_grad_() for _ in range(2))
    logits = [
        model(fast_BTCHW, series.days_BT, series.valid_BT),
        plain(plain_BTCHW, series.days_BT),
    ]
    assert_same(logits[0], logits[1])
    toward_BKHW = torch.randn_like(logits[0])
    for each in logits:
        (each * toward_BKHW).sum().backward()
    assert_same(fast_BTCHW.grad, plain_BTCHW.grad)
    for ours, theirs in (
        ("encoder.stem.0.0", "stem.0"),
        ("temporal.in_norm", "temporal.in_norm"),
        ("head.1.0", "head.3"),
    ):
        assert_same(model.get_parameter(f"{ours}.weight").grad, plain.get_parameter(f"{theirs}.weight").grad)
    assert_same(model.get_parameter("temporal.query_hk").grad, plain.get_parameter("temporal.query_hk").grad)


def test_default_settings_have_the_size_of_the_published_network() -> None:
    # 1 087 260 in the original, of which the 64 biases of the keys cancel in the softmax and are left out.
    assert build_model(Utae(), 20).trainable_parameters == 1_087_260 - 64


@pytest.mark.parametrize("side", [12, 8])
def test_patches_that_do_not_fit_the_levels_are_refused(side: int) -> None:
    with pytest.raises(DataError, match=rf"{side} x {side} px .* multiples of 8 and at least 16 px"):
        make_series(dates=1, height=side, width=side).through(build_model(Utae(), NUM_CLASSES))
