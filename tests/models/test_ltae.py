"""Temporal attention against its equations."""

from __future__ import annotations

import pytest
import torch

from shapeft_tune.models.ltae import LightweightTemporalAttention, encode_days, weighted_sum
from tests.models.reference_ltae import reference_ltae
from tests.models.small_models import randomise

HEADS = 4


def make_attention(dates: bool = True) -> LightweightTemporalAttention:
    torch.manual_seed(1)
    attention = LightweightTemporalAttention(
        8, 12, heads=HEADS, key_size=3, width=16, dropout=0.2, dates=dates
    ).eval()
    randomise(attention)
    return attention


@pytest.mark.parametrize("dates", [True, False])
@pytest.mark.parametrize("length", [1, 5])
def test_fused_map_and_attention_follow_the_equations(dates: bool, length: int) -> None:
    attention = make_attention(dates)
    maps_TCHW, days_T = torch.randn(length, 8, 3, 2), torch.randint(0, 400, (length,))
    with torch.no_grad():
        fused, weights = attention(maps_TCHW[None], days_T[None], torch.ones(1, length, dtype=torch.bool))
        expected_fused, expected_weights = reference_ltae(
            attention.state_dict(), maps_TCHW, days_T, HEADS, dates
        )
    torch.testing.assert_close(weights[0], expected_weights, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(fused[0], expected_fused, rtol=1e-4, atol=1e-5)


def test_each_series_of_a_padded_batch_follows_the_equations_on_its_valid_dates() -> None:
    attention = make_attention()
    maps_BTCHW, days_BT = torch.randn(2, 4, 8, 2, 2) * 5, torch.randint(0, 400, (2, 4))
    valid_BT = torch.tensor([[True, True, False, True], [False, True, True, False]])
    with torch.no_grad():
        fused, weights = attention(maps_BTCHW, days_BT, valid_BT)
        for series, valid_T in enumerate(valid_BT):
            expected, _ = reference_ltae(
                attention.state_dict(), maps_BTCHW[series, valid_T], days_BT[series, valid_T], HEADS, True
            )
            torch.testing.assert_close(fused[series], expected, rtol=1e-4, atol=1e-5)
    assert (weights[~valid_BT] == 0).all()


def test_attention_of_every_pixel_and_head_sums_to_one() -> None:
    valid_BT = torch.tensor([[True, False, True], [True, True, True]])
    with torch.no_grad():
        _, weights = make_attention()(torch.randn(2, 3, 8, 4, 4), torch.arange(6).view(2, 3), valid_BT)
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(2, HEADS, 4, 4))


def test_heads_weigh_their_own_run_of_channels() -> None:
    maps_BTCHW = torch.arange(1.0, 9.0).view(1, 2, 4, 1, 1)  # date 0: 1 2 3 4, date 1: 5 6 7 8
    attention_BThHW = torch.tensor([[[1.0, 0.25], [0.0, 0.75]]]).view(1, 2, 2, 1, 1)
    assert weighted_sum(maps_BTCHW, attention_BThHW).flatten().tolist() == [1.0, 2.0, 6.0, 7.0]


def test_days_are_told_apart_over_a_whole_season() -> None:
    codes = encode_days(torch.arange(400)[None], channels=16)[0]
    distances = torch.cdist(codes, codes) + torch.eye(400) * 1e9
    assert distances.min() > 0.05
