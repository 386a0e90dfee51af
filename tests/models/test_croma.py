"""CROMA's encoders against an independent restatement, through files in the published format."""

from __future__ import annotations

import itertools
import math
import re
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from shapeft_tune.config.bands import S1_BANDS, S2_BANDS
from shapeft_tune.config.models import Croma
from shapeft_tune.config.models.croma import CromaName, CromaSize
from shapeft_tune.errors import WeightsError
from shapeft_tune.models import load_encoder
from shapeft_tune.models.bands import BandAdapter
from shapeft_tune.models.croma import CromaJointEncoder, CromaOpticalEncoder
from shapeft_tune.models.croma_layers import distance_bias

WIDTH, DEPTH, HEADS = 128, 4, 4  # of every part of size small
ALL_LAYERS = (0, 1, 2, 3)
NAMES: list[CromaName] = ["croma_optical", "croma_sar", "croma_joint"]
Weights = dict[str, Tensor]


def norm_shapes(name: str) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (WIDTH,), f"{name}.bias": (WIDTH,)}


def attention_shapes(name: str, *inputs: str, rows: int) -> dict[str, tuple[int, ...]]:
    return {
        **{f"{name}.{part}.weight": (rows, WIDTH) for part in inputs},
        f"{name}.to_out.weight": (WIDTH, WIDTH),
        f"{name}.to_out.bias": (WIDTH,),
        **norm_shapes(f"{name}.input_norm"),
    }


def feed_forward_shapes(name: str) -> dict[str, tuple[int, ...]]:
    return {
        f"{name}.net.0.weight": (4 * WIDTH, WIDTH),
        f"{name}.net.0.bias": (4 * WIDTH,),
        f"{name}.net.3.weight": (WIDTH, 4 * WIDTH),
        f"{name}.net.3.bias": (WIDTH,),
        **norm_shapes(f"{name}.input_norm"),
    }


def branch_shapes(channels: int) -> dict[str, tuple[int, ...]]:
    shapes = {"linear_input.weight": (WIDTH, channels * 64), "linear_input.bias": (WIDTH,)}
    for layer in range(DEPTH):
        shapes |= attention_shapes(f"transformer.layers.{layer}.0", "to_qkv", rows=3 * WIDTH)
        shapes |= feed_forward_shapes(f"transformer.layers.{layer}.1")
    return shapes | norm_shapes("transformer.norm_out")


def joint_shapes() -> dict[str, tuple[int, ...]]:
    shapes = norm_shapes("norm_out")
    for layer in range(DEPTH):
        shapes |= attention_shapes(f"layers.{layer}.0", "to_qkv", rows=3 * WIDTH)
        shapes |= attention_shapes(f"layers.{layer}.1", "to_q", "to_k", "to_v", rows=WIDTH)
        shapes |= feed_forward_shapes(f"layers.{layer}.2")
    return shapes


def official_weights() -> dict[str, Weights]:
    """Random weights under the names of the published files."""
    entries = {
        "s1_encoder": branch_shapes(2),
        "s2_encoder": branch_shapes(12),
        "joint_encoder": joint_shapes(),
    }
    generator = torch.Generator().manual_seed(5)
    return {
        entry: {name: torch.randn(shape, generator=generator) * 0.1 for name, shape in shapes.items()}
        for entry, shapes in entries.items()
    }


def save_official(folder: Path, weights: dict[str, Weights]) -> Path:
    path = folder / "CROMA.pt"
    torch.save({**weights, "s1_GAP_FFN": {}, "s2_GAP_FFN": {}}, path)
    return path


