"""CROMA's encoder against an independent restatement, through a file in the published format."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from shapeft_tune.config.bands import S2_BANDS
from shapeft_tune.errors import WeightsError
from shapeft_tune.models import load_encoder
from shapeft_tune.models.bands import BandAdapter
from shapeft_tune.models.croma import CromaOpticalEncoder, distance_bias

WIDTH, DEPTH, HEADS = 128, 4, 4  # of size small
Weights = dict[str, Tensor]


def official_weights(width: int = WIDTH, depth: int = DEPTH) -> Weights:
    """Random weights under the names of the published files."""
    shapes: dict[str, tuple[int, ...]] = {
        "linear_input.weight": (width, 12 * 64),
        "linear_input.bias": (width,),
        "transformer.norm_out.weight": (width,),
        "transformer.norm_out.bias": (width,),
    }
    for layer in range(depth):
        shapes |= {
            f"transformer.layers.{layer}.0.to_qkv.weight": (3 * width, width),
            f"transformer.layers.{layer}.0.to_out.weight": (width, width),
            f"transformer.layers.{layer}.0.to_out.bias": (width,),
            f"transformer.layers.{layer}.0.input_norm.weight": (width,),
            f"transformer.layers.{layer}.0.input_norm.bias": (width,),
            f"transformer.layers.{layer}.1.net.0.weight": (4 * width, width),
            f"transformer.layers.{layer}.1.net.0.bias": (4 * width,),
            f"transformer.layers.{layer}.1.net.3.weight": (width, 4 * width),
            f"transformer.layers.{layer}.1.net.3.bias": (width,),
            f"transformer.layers.{layer}.1.input_norm.weight": (width,),
            f"transformer.layers.{layer}.1.input_norm.bias": (width,),
        }
    generator = torch.Generator().manual_seed(5)
    return {name: torch.randn(shape, generator=generator) * 0.1 for name, shape in shapes.items()}


def save_official(folder: Path, weights: Weights) -> Path:
    path = folder / "CROMA.pt"
    torch.save({"s1_encoder": {}, "s2_encoder": weights, "s2_GAP_FFN": {}, "joint_encoder": {}}, path)
    return path


def reference_features(weights: Weights, image_CHW: Tensor, heads: int) -> list[Tensor]:
    """Every layer's tokens [P, width] of one image, the last ones normalised: one head at a time."""
    rows, columns = image_CHW.shape[1] // 8, image_CHW.shape[2] // 8
    places = list(itertools.product(range(rows), range(columns)))
    patches = [image_CHW[:, 8 * r : 8 * r + 8, 8 * c : 8 * c + 8].flatten() for r, c in places]
    distance = torch.tensor([[math.dist(one, other) for other in places] for one in places])

    def norm(tokens: Tensor, name: str) -> Tensor:
        return functional.layer_norm(
            tokens, tokens.shape[-1:], weights[f"{name}.weight"], weights[f"{name}.bias"]
        )

    def linear(tokens: Tensor, name: str) -> Tensor:
        return tokens @ weights[f"{name}.weight"].T + weights.get(f"{name}.bias", torch.zeros(1))

    tokens = linear(torch.stack(patches), "linear_input")
    depth = len({name.split(".")[2] for name in weights if ".layers." in name})
    outputs = []
    for layer in range(depth):
        attend, feed = f"transformer.layers.{layer}.0", f"transformer.layers.{layer}.1"
        queries, keys, values = linear(norm(tokens, f"{attend}.input_norm"), f"{attend}.to_qkv").chunk(3, -1)
        mixed = []
        parts = zip(queries.chunk(heads, -1), keys.chunk(heads, -1), values.chunk(heads, -1), strict=True)
        for head, (query, key, value) in enumerate(parts):
            slope = 2 ** (-8 * (head + 1) / heads)
            scores = query @ key.T / math.sqrt(query.shape[-1]) - slope * distance
            mixed.append(scores.exp() / scores.exp().sum(-1, keepdim=True) @ value)
        tokens = tokens + linear(torch.cat(mixed, dim=-1), f"{attend}.to_out")
        hidden = linear(norm(tokens, f"{feed}.input_norm"), f"{feed}.net.0")
        hidden = hidden * 0.5 * (1 + torch.erf(hidden / math.sqrt(2)))
        tokens = tokens + linear(hidden, f"{feed}.net.3")
        outputs.append(tokens)
    return [*outputs[:-1], norm(outputs[-1], "transformer.norm_out")]


@pytest.mark.parametrize(("height", "width"), [(40, 40), (16, 32)])
def test_features_of_a_published_file_equal_the_restatement(tmp_path: Path, height: int, width: int) -> None:
    weights = official_weights()
    path = save_official(tmp_path, weights)
    encoder = load_encoder("croma_optical", str(path), size="small", layers=(0, 1, 2, 3)).eval()
    images_NCHW = torch.randn(2, 12, height, width)
    with torch.no_grad():
        features_NChw = encoder.forward_features(images_NCHW)
    assert [tuple(feature.shape) for feature in features_NChw] == [(2, WIDTH, height // 8, width // 8)] * 4
    for number, image_CHW in enumerate(images_NCHW):
        for feature, expected in zip(
            features_NChw, reference_features(weights, image_CHW, HEADS), strict=True
        ):
            torch.testing.assert_close(feature[number].flatten(1).T, expected, rtol=1e-4, atol=1e-5)


def test_images_of_a_batch_do_not_see_each_other(tmp_path: Path) -> None:
    encoder = load_encoder("croma_optical", "none", size="small").eval()
    images_NCHW = torch.randn(3, 12, 16, 16)
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


def test_a_file_that_does_not_fit_is_refused_with_every_name(tmp_path: Path) -> None:
    weights = official_weights()
    del weights["linear_input.bias"]
    weights["transformer.extra"] = torch.zeros(1)
    weights["transformer.norm_out.weight"] = torch.zeros(7)
    path = save_official(tmp_path, weights)
    with pytest.raises(WeightsError, match="3 entries") as refusal:
        load_encoder("croma_optical", str(path), size="small")
    for part in ("missing: linear_input.bias", "unexpected: transformer.extra", "shape [128], got [7]"):
        assert part in str(refusal.value)


def test_a_file_of_something_else_is_refused_with_what_it_holds(tmp_path: Path) -> None:
    torch.save({"state_dict": {}}, tmp_path / "other.pt")
    with pytest.raises(WeightsError, match=r"s2_encoder; got \['state_dict'\]"):
        load_encoder("croma_optical", "other.pt", size="small", weights_folder=tmp_path)


def test_standardised_bands_are_scaled_as_the_authors_normalise_raw_ones() -> None:
    """From CROMA's README: (x - (mean - 2 std)) / (4 std), cut to 0 and 1."""
    mean, std = 1200.0, 400.0
    raw = torch.tensor([-5000.0, 300.0, 400.0, 1200.0, 1777.0, 2000.0, 9000.0])
    theirs = ((raw - (mean - 2 * std)) / (4 * std)).clamp(0, 1)
    assert torch.allclose(CromaOpticalEncoder(16, 4, 2, (3,)).scaled((raw - mean) / std), theirs, atol=1e-6)
