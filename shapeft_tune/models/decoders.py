"""From fused feature maps to the logits of one class map.

Shape suffixes: B batch, C channels, h w cells, H W pixels, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from shapeft_tune.config.decoding import Decoder, LinearDecoder, UperNetDecoder
from shapeft_tune.models.encoder import MapShape
from shapeft_tune.models.upernet import UperNet


def build_decoder(config: Decoder, maps: tuple[MapShape, ...], num_classes: int) -> nn.Module:
    """Return a module from (maps_BChw, size) to logits [B, K, *size]."""
    match config:
        case UperNetDecoder():
            return UperNet(maps, config.channels, config.pool_sizes, config.dropout, num_classes)
        case LinearDecoder():
            return LinearHead(maps, config.dropout, num_classes)


def first_map_used(config: Decoder, maps: tuple[MapShape, ...]) -> int:
    """Return from which of an encoder's maps on, shallowest first, a decoder uses them."""
    last_alone = isinstance(config, LinearDecoder) and config.maps == "last"
    return len(maps) - 1 if last_alone else 0


class LinearHead(nn.Module):
    """Each cell's channels, normalised, through one linear layer; logits are enlarged bilinearly."""

    def __init__(self, maps: tuple[MapShape, ...], dropout: float, num_classes: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(shape.channels) for shape in maps)
        self.dropout = nn.Dropout(dropout)
        self.classify = nn.Conv2d(sum(shape.channels for shape in maps), num_classes, kernel_size=1)

    def forward(self, maps_BChw: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
        """Return the logits [B, K, *size]."""
        finest = maps_BChw[0].shape[-2:]
        normed_BChw = [
            norm(map_BChw.movedim(1, -1)).movedim(-1, 1)
            for norm, map_BChw in zip(self.norms, maps_BChw, strict=True)
        ]
        joined_BChw = torch.cat([_resized(map_BChw, finest) for map_BChw in normed_BChw], dim=1)
        return _resized(self.classify(self.dropout(joined_BChw)), size)


def _resized(maps_BChw: Tensor, size: tuple[int, ...]) -> Tensor:
    if maps_BChw.shape[-2:] == torch.Size(size):
        return maps_BChw
    return functional.interpolate(maps_BChw, size, mode="bilinear", align_corners=False)
