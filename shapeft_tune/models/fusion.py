"""From a map of every date to one map: attention, a learned weighting of the year, or the mean.

Shape suffixes: B batch, T dates, C channels, H W pixels.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from shapeft_tune.config.decoding import Fusion, LinearFusion, LtaeFusion, MeanFusion
from shapeft_tune.models.ltae import LightweightTemporalAttention

YEAR = 365.25
"""Days after which a time of the year comes again."""


def build_fusion(config: Fusion, channels: int) -> nn.Module:
    """Return a module from (maps_BTCHW, days_BT, valid_BT) to maps [B, C, H, W].

    Maps of padded dates may hold any finite numbers, their days anything.
    """
    match config:
        case LtaeFusion():
            return AttentionFusion(config, channels)
        case LinearFusion():
            return SeasonalMean(config.knots)
        case MeanFusion():
            return PlainMean()


class AttentionFusion(nn.Module):
    """L-TAE, of which only the fused map is used."""

    def __init__(self, config: LtaeFusion, channels: int) -> None:
        super().__init__()
        self.attention = LightweightTemporalAttention(
            channels,
            channels,
            heads=config.heads,
            key_size=config.key_size,
            width=config.width,
            dropout=config.dropout,
            dates=config.dates,
        )

    def forward(self, maps_BTCHW: Tensor, days_BT: Tensor, valid_BT: Tensor) -> Tensor:
        """Return the fused map [B, C, H, W]."""
        fused_BCHW: Tensor = self.attention(maps_BTCHW, days_BT, valid_BT)[0]
        return fused_BCHW


class PlainMean(nn.Module):
    """The mean over the valid dates."""

    def forward(self, maps_BTCHW: Tensor, days_BT: Tensor, valid_BT: Tensor) -> Tensor:
        """Return the fused map [B, C, H, W]."""
        return _weighted_mean(maps_BTCHW, valid_BT.to(maps_BTCHW.dtype), valid_BT)


class SeasonalMean(nn.Module):
    """A weighted sum over the valid dates by their number; weights lie between knots of the year.

    Benchmarks know a linear fusion with a weight for each position in the series. Positions mean other days
    in every patch; a weight for the time of the year means the same everywhere, and serves any number of
    dates.
    """

    def __init__(self, knots: int) -> None:
        super().__init__()
        self.weight_k = nn.Parameter(torch.ones(knots))

    def forward(self, maps_BTCHW: Tensor, days_BT: Tensor, valid_BT: Tensor) -> Tensor:
        """Return the fused map [B, C, H, W]."""
        knots = len(self.weight_k)
        place_BT = (days_BT / YEAR % 1.0) * knots
        before_BT = place_BT.floor().long() % knots
        share_BT = place_BT - place_BT.floor()
        weight_BT = torch.lerp(self.weight_k[before_BT], self.weight_k[(before_BT + 1) % knots], share_BT)
        return _weighted_mean(maps_BTCHW, (weight_BT * valid_BT).to(maps_BTCHW.dtype), valid_BT)


def _weighted_mean(maps_BTCHW: Tensor, weight_BT: Tensor, valid_BT: Tensor) -> Tensor:
    dates_B = valid_BT.sum(dim=1).clamp(min=1)
    summed_BCHW = torch.einsum("btchw,bt->bchw", maps_BTCHW, weight_BT)
    return summed_BCHW / dates_B[:, None, None, None].to(summed_BCHW.dtype)
