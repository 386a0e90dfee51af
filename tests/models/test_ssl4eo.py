"""SSL4EO-S12's transformers against an independent restatement, through files in the published formats."""

from __future__ import annotations

import itertools
import math
import pathlib
from argparse import Namespace
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor
from torch.nn import functional

from shapeft_tune.config.bands import S2_BANDS
from shapeft_tune.config.models import Ssl4eo
from shapeft_tune.config.tuning import FrozenTuning, LoraTuning
from shapeft_tune.errors import WeightsError
from shapeft_tune.models import load_encoder
from shapeft_tune.models.bands import BandAdapter
from shapeft_tune.models.ssl4eo import L1C_STATISTICS, position_embedding
from shapeft_tune.models.tuning import prepared

WIDTH, DEPTH, HEADS, SIDE = 384, 12, 6, 14
Weights = dict[str, Tensor]
Save = Callable[[dict[str, Any]], str]


def random_weights(shapes: dict[str, tuple[int, ...]]) -> Weights:
    generator = torch.Generator().manual_seed(5)
    near_one = ("norm1.weight", "norm2.weight", "norm.weight")
    return {
        name: torch.randn(shape, generator=generator) * 0.05 + float(name.endswith(near_one))
        for name, shape in shapes.items()
    }


def block_shapes(layer: int) -> dict[str, tuple[int, ...]]:
    shapes = {
        f"{norm}.{kind}": (WIDTH,) for norm, kind in itertools.product(("norm1", "norm2"), ("weight", "bias"))
    }
    shapes |= {"attn.qkv.weight": (3 * WIDTH, WIDTH), "attn.proj.weight": (WIDTH, WIDTH)}
    shapes |= {"attn.proj.bias": (WIDTH,), "mlp.fc1.weight": (4 * WIDTH, WIDTH), "mlp.fc1.bias": (4 * WIDTH,)}
    shapes |= {"mlp.fc2.weight": (WIDTH, 4 * WIDTH), "mlp.fc2.bias": (WIDTH,)}
    return {f"blocks.{layer}.{name}": shape for name, shape in shapes.items()}


def shared_shapes() -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {"cls_token": (1, 1, WIDTH), "norm.weight": (WIDTH,)}
    shapes |= {"norm.bias": (WIDTH,), "patch_embed.proj.bias": (WIDTH,)}
    shapes |= {"patch_embed.proj.weight": (WIDTH, 13, 16, 16)}
    return shapes | {name: shape for layer in range(DEPTH) for name, shape in block_shapes(layer).items()}


@pytest.fixture(scope="module")
def vit_weights() -> Weights:
    """Under the names that DINO, MoCo, MAE and timm share."""
    biases = {f"blocks.{layer}.attn.qkv.bias": (3 * WIDTH,) for layer in range(DEPTH)}
    return random_weights({**shared_shapes(), **biases, "pos_embed": (1, SIDE**2 + 1, WIDTH)})


@pytest.fixture(scope="module")
def beit_weights() -> Weights:
    """Under the names of data2vec's files."""
    names = ("attn.q_bias", "attn.v_bias", "gamma_1", "gamma_2")
    vectors = {f"blocks.{layer}.{name}": (WIDTH,) for layer, name in itertools.product(range(DEPTH), names)}
    table = {"rel_pos_bias.relative_position_bias_table": ((2 * SIDE - 1) ** 2 + 3, HEADS)}
    weights = random_weights({**shared_shapes(), **vectors, **table})
    weights["rel_pos_bias.relative_position_bias_table"] *= 20  # from far too weak to decisive
    return weights


def trained_with(state: dict[str, Any]) -> dict[str, Any]:
    """Add what the authors' training scripts save beside the weights."""
    rates = {"lr": np.float64(1e-4), "betas": (0.9, 0.999), "params": [0]}
    optimiser = {"state": {0: {"step": 7, "exp_avg": torch.zeros(3)}}, "param_groups": [rates]}
    return {
        **state,
        "optimizer": optimiser,
        "epoch": 100,
        "args": Namespace(lr=1e-4, mode=["s2c"], lmdb=True),
    }


def as_dino(weights: Weights) -> dict[str, Any]:
    head = {"head.mlp.0.weight": torch.zeros(2, 2), "head.last_layer.weight_g": torch.zeros(2, 1)}
    teacher = {f"backbone.{name}": value for name, value in weights.items()} | head
    student = {"module.backbone.cls_token": torch.zeros(1, 1, WIDTH)}
    return trained_with({"student": student, "teacher": teacher, "dino_loss": {"center": torch.zeros(1, 2)}})