class Reference:
    """One image at a time, one head at a time: plain matrix products on tokens [P, width]."""

    def __init__(self, weights: Weights, rows: int, columns: int) -> None:
        self.weights = weights
        self.places = list(itertools.product(range(rows), range(columns)))
        self.distance = torch.tensor(
            [[math.dist(one, other) for other in self.places] for one in self.places]
        )

    def norm(self, tokens: Tensor, name: str) -> Tensor:
        weight, bias = self.weights[f"{name}.weight"], self.weights[f"{name}.bias"]
        return functional.layer_norm(tokens, tokens.shape[-1:], weight, bias)

    def linear(self, tokens: Tensor, name: str) -> Tensor:
        return tokens @ self.weights[f"{name}.weight"].T + self.weights.get(f"{name}.bias", torch.zeros(1))

    def mix(self, queries: Tensor, keys: Tensor, values: Tensor, name: str) -> Tensor:
        mixed = []
        parts = zip(queries.chunk(HEADS, -1), keys.chunk(HEADS, -1), values.chunk(HEADS, -1), strict=True)
        for head, (query, key, value) in enumerate(parts):
            slope = 2 ** (-8 * (head + 1) / HEADS)
            scores = query @ key.T / math.sqrt(query.shape[-1]) - slope * self.distance
            mixed.append(scores.exp() / scores.exp().sum(-1, keepdim=True) @ value)
        return self.linear(torch.cat(mixed, dim=-1), f"{name}.to_out")

    def attend(self, tokens: Tensor, name: str) -> Tensor:
        normed = self.norm(tokens, f"{name}.input_norm")
        return self.mix(*self.linear(normed, f"{name}.to_qkv").chunk(3, -1), name)

    def look_at(self, tokens: Tensor, context: Tensor, name: str) -> Tensor:
        tokens, context = (self.norm(each, f"{name}.input_norm") for each in (tokens, context))
        inputs = ((tokens, "to_q"), (context, "to_k"), (context, "to_v"))
        return self.mix(*(self.linear(each, f"{name}.{part}") for each, part in inputs), name)

    def feed(self, tokens: Tensor, name: str) -> Tensor:
        hidden = self.linear(self.norm(tokens, f"{name}.input_norm"), f"{name}.net.0")
        hidden = hidden * 0.5 * (1 + torch.erf(hidden / math.sqrt(2)))
        return self.linear(hidden, f"{name}.net.3")

    def branch(self, image_CHW: Tensor) -> list[Tensor]:
        patches = [image_CHW[:, 8 * r : 8 * r + 8, 8 * c : 8 * c + 8].flatten() for r, c in self.places]
        tokens, outputs = self.linear(torch.stack(patches), "linear_input"), []
        for layer in range(DEPTH):
            tokens = tokens + self.attend(tokens, f"transformer.layers.{layer}.0")
            tokens = tokens + self.feed(tokens, f"transformer.layers.{layer}.1")
            outputs.append(tokens)
        return [*outputs[:-1], self.norm(outputs[-1], "transformer.norm_out")]

    def joint(self, tokens: Tensor, context: Tensor) -> list[Tensor]:
        outputs = []
        for layer in range(DEPTH):
            tokens = tokens + self.attend(tokens, f"layers.{layer}.0")
            tokens = tokens + self.look_at(tokens, context, f"layers.{layer}.1")
            tokens = tokens + self.feed(tokens, f"layers.{layer}.2")
            outputs.append(tokens)
        return [*outputs[:-1], self.norm(outputs[-1], "norm_out")]


def reference_features(name: CromaName, weights: dict[str, Weights], image_CHW: Tensor) -> list[Tensor]:
    """Every layer's tokens [P, width] of one image, the last ones normalised."""
    grid = (image_CHW.shape[1] // 8, image_CHW.shape[2] // 8)
    if name == "croma_optical":
        return Reference(weights["s2_encoder"], *grid).branch(image_CHW)
    if name == "croma_sar":
        return Reference(weights["s1_encoder"], *grid).branch(image_CHW)
    radar = Reference(weights["s1_encoder"], *grid).branch(image_CHW[12:])[-1]
    optical = Reference(weights["s2_encoder"], *grid).branch(image_CHW[:12])[-1]
    return Reference(weights["joint_encoder"], *grid).joint(radar, optical)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("height", "width"), [(40, 40), (16, 32)])
