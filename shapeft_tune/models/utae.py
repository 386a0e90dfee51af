"""U-TAE: a U-Net over every date, whose bottleneck attends over time and masks every scale.

Source: Garnot and Landrieu, "Panoptic Segmentation of Satellite Image Time Series with Convolutional
Temporal Attention Networks", 2021 (arXiv:2107.07933), github.com/VSainteuf/utae-paps (MIT). Written anew;
same layers in the same order (attention mode ``att_group``, group norm in the encoder, batch norm in the
decoder, reflect padding), so the published checkpoints load. What differs:

- padding is told by a mask, and padded dates are neither encoded nor part of any statistic;
- weights start from PyTorch's defaults: the original's training script draws even the scales of the
  normalisation layers and all biases from a normal distribution;
- like the original, the last convolution is followed by batch norm and ReLU, so logits are not negative;
- the encoder, for the tuning modes, is what sees single images: the stem and the downward levels;
- on the CPU, maps are laid out channels-last, and padding stays in the precision of the maps
  (``benchmarks/README.md`` has the times).

Shape suffixes: B batch, T dates, N valid frames, C channels, h heads, H W pixels, K classes.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from shapeft_tune.config.bands import S2_BANDS
from shapeft_tune.config.models import Utae
from shapeft_tune.errors import DataError
from shapeft_tune.models.encoder import Encoder, MapShape, in_order
from shapeft_tune.models.frames import FrameFolding
from shapeft_tune.models.ltae import LightweightTemporalAttention, weighted_sum
from shapeft_tune.models.pieces import in_pieces
from shapeft_tune.models.segmenter import Segmenter
from shapeft_tune.models.tuning import TunedSegmenter
from shapeft_tune.models.utae_published import fill_from_published
from shapeft_tune.models.weights import resolve_weights

NORM_GROUPS = 4
"""Groups of every group norm in the encoder."""
HEAD_WIDTH = 32
"""Channels between the two convolutions of the head."""
FRAMES_AT_ONCE = 3
"""Encoded together on the CPU where no gradient needs the maps in between; few, so that memory is reused."""


class UtaeEncoder(Encoder):
    """The convolutions that every date goes through by itself."""

    bands = S2_BANDS

    def __init__(self, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.maps = tuple(MapShape(width, 2**level) for level, width in enumerate(widths))
        self.stem = nn.Sequential(
            _conv(len(S2_BANDS), widths[0], _group_norm), _conv(widths[0], widths[0], _group_norm)
        )
        self.downs = nn.ModuleList(Down(fine, coarse) for fine, coarse in pairwise(widths))

    def forward_features(self, images_NCHW: Tensor) -> list[Tensor]:
        """Return the maps of every level, finest first."""
        if torch.is_grad_enabled() or images_NCHW.device.type != "cpu":
            return self._levels(images_NCHW)
        parts = [self._levels(part_NCHW) for part_NCHW in torch.split(images_NCHW, FRAMES_AT_ONCE)]
        return [torch.cat(level) for level in zip(*parts, strict=True)]

    def _levels(self, images_NCHW: Tensor) -> list[Tensor]:
        maps_NCHW = [self.stem(_laid_out(images_NCHW))]
        for down in self.downs:
            maps_NCHW.append(down(maps_NCHW[-1]))
        return maps_NCHW

    def layers(self) -> list[list[nn.Parameter]]:
        """Return every parameter once, level by level."""
        return in_order(self.stem, *self.downs)


class UtaeSegmenter(TunedSegmenter):
    """U-TAE as a segmenter; trained from scratch, or tuned from a checkpoint of the whole network."""

    def __init__(self, config: Utae, num_classes: int) -> None:
        fine_to_coarse, decoder = config.encoder_widths, config.decoder_widths
        super().__init__(UtaeEncoder(fine_to_coarse), config.tuning)
        self.size_multiple = config.size_multiple
        self.temporal = LightweightTemporalAttention(
            fine_to_coarse[-1],
            fine_to_coarse[-1],
            heads=config.heads,
            key_size=config.key_size,
            width=config.width,
            dropout=config.dropout,
        )
        self.ups = nn.ModuleList(
            Up(decoder[level], fine_to_coarse[level - 1], decoder[level - 1])
            for level in range(len(decoder) - 1, 0, -1)
        )
        self.head = nn.Sequential(
            _conv(decoder[0], HEAD_WIDTH, nn.BatchNorm2d), _conv(HEAD_WIDTH, num_classes, nn.BatchNorm2d)
        )

    def forward(self, images_BTCHW: Tensor, days_BT: Tensor, valid_BT: Tensor) -> Tensor:
        """Return the logits [B, K, H, W]; see :class:`Segmenter`."""
        self._check_size(*images_BTCHW.shape[-2:])
        folding = FrameFolding(valid_BT)
        frames_NCHW = folding.fold(images_BTCHW)
        with self.encoding():
            *skips_NCHW, coarsest_NCHW = in_pieces(self.encoder.forward_features, self.pieces, frames_NCHW)
        fused_BCHW, attention_BThHW = self.temporal(folding.unfold(coarsest_NCHW), days_BT, valid_BT)
        for up, skip_NCHW in zip(self.ups, reversed(skips_NCHW), strict=True):
            skip_BTCHW = folding.unfold(skip_NCHW)
            fused_BCHW = up(fused_BCHW, weighted_sum(skip_BTCHW, _resize(attention_BThHW, skip_BTCHW)))
        return self.head(fused_BCHW)  # type: ignore[no-any-return]

    def most_pieces(self, patches: int, dates: int) -> int:
        """Return the number of frames: the encoder's group norms take each by itself."""
        return patches * dates

    def _check_size(self, height: int, width: int) -> None:
        multiple = self.size_multiple
        if height % multiple or width % multiple or min(height, width) < 2 * multiple:
            raise DataError(
                f"patches of {height} x {width} px do not fit this U-TAE: expected sides that are multiples"
                f" of {multiple} and at least {2 * multiple} px; use other patches or fewer encoder_widths"
            )


