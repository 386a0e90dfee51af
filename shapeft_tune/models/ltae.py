"""L-TAE: lightweight temporal attention over the dates of a feature map, pixel by pixel.

Source: Garnot and Landrieu, "Lightweight Temporal Self-Attention for Classifying Satellite Image Time
Series", 2020 (arXiv:2007.00586), in the form of github.com/VSainteuf/utae-paps (MIT). Written anew. The
arithmetic without padding is the original's; what differs:

- padded dates take no part in the first normalisation (there they count as zeros);
- the query is a learned constant, so it is folded into the key projection: one score per head and date
  without keys in between. The keys' bias adds the same to every date, cancels in the softmax, and is gone;
- maps keep their layout, no [B*H*W, T, C] copy is made.

Shape suffixes: B batch, T dates, C channels, g groups, h heads, H W pixels.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

POSITION_BASE = 1000.0
"""Longest wavelength of the encoding of days, over 2 pi; in days."""
ATTENTION_DROPOUT = 0.1
"""On the attention itself, as in the original."""


class LightweightTemporalAttention(nn.Module):
    """Fuse the dates of a feature map into one map, each pixel and head with a weighting of its own."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        heads: int,
        key_size: int,
        width: int,
        dropout: float,
        dates: bool = True,
    ) -> None:
        """``heads`` divides ``in_channels``, ``out_channels`` and ``width``; ``dates=False`` ignores days."""
        super().__init__()
        self.heads, self.width, self.dates = heads, width, dates
        self.in_norm = PixelGroupNorm(heads, in_channels)
        self.in_project = nn.Conv2d(in_channels, width, kernel_size=1)
        self.query_hk = nn.Parameter(torch.empty(heads, key_size))
        self.key_weight_hkC = nn.Parameter(torch.empty(heads, key_size, width))
        self.mlp = nn.Sequential(
            nn.Conv2d(width, out_channels, kernel_size=1), nn.BatchNorm2d(out_channels), nn.ReLU(inplace=True)
        )
        self.dropout = nn.Dropout(dropout)
        self.out_norm = PixelGroupNorm(heads, out_channels)
        for weight in (self.query_hk, self.key_weight_hkC):
            nn.init.normal_(weight, std=math.sqrt(2.0 / key_size))

    def forward(self, maps_BTCHW: Tensor, days_BT: Tensor, valid_BT: Tensor) -> tuple[Tensor, Tensor]:
        """Return the fused map [B, C, H, W] and the attention [B, T, h, H, W], zero on padded dates.

        Padded dates may hold any finite numbers.
        """
        series = maps_BTCHW.shape[:2]
        normed_BTCHW = self.in_norm(maps_BTCHW, valid_BT)
        values_BTCHW = torch.unflatten(self.in_project(normed_BTCHW.flatten(0, 1)), 0, series)
        if self.dates:
            encoding_BTC = encode_days(days_BT, self.width // self.heads).repeat(1, 1, self.heads)
            values_BTCHW = values_BTCHW + encoding_BTC[..., None, None].to(values_BTCHW.dtype)
        attention_BThHW = self._attention(values_BTCHW, valid_BT)
        fused_BCHW = self.dropout(self.mlp(weighted_sum(values_BTCHW, attention_BThHW)))
        alone_B1 = valid_BT.new_ones(len(valid_BT), 1)
        return self.out_norm(fused_BCHW[:, None], alone_B1).squeeze(1), attention_BThHW

    def _attention(self, values_BTCHW: Tensor, valid_BT: Tensor) -> Tensor:
        key_size = self.query_hk.shape[1]
        score_weight_hC = torch.einsum("hk,hkc->hc", self.query_hk, self.key_weight_hkC) / math.sqrt(key_size)
        scores_NhHW = functional.conv2d(
            values_BTCHW.flatten(0, 1), score_weight_hC[:, :, None, None].to(values_BTCHW.dtype)
        )
        scores_BThHW = torch.unflatten(scores_NhHW, 0, valid_BT.shape)
        lowest = torch.finfo(scores_BThHW.dtype).min  # not -inf, which makes NaN of a series without dates
        attention_BThHW = scores_BThHW.masked_fill(~valid_BT[:, :, None, None, None], lowest).softmax(dim=1)
        return functional.dropout(attention_BThHW, ATTENTION_DROPOUT, self.training)


class PixelGroupNorm(nn.Module):
    """Group normalisation of each pixel's series: over the group's channels and the valid dates."""

    def __init__(self, groups: int, channels: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.groups, self.eps = groups, eps
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, maps_BTCHW: Tensor, valid_BT: Tensor) -> Tensor:
        """Return float32 maps of the same shape."""
        share_BT = valid_BT / valid_BT.sum(dim=1, keepdim=True).clamp(min=1)
        share_BT1111 = share_BT[:, :, None, None, None, None]
        grouped_BTgCHW = torch.unflatten(maps_BTCHW.float(), 2, (self.groups, -1))
        # Channels first, dates second: the mask then touches the small tensor only.
        mean = (grouped_BTgCHW.mean(dim=3, keepdim=True) * share_BT1111).sum(dim=1, keepdim=True)
        centred = grouped_BTgCHW - mean
        variance = (centred.square().mean(dim=3, keepdim=True) * share_BT1111).sum(dim=1, keepdim=True)
        normed_BTCHW = (centred * (variance + self.eps).rsqrt()).flatten(2, 3)
        return torch.addcmul(self.bias[:, None, None], normed_BTCHW, self.weight[:, None, None])


def weighted_sum(maps_BTCHW: Tensor, attention_BThHW: Tensor) -> Tensor:
    """Sum the dates, [B, C, H, W]: each head's attention weighs its own run of C / h channels."""
    # The softmax returns float32 under autocast; the maps, many times larger, are not to follow it.
    weight_BThHW = attention_BThHW.to(maps_BTCHW.dtype)
    if maps_BTCHW.is_cpu and maps_BTCHW.stride(2) == 1:
        return _weighted_sum_of_channels_last(maps_BTCHW, weight_BThHW)
    grouped_BThCHW = torch.unflatten(maps_BTCHW, 2, (attention_BThHW.shape[2], -1))
    return (grouped_BThCHW * weight_BThHW[:, :, :, None]).sum(dim=1).flatten(1, 2)


def _weighted_sum_of_channels_last(maps_BTCHW: Tensor, weight_BThHW: Tensor) -> Tensor:
    """Do the same for maps whose channels are next to each other in memory.

    Their innermost loop would be over the few channels of one head, ten times as slow as over all of them:
    so heads are repeated. Date by date, because that would be a second copy of all the maps.
    """
    share = maps_BTCHW.shape[2] // weight_BThHW.shape[2]
    dates = zip(
        maps_BTCHW.permute(1, 0, 3, 4, 2).unbind(), weight_BThHW.permute(1, 0, 3, 4, 2).unbind(), strict=True
    )
    total_BHWC = maps_BTCHW.new_zeros((), dtype=torch.float32)
    for map_BHWC, weight_BHWh in dates:
        total_BHWC = total_BHWC + map_BHWC * weight_BHWh.repeat_interleave(share, dim=-1)
    return total_BHWC.to(maps_BTCHW.dtype).permute(0, 3, 1, 2)


def encode_days(days_BT: Tensor, channels: int) -> Tensor:
    """Return sines (even channels) and cosines (odd) of the days, float32 [B, T, C]."""
    pair_C = torch.arange(channels, device=days_BT.device) // 2
    wavelength_C = POSITION_BASE ** (2.0 * pair_C / channels)
    angle_BTC = days_BT[..., None] / wavelength_C
    even_C = torch.arange(channels, device=days_BT.device) % 2 == 0
    return torch.where(even_C, angle_BTC.sin(), angle_BTC.cos())