def as_moco(weights: Weights) -> dict[str, Any]:
    state = {f"module.base_encoder.{name}": value for name, value in weights.items()}
    state |= {f"module.momentum_encoder.{name}": torch.zeros(1) for name in weights}
    state |= {"module.base_encoder.head.0.weight": torch.zeros(2), "module.predictor.1.bias": torch.zeros(2)}
    return {"epoch": 100, "arch": "vit_small", "state_dict": state, "optimizer": {}, "scaler": {}}


def as_mae(weights: Weights) -> dict[str, Any]:
    outside = ("mask_token", "decoder_pos_embed", "decoder_embed.weight", "decoder_blocks.0.attn.qkv.bias")
    outside += ("decoder_norm.weight", "decoder_pred.bias")
    return trained_with({"model": weights | {name: torch.zeros(2) for name in outside}})


def as_data2vec(weights: Weights) -> dict[str, Any]:
    outside = ("mask_token", "lm_head.weight", "lm_head.bias", "rel_pos_bias.relative_position_index")
    return trained_with({"model": weights | {name: torch.zeros(2) for name in outside}})


FORMATS: dict[str, Callable[[Weights], dict[str, Any]]] = {
    "dino": as_dino,
    "moco": as_moco,
    "mae": as_mae,
    "data2vec": as_data2vec,
    "timm": dict,  # torchgeo's copies hold nothing else
}


@pytest.fixture
def weights(request: pytest.FixtureRequest) -> Weights:
    fixture = "beit_weights" if request.param == "data2vec" else "vit_weights"
    return request.getfixturevalue(fixture)  # type: ignore[no-any-return]


@pytest.fixture
def save(tmp_path: Path) -> Iterator[Save]:
    """Write a checkpoint; it is removed after the test, for pytest would keep gigabytes of them."""
    path = tmp_path / "checkpoint.pth"

    def write(content: dict[str, Any]) -> str:
        torch.save(content, path)
        return str(path)

    yield write
    path.unlink()


def cubic(distance: float) -> float:
    """The kernel of cubic convolution (Keys, 1981) with a = -0.75."""
    a, x = -0.75, abs(distance)
    if x <= 1:
        return (a + 2) * x**3 - (a + 3) * x**2 + 1
    return a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a if x < 2 else 0.0


def resized(places: Tensor, length: int, counted: float) -> Tensor:
    """Bring the first dimension to a length, as bicubic interpolation on a grid counted so long does."""
    last = len(places) - 1
    rows = []
    for number in range(length):
        middle = (number + 0.5) * len(places) / counted - 0.5
        near = range(math.floor(middle) - 1, math.floor(middle) + 3)
        rows.append(sum(cubic(middle - place) * places[min(max(place, 0), last)] for place in near))
    return torch.stack(rows)  # type: ignore[arg-type]


def reference_positions(stored: Tensor, rows: int, columns: int, surplus: float) -> Tensor:
    """Positions [1 + rows * columns, C] from those of a square grid."""
    places = stored[0, 1:].unflatten(0, (SIDE, SIDE))
    if (rows, columns) != (SIDE, SIDE):
        places = resized(places, rows, rows + surplus)
        places = resized(places.transpose(0, 1), columns, columns + surplus).transpose(0, 1)
    return torch.cat([stored[0, :1], places.flatten(0, 1)])


def reference_scores_bias(table: Tensor, rows: int, columns: int) -> Tensor:
    """BEiT's bias [heads, tokens, tokens], entry by entry."""
    places = list(itertools.product(range(rows), range(columns)))
    bias = torch.zeros(1 + len(places), 1 + len(places), HEADS, dtype=table.dtype)
    for (one, (y, x)), (other, (v, u)) in itertools.product(enumerate(places, 1), repeat=2):
        bias[one, other] = table[(y - v + SIDE - 1) * (2 * SIDE - 1) + (x - u + SIDE - 1)]
    bias[0, 1:], bias[1:, 0], bias[0, 0] = table[-3], table[-2], table[-1]
    return bias.permute(2, 0, 1)


