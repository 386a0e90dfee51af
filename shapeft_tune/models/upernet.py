"""UPerNet: pyramid pooling and a feature pyramid over the maps of an encoder.

Source: Xiao et al., "Unified Perceptual Parsing for Scene Understanding", ECCV 2018 (arXiv:1807.10221). The
maps of a convolutional network are a pyramid already. A plain transformer's have one resolution; as usual
(BEiT, mmsegmentation) four of them are rescaled by 4, 2, 1 and 1/2 into one with transposed convolutions; of
more than four, the first ones by 4 as well. What differs:

- the lateral 1 x 1 convolution comes before the rescaling, not after it, so that the transposed convolutions
  run on the decoder's channels and not on the encoder's three to four times as many;
- group norm in place of batch norm: a pooled map of one cell has no batch statistics in a batch of one, and
  splitting a batch into micro-batches must not change the result.

Shape suffixes: B batch, C channels, h w cells, H W pixels, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import gcd

from torch import Tensor, cat, nn
from torch.nn import functional

from shapeft_tune.models.encoder import MapShape

MOST_DOUBLINGS = 2
"""A plain transformer's shallowest map gets this many times twice its resolution."""
NORM_GROUP = 16
"""Channels that are normalised together; 8 where 16 does not divide the decoder's channels."""


class UperNet(nn.Module):
    """An encoder's maps, shallowest first, to the logits of one class map."""

    def __init__(
        self,
        maps: tuple[MapShape, ...],
        channels: int,
        pool_sizes: tuple[int, ...],
        dropout: float,
        num_classes: int,
    ) -> None:
        super().__init__()
        *fine, deepest = maps
        self.plain = len(fine) > 0 and len({shape.stride for shape in maps}) == 1
        doublings = [
            min(MOST_DOUBLINGS, len(fine) - 1 - place) if self.plain else 0 for place in range(len(fine))
        ]
        self.laterals = nn.ModuleList(
            nn.Sequential(
                _conv(shape.channels, channels, kernel_size=1), *(_double(channels) for _ in range(times))
            )
            for shape, times in zip(fine, doublings, strict=True)
        )
        self.pooling = PyramidPooling(deepest.channels, channels, pool_sizes)
        self.smooth = nn.ModuleList(_conv(channels, channels) for _ in self.laterals)
        self.bottleneck = _conv(channels * (len(self.laterals) + 1), channels)
        self.dropout = nn.Dropout2d(dropout)
        self.classify = nn.Conv2d(channels, num_classes, kernel_size=1)

    def forward(self, maps_BChw: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
        """Return the logits [B, K, *size]."""
        *fine_BChw, deepest_BChw = maps_BChw
        if self.plain:  # rounded up, so that a map of a single cell still has a coarser level
            deepest_BChw = functional.max_pool2d(deepest_BChw, kernel_size=2, ceil_mode=True)
        coarsest_BChw = self.pooling(deepest_BChw)
        pyramid_BChw = [lateral(fine) for lateral, fine in zip(self.laterals, fine_BChw, strict=True)]
        pyramid_BChw.append(coarsest_BChw)
        for level in range(len(pyramid_BChw) - 2, -1, -1):
            pyramid_BChw[level] = pyramid_BChw[level] + _resize_like(
                pyramid_BChw[level + 1], pyramid_BChw[level]
            )
        smoothed_BChw = [
            *(smooth(level) for smooth, level in zip(self.smooth, pyramid_BChw[:-1], strict=True)),
            coarsest_BChw,
        ]
        joined_BChw = cat([_resize_like(level, smoothed_BChw[0]) for level in smoothed_BChw], dim=1)
        logits_BKhw = self.classify(self.dropout(self.bottleneck(joined_BChw)))
        return _resize(logits_BKhw, size)


class PyramidPooling(nn.Module):
    """Join a map with means of itself over coarse grids, so that every cell sees the whole patch."""

    def __init__(self, in_channels: int, channels: int, pool_sizes: tuple[int, ...]) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            nn.Sequential(nn.AdaptiveAvgPool2d(cells), _conv(in_channels, channels, kernel_size=1))
            for cells in pool_sizes
        )
        self.join = _conv(in_channels + channels * len(pool_sizes), channels)

    def forward(self, map_BChw: Tensor) -> Tensor:
        """Map [B, in_channels, h, w] to [B, channels, h, w]."""
        pooled_BChw = [_resize_like(branch(map_BChw), map_BChw) for branch in self.branches]
        return self.join(cat([map_BChw, *pooled_BChw], dim=1))  # type: ignore[no-any-return]


def _conv(in_channels: int, out_channels: int, kernel_size: int = 3) -> nn.Sequential:
    """Convolution that keeps the resolution, normalisation, ReLU."""
    convolution = nn.Conv2d(in_channels, out_channels, kernel_size, padding=kernel_size // 2, bias=False)
    return nn.Sequential(convolution, _norm(out_channels), nn.ReLU(inplace=True))


def _double(channels: int) -> nn.Sequential:
    """Transposed convolution to twice the resolution, normalisation, GELU."""
    return nn.Sequential(
        nn.ConvTranspose2d(channels, channels, kernel_size=2, stride=2), _norm(channels), nn.GELU()
    )


def _norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(channels // gcd(NORM_GROUP, channels), channels)


def _resize(maps_BChw: Tensor, size: tuple[int, int]) -> Tensor:
    return functional.interpolate(maps_BChw, size, mode="bilinear", align_corners=False)


def _resize_like(maps_BChw: Tensor, like_BChw: Tensor) -> Tensor:
    height, width = like_BChw.shape[-2:]
    return _resize(maps_BChw, (height, width))