class Down(nn.Module):
    """Halve the resolution, then widen; the last convolution is residual."""

    def __init__(self, fine: int, coarse: int) -> None:
        super().__init__()
        self.shrink = _conv(fine, fine, _group_norm, kernel_size=4, stride=2)
        self.widen = _conv(fine, coarse, _group_norm)
        self.refine = _conv(coarse, coarse, _group_norm)

    def forward(self, maps_NCHW: Tensor) -> Tensor:
        """Map [N, fine, H, W] to [N, coarse, H / 2, W / 2]."""
        widened = self.widen(self.shrink(maps_NCHW))
        return widened + self.refine(widened)  # type: ignore[no-any-return]


class Up(nn.Module):
    """Double the resolution and join the map that skipped the levels below."""

    def __init__(self, coarse: int, skip: int, fine: int) -> None:
        super().__init__()
        self.skip = nn.Sequential(
            nn.Conv2d(skip, skip, kernel_size=1), nn.BatchNorm2d(skip), nn.ReLU(inplace=True)
        )
        self.enlarge = nn.Sequential(
            nn.ConvTranspose2d(coarse, fine, kernel_size=4, stride=2, padding=1),
            nn.BatchNorm2d(fine),
            nn.ReLU(inplace=True),
        )
        self.join = _conv(fine + skip, fine, nn.BatchNorm2d)
        self.refine = _conv(fine, fine, nn.BatchNorm2d)

    def forward(self, coarse_BCHW: Tensor, skip_BCHW: Tensor) -> Tensor:
        """Map [B, coarse, H / 2, W / 2] and [B, skip, H, W] to [B, fine, H, W]."""
        joined = self.join(torch.cat([self.enlarge(coarse_BCHW), self.skip(skip_BCHW)], dim=1))
        return joined + self.refine(joined)  # type: ignore[no-any-return]


class ReflectConv2d(nn.Conv2d):
    """Convolution with reflect padding of one pixel."""

    def forward(self, maps_NCHW: Tensor) -> Tensor:
        """Map [N, in, H, W] to [N, out, H / stride, W / stride]."""
        # Autocast's rule on the CPU is to pad in float32: two copies of the map, each twice as large.
        with torch.autocast(maps_NCHW.device.type, enabled=False):
            padded_NCHW = functional.pad(maps_NCHW, (1, 1, 1, 1), mode="reflect")
        return functional.conv2d(padded_NCHW, self.weight, self.bias, self.stride)


def _conv(
    in_channels: int,
    out_channels: int,
    norm: Callable[[int], nn.Module],
    kernel_size: int = 3,
    stride: int = 1,
) -> nn.Sequential:
    """Convolution, normalisation, ReLU."""
    convolution = ReflectConv2d(in_channels, out_channels, kernel_size, stride)
    return nn.Sequential(convolution, norm(out_channels), nn.ReLU(inplace=True))


def _group_norm(channels: int) -> nn.Module:
    return nn.GroupNorm(NORM_GROUPS, channels)


def _laid_out(images_NCHW: Tensor) -> Tensor:
    """Return the images in the memory layout that every later map then keeps."""
    on_cpu = images_NCHW.device.type == "cpu"  # CUDA's group norm would copy every map back
    return images_NCHW.contiguous(memory_format=torch.channels_last if on_cpu else torch.contiguous_format)


def _resize(attention_BThHW: Tensor, like_BTCHW: Tensor) -> Tensor:
    """Bring the bottleneck's attention to the resolution of a skip map, and to its memory layout."""
    layout = torch.channels_last if like_BTCHW.stride(2) == 1 else torch.contiguous_format
    resized = functional.interpolate(
        attention_BThHW.flatten(0, 1).contiguous(memory_format=layout),
        like_BTCHW.shape[-2:],
        mode="bilinear",
        align_corners=False,
    )
    return torch.unflatten(resized, 0, attention_BThHW.shape[:2])


def build(config: Utae, num_classes: int, weights_folder: Path | None) -> Segmenter:
    """Return the segmenter that these settings describe.

    ``tuning.weights`` is ``none`` or a file of utae-paps, with as many outputs as ``num_classes``, or one
    more: the last is then void, which is never a target, and is left out. Raises WeightsError where the file
    is missing or does not fit.
    """
    model = UtaeSegmenter(config, num_classes)
    path = resolve_weights(config.tuning.weights, None, weights_folder)
    if path:
        fill_from_published(model, config, path, num_classes)
    return model