def reference_features(weights: Weights, image_CHW: Tensor, surplus: float) -> list[Tensor]:
    """Every layer's patch tokens [P, width] of one image, the last ones normalised: one head at a time."""
    weights = {name: value.double() for name, value in weights.items()}
    rows, columns = image_CHW.shape[1] // 16, image_CHW.shape[2] // 16
    places = itertools.product(range(rows), range(columns))
    patches = [image_CHW[:, 16 * r : 16 * r + 16, 16 * c : 16 * c + 16].flatten() for r, c in places]

    def linear(tokens: Tensor, name: str) -> Tensor:
        weight = weights[f"{name}.weight"].flatten(1)
        return tokens @ weight.T + weights.get(f"{name}.bias", torch.zeros(1))

    def norm(tokens: Tensor, name: str) -> Tensor:
        centred = tokens - tokens.mean(-1, keepdim=True)
        scaled = centred / (centred.square().mean(-1, keepdim=True) + 1e-6).sqrt()
        return scaled * weights[f"{name}.weight"] + weights[f"{name}.bias"]

    tokens = torch.cat([weights["cls_token"][0], linear(torch.stack(patches).double(), "patch_embed.proj")])
    bias = torch.zeros(HEADS, 1, 1)
    if "pos_embed" in weights:
        tokens = tokens + reference_positions(weights["pos_embed"], rows, columns, surplus)
    else:
        bias = reference_scores_bias(weights["rel_pos_bias.relative_position_bias_table"], rows, columns)
    outputs = []
    for layer in range(DEPTH):
        block = f"blocks.{layer}"
        queries, keys, values = linear(norm(tokens, f"{block}.norm1"), f"{block}.attn.qkv").chunk(3, -1)
        queries = queries + weights.get(f"{block}.attn.q_bias", 0)
        values = values + weights.get(f"{block}.attn.v_bias", 0)
        parts = zip(queries.chunk(HEADS, -1), keys.chunk(HEADS, -1), values.chunk(HEADS, -1), strict=True)
        mixed = []
        for head, (query, key, value) in enumerate(parts):
            scores = (query @ key.T / math.sqrt(WIDTH / HEADS) + bias[head]).exp()
            mixed.append(scores / scores.sum(-1, keepdim=True) @ value)
        attended = linear(torch.cat(mixed, dim=-1), f"{block}.attn.proj")
        tokens = tokens + attended * weights.get(f"{block}.gamma_1", 1)
        hidden = linear(norm(tokens, f"{block}.norm2"), f"{block}.mlp.fc1")
        hidden = hidden * 0.5 * (1 + torch.erf(hidden / math.sqrt(2)))
        tokens = tokens + linear(hidden, f"{block}.mlp.fc2") * weights.get(f"{block}.gamma_2", 1)
        outputs.append(tokens[1:])
    return [*outputs[:-1], norm(outputs[-1], "norm")]


def relative_error(found: Tensor, expected: Tensor) -> float:
    return ((found - expected).abs().max() / expected.abs().max()).item()


@pytest.mark.parametrize(("weights", "format"), [(name, name) for name in FORMATS], indirect=["weights"])
def test_features_of_a_published_file_equal_the_restatement(
    save: Save, weights: Weights, format: str
) -> None:
    path = save(FORMATS[format](weights))
    encoder = load_encoder("ssl4eo_vit", path, layers=(0, 6, 11)).eval()
    images_NCHW = torch.randn(2, 13, 32, 48)
    with torch.no_grad():
        features_NChw = encoder.forward_features(images_NCHW)
    assert [tuple(feature.shape) for feature in features_NChw] == [(2, WIDTH, 2, 3)] * 3
    surplus = 0.1 if format in ("dino", "timm") else 0.0
    expected = reference_features(weights, images_NCHW[1], surplus)
    for feature_NChw, layer in zip(features_NChw, (0, 6, 11), strict=True):
        assert relative_error(feature_NChw[1].flatten(1).T, expected[layer]) < 1e-4


@pytest.mark.parametrize(
    ("weights", "format"), [(name, name) for name in ("dino", "data2vec")], indirect=["weights"]
)
def test_gradients_with_respect_to_the_input_equal_the_restatement(
    save: Save, weights: Weights, format: str
) -> None:
    encoder = load_encoder("ssl4eo_vit", save(FORMATS[format](weights)), layers=(11,))
    images_NCHW = torch.randn(1, 13, 32, 16, requires_grad=True)
    direction = torch.randn(2, WIDTH)
    (found,) = torch.autograd.grad(
        (encoder.forward_features(images_NCHW)[0][0].flatten(1).T * direction).sum(), images_NCHW
    )
    features = reference_features(weights, images_NCHW[0], 0.1)[-1]
    (expected,) = torch.autograd.grad((features * direction).sum(), images_NCHW)
    assert relative_error(found, expected) < 1e-4


