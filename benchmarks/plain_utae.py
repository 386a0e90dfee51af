"""U-TAE as one would first write it down from the paper: the yardstick that the fast one is measured against.

Source: Garnot and Landrieu, "Panoptic Segmentation of Satellite Image Time Series with Convolutional
Temporal Attention Networks", 2021 (arXiv:2107.07933). Written from the equations, with plain modules: the
dates folded into the batch, the reflect padding of ``nn.Conv2d``, L-TAE on a copy with every pixel as a
series of vectors and with explicit keys, one mask for each scale and head. It has no padding of dates and
takes the weights of :class:`shapeft_tune.models.utae.UtaeSegmenter`, so that both can be compared number by
number.

Shape suffixes: B batch, T dates, N = B * T frames, C channels, h heads, k key channels, H W pixels,
P = B * H * W of the coarsest level, K classes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from shapeft_tune.config.bands import S2_BANDS
from shapeft_tune.config.models import Utae

Norm = Callable[[int], nn.Module]


class PlainUtae(nn.Module):
    """U-TAE without any care for speed."""

    def __init__(self, config: Utae, num_classes: int) -> None:
        super().__init__()
        encoder, decoder = config.encoder_widths, config.decoder_widths
        self.stem = nn.Sequential(
            *conv_layer(len(S2_BANDS), encoder[0], group_norm),
            *conv_layer(encoder[0], encoder[0], group_norm),
        )
        self.downs = nn.ModuleList(PlainDown(fine, coarse) for fine, coarse in pairwise(encoder))
        self.temporal = PlainLtae(encoder[-1], config.width, config.heads, config.key_size, config.dropout)
        self.ups = nn.ModuleList(
            PlainUp(decoder[level], encoder[level - 1], decoder[level - 1])
            for level in range(len(decoder) - 1, 0, -1)
        )
        self.head = nn.Sequential(
            *conv_layer(decoder[0], 32, nn.BatchNorm2d), *conv_layer(32, num_classes, nn.BatchNorm2d)
        )

    def forward(self, images_BTCHW: Tensor, days_BT: Tensor) -> Tensor:
        """Return the logits [B, K, H, W] of series without padding."""
        batch, dates = days_BT.shape
        maps_BTCHW = []
        current_NCHW = self.stem(images_BTCHW.flatten(0, 1))
        maps_BTCHW.append(current_NCHW.unflatten(0, (batch, dates)))
        for down in self.downs:
            current_NCHW = down(current_NCHW)
            maps_BTCHW.append(current_NCHW.unflatten(0, (batch, dates)))
        fused_BCHW, attention_hBTHW = self.temporal(maps_BTCHW.pop(), days_BT)
        for up in self.ups:
            fused_BCHW = up(fused_BCHW, masked_mean(maps_BTCHW.pop(), attention_hBTHW))
        return self.head(fused_BCHW)  # type: ignore[no-any-return]

    def copy_weights(self, state: Mapping[str, Tensor]) -> None:
        """Take over the weights of the fast U-TAE; the keys' bias, which that one lacks, becomes 0."""
        names = [name for name in state if not name.startswith("temporal.")]
        own = {_plain_name(name): state[name] for name in names}
        own |= {f"temporal.{name}": value for name, value in self.temporal.from_fast(state).items()}
        self.load_state_dict(own)


class PlainDown(nn.Module):
    """Strided convolution, convolution, residual convolution."""

    def __init__(self, fine: int, coarse: int) -> None:
        super().__init__()
        self.shrink = nn.Sequential(*conv_layer(fine, fine, group_norm, kernel_size=4, stride=2))
        self.widen = nn.Sequential(*conv_layer(fine, coarse, group_norm))
        self.refine = nn.Sequential(*conv_layer(coarse, coarse, group_norm))

    def forward(self, maps_NCHW: Tensor) -> Tensor:
        """Map [N, fine, H, W] to [N, coarse, H / 2, W / 2]."""
        widened = self.widen(self.shrink(maps_NCHW))
        return widened + self.refine(widened)  # type: ignore[no-any-return]


class PlainUp(nn.Module):
    """Transposed convolution, joined with the skip map, and two convolutions."""

    def __init__(self, coarse: int, skip: int, fine: int) -> None:
        super().__init__()
        self.skip = nn.Sequential(nn.Conv2d(skip, skip, 1), nn.BatchNorm2d(skip), nn.ReLU())
        self.enlarge = nn.Sequential(
            nn.ConvTranspose2d(coarse, fine, 4, stride=2, padding=1), nn.BatchNorm2d(fine), nn.ReLU()
        )
        self.join = nn.Sequential(*conv_layer(fine + skip, fine, nn.BatchNorm2d))
        self.refine = nn.Sequential(*conv_layer(fine, fine, nn.BatchNorm2d))

    def forward(self, coarse_BCHW: Tensor, skip_BCHW: Tensor) -> Tensor:
        """Map [B, coarse, H / 2, W / 2] and [B, skip, H, W] to [B, fine, H, W]."""
        joined = self.join(torch.cat([self.enlarge(coarse_BCHW), self.skip(skip_BCHW)], dim=1))
        return joined + self.refine(joined)  # type: ignore[no-any-return]