def test_features_of_a_published_file_equal_the_restatement(
    tmp_path: Path, name: CromaName, height: int, width: int
) -> None:
    weights = official_weights()
    path = save_official(tmp_path, weights)
    encoder = load_encoder(name, str(path), size="small", layers=ALL_LAYERS).eval()
    images_NCHW = torch.randn(2, len(encoder.bands), height, width)
    with torch.no_grad():
        features_NChw = encoder.forward_features(images_NCHW)
    assert [tuple(feature.shape) for feature in features_NChw] == [(2, WIDTH, height // 8, width // 8)] * 4
    for number, image_CHW in enumerate(images_NCHW):
        for feature, expected in zip(
            features_NChw, reference_features(name, weights, image_CHW), strict=True
        ):
            torch.testing.assert_close(feature[number].flatten(1).T, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_gradients_of_a_published_file_equal_those_of_the_restatement(
    tmp_path: Path, name: CromaName
) -> None:
    weights = official_weights()
    encoder = load_encoder(name, str(save_official(tmp_path, weights)), size="small")
    image_CHW, pull_PC = torch.randn(len(encoder.bands), 16, 24), torch.randn(6, WIDTH)
    for tensor in (tensor for entry in weights.values() for tensor in entry.values()):
        tensor.requires_grad_()
    (encoder.forward_features(image_CHW[None])[-1][0].flatten(1).T * pull_PC).sum().backward()
    (reference_features(name, weights, image_CHW)[-1] * pull_PC).sum().backward()
    entry = {"croma_optical": "s2_encoder.", "croma_sar": "s1_encoder.", "croma_joint": ""}[name]
    ours = {f"{entry}{key}": parameter.grad for key, parameter in encoder.named_parameters()}
    theirs = {
        f"{entry}.{key}": tensor.grad
        for entry, state in weights.items()
        for key, tensor in state.items()
        if tensor.grad is not None
    }
    assert ours.keys() == theirs.keys()
    for key, gradient in theirs.items():
        torch.testing.assert_close(ours[key], gradient, rtol=1e-4, atol=1e-4 * float(gradient.abs().max()))


@pytest.mark.parametrize("name", NAMES)
def test_images_of_a_batch_do_not_see_each_other(name: CromaName) -> None:
    encoder = load_encoder(name, "none", size="small").eval()
    images_NCHW = torch.randn(3, len(encoder.bands), 16, 16)
    with torch.no_grad():
        together = encoder.forward_features(images_NCHW)[-1][1]
        alone = encoder.forward_features(images_NCHW[1:2])[-1][0]
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-5)


def test_layers_behind_the_last_one_used_are_dropped_without_changing_the_features() -> None:
    torch.manual_seed(6)
    encoder = CromaOpticalEncoder(width=16, depth=5, heads=2, feature_layers=(0, 2)).eval()
    images_NCHW = torch.randn(1, 12, 16, 16)
    with torch.no_grad():
        before = encoder.forward_features(images_NCHW)
        encoder.drop_unused_layers()
        after = encoder.forward_features(images_NCHW)
    assert not any(
        name.startswith(("transformer.layers.3", "transformer.norm_out")) for name in encoder.state_dict()
    )
    assert len(after) == 2
    assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))


def test_joint_layers_behind_the_last_one_used_are_dropped_and_the_branches_kept_whole() -> None:
    torch.manual_seed(6)
    encoder = CromaJointEncoder(
        16, optical_depth=3, radar_depth=2, depth=4, heads=2, feature_layers=(1,)
    ).eval()
    images_NCHW = torch.randn(1, 14, 16, 16)
    with torch.no_grad():
        (before,) = encoder.forward_features(images_NCHW)
        encoder.drop_unused_layers()
        (after,) = encoder.forward_features(images_NCHW)
    kept = [encoder.s2_encoder.transformer, encoder.s1_encoder.transformer, encoder.joint_encoder]
    assert [len(part.layers) for part in kept] == [3, 2, 2]
    assert torch.equal(before, after)


def test_layers_of_two_branches_learn_side_by_side_by_their_distance_from_the_output() -> None:
    encoder = CromaJointEncoder(16, optical_depth=3, radar_depth=1, depth=2, heads=2, feature_layers=(1,))
    names = {id(parameter): name for name, parameter in encoder.named_parameters()}
    layers = [[names[id(parameter)] for parameter in layer] for layer in encoder.layers()]
    part = re.compile(r"s._encoder\.(transformer\.)?(layers\.\d|\w+)|joint_encoder\.(layers\.\d|\w+)")
    parts = [sorted({found[0] for name in layer if (found := part.match(name))}) for layer in layers]
    assert parts == [
        ["s2_encoder.linear_input"],
        ["s2_encoder.transformer.layers.0"],
        ["s1_encoder.linear_input", "s2_encoder.transformer.layers.1"],
        ["s1_encoder.transformer.layers.0", "s2_encoder.transformer.layers.2"],
        ["s1_encoder.transformer.norm_out", "s2_encoder.transformer.norm_out"],
        ["joint_encoder.layers.0"],
        ["joint_encoder.layers.1"],
        ["joint_encoder.norm_out"],
    ]
    assert sorted(itertools.chain(*layers)) == sorted(names.values())