def test_at_the_size_of_pretraining_positions_are_the_stored_ones(save: Save, vit_weights: Weights) -> None:
    encoder = load_encoder("ssl4eo_vit", save(as_dino(vit_weights)), layers=(11,)).eval()
    image_CHW = torch.randn(13, 224, 224)
    with torch.no_grad():
        found = encoder.forward_features(image_CHW[None])[0][0].flatten(1).T
        assert relative_error(found, reference_features(vit_weights, image_CHW, surplus=0.1)[-1]) < 1e-4


@pytest.mark.parametrize("grid", [(8, 8), (2, 3), (16, 14), (20, 5)])
@pytest.mark.parametrize("surplus", [0.0, 0.1])
def test_positions_on_another_grid_are_interpolated_bicubically(
    grid: tuple[int, int], surplus: float
) -> None:
    stored = torch.randn(1, SIDE**2 + 1, 5)
    found = position_embedding(stored, grid, surplus)[0]
    torch.testing.assert_close(found, reference_positions(stored, *grid, surplus), rtol=1e-4, atol=1e-5)
    if not surplus:
        square = stored[:, 1:].transpose(1, 2).unflatten(2, (SIDE, SIDE))
        places = functional.interpolate(square, grid, mode="bicubic", align_corners=False)
        assert torch.equal(found[1:], places[0].flatten(1).T)


def test_beyond_the_offsets_of_pretraining_the_farthest_one_counts() -> None:
    encoder = load_encoder("ssl4eo_vit", "none", pretraining="data2vec")
    table = encoder.get_parameter("vit.rel_pos_bias.relative_position_bias_table")
    torch.nn.init.normal_(table)
    bias_aPP = encoder.get_submodule("vit.rel_pos_bias")((1, 20))
    assert torch.equal(bias_aPP[:, 1, 14], table[13 * 27 + 0])  # 13 to the left
    assert torch.equal(bias_aPP[:, 1, 20], table[13 * 27 + 0])  # 19 to the left
    assert torch.equal(bias_aPP[:, 20, 1], table[13 * 27 + 26])


def test_a_file_without_the_biases_of_attention_is_refused_with_every_name(
    save: Save, vit_weights: Weights
) -> None:
    biased = {name: value for name, value in vit_weights.items() if not name.endswith("qkv.bias")}
    with pytest.raises(WeightsError, match="12 entries") as refusal:
        load_encoder("ssl4eo_vit", save(as_dino(biased)))
    assert all(f"missing: blocks.{layer}.attn.qkv.bias" in str(refusal.value) for layer in range(DEPTH))


def test_data2vec_without_a_bias_is_refused_with_its_name(save: Save, beit_weights: Weights) -> None:
    lacking = {name: value for name, value in beit_weights.items() if name != "blocks.3.attn.v_bias"}
    with pytest.raises(WeightsError, match=r"missing: blocks\.3\.attn\.qkv\.bias"):
        load_encoder("ssl4eo_vit", save(as_data2vec(lacking)))


@pytest.mark.parametrize(
    ("format", "extra", "named"),
    [
        ("dino", "backbone.blocks.0.ls1.gamma", "blocks.0.ls1.gamma"),
        ("dino", "norm.weight", r"norm.weight \(without prefix\)"),
        ("moco", "module.base_encoder.fc.weight", "fc.weight"),
        ("mae", "fc_norm.weight", "fc_norm.weight"),
        ("timm", "decoder_pred.weight", "decoder_pred.weight"),
    ],
)
def test_an_entry_that_has_no_place_is_refused_with_its_name(
    save: Save, vit_weights: Weights, format: str, extra: str, named: str
) -> None:
    content = FORMATS[format](vit_weights)
    entry = {"dino": "teacher", "moco": "state_dict", "mae": "model"}.get(format)
    (content[entry] if entry else content)[extra] = torch.zeros(1)
    with pytest.raises(WeightsError, match=f"1 entries.*\n.*unexpected: {named}"):
        load_encoder("ssl4eo_vit", save(content))