class PlainLtae(nn.Module):
    """Temporal attention with a learned query for each head, on every pixel as a series of vectors."""

    def __init__(self, channels: int, width: int, heads: int, key_size: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.width, self.key_size = heads, width, key_size
        self.in_norm = nn.GroupNorm(heads, channels)
        self.in_project = nn.Linear(channels, width)
        self.query_hk = nn.Parameter(torch.randn(heads, key_size))
        self.keys = nn.Linear(width, heads * key_size)
        self.attention_dropout = nn.Dropout(0.1)
        self.mlp = nn.Sequential(nn.Linear(width, channels), nn.BatchNorm1d(channels), nn.ReLU())
        self.dropout = nn.Dropout(dropout)
        self.out_norm = nn.GroupNorm(heads, channels)

    def forward(self, maps_BTCHW: Tensor, days_BT: Tensor) -> tuple[Tensor, Tensor]:
        """Return the fused map [B, C, H, W] and the attention [h, B, T, H, W]."""
        batch, dates, channels, height, width = maps_BTCHW.shape
        series_PTC = maps_BTCHW.permute(0, 3, 4, 1, 2).reshape(-1, dates, channels)
        normed_PTC = self.in_norm(series_PTC.transpose(1, 2)).transpose(1, 2)
        values_PTC = self.in_project(normed_PTC)
        encoding_BTC = self.encode_days(days_BT)
        values_PTC = values_PTC + encoding_BTC.repeat_interleave(height * width, dim=0)
        keys_PThk = self.keys(values_PTC).view(-1, dates, self.heads, self.key_size)
        scores_hPT = torch.einsum("pthk,hk->hpt", keys_PThk, self.query_hk) / math.sqrt(self.key_size)
        attention_hPT = self.attention_dropout(scores_hPT.softmax(dim=-1))
        parts = values_PTC.chunk(self.heads, dim=-1)
        outputs = [(weight[:, None] @ part)[:, 0] for weight, part in zip(attention_hPT, parts, strict=True)]
        fused_PC = self.out_norm(self.dropout(self.mlp(torch.cat(outputs, dim=-1))))
        fused_BCHW = fused_PC.view(batch, height, width, channels).permute(0, 3, 1, 2)
        attention_hBHWT = attention_hPT.view(self.heads, batch, height, width, dates)
        return fused_BCHW, attention_hBHWT.permute(0, 1, 4, 2, 3)

    def encode_days(self, days_BT: Tensor) -> Tensor:
        """Return sines and cosines in turn, the same for every head: [B, T, C]."""
        share = self.width // self.heads
        channel_C = torch.arange(share, device=days_BT.device)
        angle_BTC = days_BT[..., None] / 1000.0 ** (2 * (channel_C // 2) / share)
        encoding_BTC = torch.where(channel_C % 2 == 0, angle_BTC.sin(), angle_BTC.cos())
        return torch.cat([encoding_BTC] * self.heads, dim=-1)

    def from_fast(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return this module's state from that of the fast U-TAE."""
        own = {name: value for name, value in self.state_dict().items() if name.startswith("keys.")}
        for name, value in state.items():
            if name.startswith("temporal."):
                own[name.removeprefix("temporal.")] = value
        own["keys.weight"] = own.pop("key_weight_hkC").flatten(0, 1)
        own["keys.bias"] = torch.zeros_like(own["keys.bias"])
        for name in ("in_project.weight", "mlp.0.weight"):
            own[name] = own[name].flatten(1)
        return own


def conv_layer(
    in_channels: int, out_channels: int, norm: Norm, kernel_size: int = 3, stride: int = 1
) -> list[nn.Module]:
    """Return a convolution with reflect padding, its normalisation and ReLU."""
    convolution = nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding=1, padding_mode="reflect")
    return [convolution, norm(out_channels), nn.ReLU()]


def group_norm(channels: int) -> nn.Module:
    """Return the encoder's normalisation."""
    return nn.GroupNorm(4, channels)


def masked_mean(maps_BTCHW: Tensor, attention_hBTHW: Tensor) -> Tensor:
    """Return the dates' sum [B, C, H, W], each head's enlarged attention on its own run of channels."""
    heads = len(attention_hBTHW)
    groups = []
    for attention_BTHW, group_BTCHW in zip(attention_hBTHW, maps_BTCHW.chunk(heads, dim=2), strict=True):
        mask_BTHW = functional.interpolate(attention_BTHW, maps_BTCHW.shape[-2:], mode="bilinear")
        groups.append((mask_BTHW[:, :, None] * group_BTCHW).sum(dim=1))
    return torch.cat(groups, dim=1)


def _plain_name(name: str) -> str:
    """Return this file's name of an entry of the fast U-TAE: its pairs of convolutions are one run here."""
    head, *rest = name.removeprefix("encoder.").split(".")
    if head in ("stem", "head"):
        layer, part, entry = rest
        return f"{head}.{3 * int(layer) + int(part)}.{entry}"
    return ".".join([head, *rest])