@pytest.mark.parametrize(
    ("size", "depths"), [("base", (12, 6, 6)), ("large", (24, 12, 12))], ids=["base", "large"]
)
def test_radar_and_joint_transformers_are_half_as_deep(size: CromaSize, depths: tuple[int, ...]) -> None:
    tuning = {"mode": "frozen", "weights": "official"}
    settings = [Croma.model_validate({"name": name, "size": size, "tuning": tuning}) for name in NAMES]
    assert tuple(each.depth for each in settings) == depths


def test_sixteen_heads_have_the_slopes_of_alibi() -> None:
    bias_aPP = distance_bias(16, height=3, width=4, device=torch.device("cpu"))
    assert bias_aPP.shape == (16, 12, 12)
    slopes = [2 ** (-(head + 1) / 2) for head in range(16)]
    torch.testing.assert_close(bias_aPP[:, 0, 1], -torch.tensor(slopes))  # one patch to the right
    torch.testing.assert_close(bias_aPP[:, 0, 11], -torch.tensor(slopes) * math.hypot(2, 3))


def test_missing_bands_are_stood_in_by_the_nearest_in_wavelength() -> None:
    given = torch.arange(10.0).view(1, 10, 1, 1)
    adapter = BandAdapter(CromaOpticalEncoder.bands, S2_BANDS, CromaOpticalEncoder.fill)
    taken = adapter(given).flatten().int().tolist()
    expected = ["B2", "B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B8A", "B11", "B12"]
    assert [S2_BANDS[index] for index in taken] == expected


def test_radar_follows_the_optical_bands_of_the_joint_encoder() -> None:
    given = torch.arange(12.0).view(1, 12, 1, 1)
    adapter = BandAdapter(CromaJointEncoder.bands, (*S2_BANDS, *S1_BANDS), CromaJointEncoder.fill)
    assert adapter(given).flatten().int().tolist()[10:] == [8, 9, 10, 11]  # B11, B12, VV, VH


def test_statistics_of_pretraining_are_in_the_units_of_the_samples() -> None:
    """SSL4EO-S12 states VV at -12.55 dB with a deviation of 5.26 dB, and B8 at 2517.76."""
    statistics = load_encoder("croma_joint", "none", size="small").statistics_of((*S2_BANDS, *S1_BANDS))
    assert statistics is not None
    assert (statistics.mean[6], *statistics.mean[10:]) == pytest.approx((2517.76, -1255, -2019), abs=1)
    assert statistics.std[10:] == pytest.approx((526, 591), abs=1)


def test_a_file_that_does_not_fit_is_refused_with_every_name(tmp_path: Path) -> None:
    weights = official_weights()
    optical = weights["s2_encoder"]
    del optical["linear_input.bias"]
    optical["transformer.extra"] = torch.zeros(1)
    optical["transformer.norm_out.weight"] = torch.zeros(7)
    path = save_official(tmp_path, weights)
    with pytest.raises(WeightsError, match="3 entries") as refusal:
        load_encoder("croma_optical", str(path), size="small")
    for part in ("missing: linear_input.bias", "unexpected: transformer.extra", "shape [128], got [7]"):
        assert part in str(refusal.value)


@pytest.mark.parametrize("entry", ["s1_encoder", "s2_encoder", "joint_encoder"])
def test_every_part_of_the_joint_encoder_is_loaded_strictly(tmp_path: Path, entry: str) -> None:
    weights = official_weights()
    weights[entry]["extra"] = torch.zeros(1)
    path = save_official(tmp_path, weights)
    with pytest.raises(WeightsError, match=rf"(?s)\({entry}, size small\).*1 entries.*unexpected: extra"):
        load_encoder("croma_joint", str(path), size="small")


def test_a_file_of_something_else_is_refused_with_what_it_holds(tmp_path: Path) -> None:
    torch.save({"state_dict": {}}, tmp_path / "other.pt")
    with pytest.raises(WeightsError, match=r"s2_encoder; got state_dict"):
        load_encoder("croma_optical", "other.pt", size="small", weights_folder=tmp_path)


def test_standardised_bands_are_scaled_as_the_authors_normalise_raw_ones() -> None:
    """From CROMA's README: (x - (mean - 2 std)) / (4 std), cut to 0 and 1."""
    mean, std = 1200.0, 400.0
    raw = torch.tensor([-5000.0, 300.0, 400.0, 1200.0, 1777.0, 2000.0, 9000.0])
    theirs = ((raw - (mean - 2 * std)) / (4 * std)).clamp(0, 1)
    assert torch.allclose(CromaOpticalEncoder(16, 4, 2, (3,)).scaled((raw - mean) / std), theirs, atol=1e-6)