def test_a_pickle_with_more_than_plain_data_is_refused(save: Save) -> None:
    with pytest.raises(WeightsError, match="refused"):
        load_encoder("ssl4eo_vit", save({"teacher": {}, "args": Namespace(home=pathlib.Path("/"))}))


def test_a_file_of_another_pretraining_than_asked_for_is_refused(save: Save, vit_weights: Weights) -> None:
    with pytest.raises(WeightsError, match="checkpoint of dino; got one of moco"):
        load_encoder("ssl4eo_vit", save(as_moco(vit_weights)), pretraining="dino")
    with pytest.raises(WeightsError, match="data2vec; got one with absolute positions"):
        load_encoder("ssl4eo_vit", save(vit_weights), pretraining="data2vec")


def test_a_file_of_another_network_is_refused_with_what_it_holds(save: Save) -> None:
    content = {"state_dict": {"module.encoder_q.conv1.weight": torch.zeros(1)}}
    with pytest.raises(WeightsError, match=r"expected a ViT-S/16.*got encoder_q.conv1.weight"):
        load_encoder("ssl4eo_vit", save(content))


def test_official_data2vec_weights_are_refused_with_where_they_are() -> None:
    with pytest.raises(ValidationError, match=r"B13_vits16_data2vec_0099_ckpt\.pth from the README"):
        Ssl4eo(pretraining="data2vec", tuning=FrozenTuning(weights="official"))


@pytest.mark.parametrize("pretraining", ["dino", "data2vec"])
def test_layers_behind_the_last_one_used_are_dropped_without_changing_the_features(pretraining: str) -> None:
    features = {}
    for layers in ((0, 2), (0, 2, 11)):
        torch.manual_seed(6)
        encoder = load_encoder("ssl4eo_vit", "none", pretraining=pretraining, layers=layers).eval()
        with torch.no_grad():
            features[layers] = encoder.forward_features(torch.ones(1, 13, 32, 32))
        grouped = [id(parameter) for group in encoder.layers() for parameter in group]
        assert sorted(grouped) == sorted(map(id, encoder.parameters()))
        assert f"vit.blocks.{layers[-1]}.norm1.bias" in encoder.state_dict()
        assert not any("blocks.3." in name for name in encoder.state_dict()) or layers[-1] == 11
    assert all(torch.equal(*pair) for pair in zip(features[0, 2], features[0, 2, 11], strict=False))


def test_lora_reaches_every_linear_module_of_every_layer() -> None:
    tuning = LoraTuning(weights="none", targets=("attention", "mlp"))
    encoder = prepared(load_encoder("ssl4eo_vit", "none", pretraining="data2vec", layers=(0, 1)), tuning)
    encoder.forward_features(torch.randn(1, 13, 32, 32))[-1].square().sum().backward()
    updates = {name for name, parameter in encoder.named_parameters() if parameter.requires_grad}
    learning = {
        name for name, value in encoder.named_parameters() if value.grad is not None and value.grad.any()
    }
    assert len(updates) == 2 * 4 * 2
    assert learning == {name for name in updates if "lora_B" in name}  # the others begin at 0 behind it


def test_standardised_bands_become_the_reflectance_that_pretraining_saw() -> None:
    """From the authors' README: "input clip to [0,1] by dividing 10000"."""
    encoder = load_encoder("ssl4eo_vit", "none", layers=(0,))
    statistics = encoder.statistics_of(S2_BANDS)
    assert statistics is not None
    raw_NCHW = torch.rand(2, 10, 4, 4) * 12_000 - 1000
    mean, std = (torch.tensor(values)[:, None, None] for values in (statistics.mean, statistics.std))
    found = encoder.scaled((raw_NCHW - mean) / std)
    torch.testing.assert_close(found, (raw_NCHW / 10_000).clamp(0, 1), rtol=1e-4, atol=1e-5)


def test_bands_that_pastis_lacks_are_zero_as_the_authors_have_it_for_so2sat() -> None:
    encoder = load_encoder("ssl4eo_vit", "none", layers=(0,))
    adapter = BandAdapter(encoder.bands, S2_BANDS, encoder.fill)
    taken = adapter(torch.arange(1.0, 11.0).view(1, 10, 1, 1)).flatten().int().tolist()
    assert encoder.bands == tuple(L1C_STATISTICS)
    assert taken == [0, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 9, 10]
