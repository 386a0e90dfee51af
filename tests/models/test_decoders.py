"""The decoders that a config may choose."""

from __future__ import annotations

from typing import Literal

import pytest
import torch
from torch.nn import functional

from shapeft_tune.config.decoding import LinearDecoder, UperNetDecoder
from shapeft_tune.config.tuning import FrozenTuning
from shapeft_tune.models import build_model
from shapeft_tune.models.decoders import LinearHead, build_decoder
from shapeft_tune.models.encoder import MapShape
from shapeft_tune.models.foundation import FrameSegmenter
from shapeft_tune.models.upernet import UperNet
from tests.models.small_models import make_series, randomise, small_croma

PYRAMID = (MapShape(6, 4), MapShape(10, 8), MapShape(4, 16))


def maps_of(height: int = 32, width: int = 48) -> list[torch.Tensor]:
    torch.manual_seed(1)
    return [
        torch.randn(2, shape.channels, height // shape.stride, width // shape.stride) for shape in PYRAMID
    ]


@pytest.mark.parametrize("first", [0, 2])
def test_a_linear_head_classifies_every_normalised_cell(first: int) -> None:
    """Against the same, cell by cell, from the equations."""
    head = build_decoder(LinearDecoder(), PYRAMID[first:], num_classes=3).eval()
    assert isinstance(head, LinearHead)
    randomise(head)
    used = maps_of()[first:]
    rows, columns = used[0].shape[-2:]
    cells = []
    for map_BChw, norm in zip(used, head.norms, strict=True):
        mean = map_BChw.mean(dim=1, keepdim=True)
        deviation = (map_BChw.var(dim=1, keepdim=True, unbiased=False) + 1e-5).sqrt()
        scale, shift = (value[:, None, None] for value in (norm.weight, norm.bias))
        normed = (map_BChw - mean) / deviation * scale + shift
        cells.append(functional.interpolate(normed, (rows, columns), mode="bilinear"))
    weight_KC = head.classify.weight[..., 0, 0]
    logits = torch.einsum("kc,bchw->bkhw", weight_KC, torch.cat(cells, dim=1))
    logits = logits + head.classify.bias[:, None, None]
    expected = functional.interpolate(logits, (32, 48), mode="bilinear")
    torch.testing.assert_close(head(used, (32, 48)), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("maps", "used"), [("last", 1), ("all", 4)])
def test_only_maps_that_the_decoder_uses_are_fused(maps: Literal["last", "all"], used: int) -> None:
    config = small_croma(FrozenTuning(weights="none")).model_copy(
        update={"decoder": LinearDecoder(maps=maps)}
    )
    model = build_model(config, num_classes=3)
    assert isinstance(model, FrameSegmenter)
    assert len(model.fusions) == used
    series = make_series(height=16, width=16)
    assert len(model.encode(series.images_BTCHW, series.days_BT, series.valid_BT)) == used


def test_upernet_is_built_as_the_config_says() -> None:
    decoder = build_decoder(UperNetDecoder(channels=16, pool_sizes=(1, 2)), PYRAMID, num_classes=3)
    assert isinstance(decoder, UperNet)
    assert len(decoder.pooling.branches) == 2
    assert decoder.classify.weight.shape == (3, 16, 1, 1)
    assert decoder(maps_of(), (32, 48)).shape == (2, 3, 32, 48)
