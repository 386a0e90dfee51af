"""The input policies: a network behind a resizing, or behind windows.

Shape suffixes: B batch, T dates, C bands, H W pixels, K classes.
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor
from torch.nn import functional

from shapeft_tune.config.bands import BandStatistics
from shapeft_tune.config.inputs import InputPolicy, Resize, Whole, Windows
from shapeft_tune.errors import DataError
from shapeft_tune.models.segmenter import ParameterGroup, Segmenter


def behind(policy: InputPolicy, network: Segmenter) -> Segmenter:
    """Return a segmenter that hands the network its patches as the policy says."""
    match policy:
        case Whole():
            return network
        case Resize(side=side):
            return ResizedSegmenter(network, side)
        case Windows(side=side):
            return WindowedSegmenter(network, side)


class WrappedSegmenter(Segmenter):
    """A network that sees its patches in another way; everything else is the network's own."""

    def __init__(self, network: Segmenter, side: int) -> None:
        super().__init__()
        self.network, self.side = network, side

    def parameter_groups(self) -> list[ParameterGroup]:
        """Return the network's."""
        return self.network.parameter_groups()

    def set_progress(self, share: float) -> None:
        """Tell the network."""
        self.network.set_progress(share)

    def most_pieces(self, patches: int, dates: int) -> int:
        """Return the network's."""
        return self.network.most_pieces(patches, dates)

    def set_pieces(self, count: int) -> None:
        """Tell the network."""
        super().set_pieces(count)
        self.network.set_pieces(count)

    @property
    def pretraining_statistics(self) -> BandStatistics | None:
        """The network's."""
        return self.network.pretraining_statistics


class ResizedSegmenter(WrappedSegmenter):
    """The network sees every patch at one size; its logits are brought back to the patch's."""

    def forward(self, images_BTCHW: Tensor, days_BT: Tensor, valid_BT: Tensor) -> Tensor:
        """Return the logits [B, K, H, W]; see :class:`Segmenter`."""
        *batch_dates, _, height, width = images_BTCHW.shape
        # Smoothed where it shrinks: fields finer than the new pixels would otherwise turn up as others.
        resized_NCHW = _bilinear(images_BTCHW.flatten(0, 1), (self.side, self.side), antialias=True)
        logits_BKHW = self.network(torch.unflatten(resized_NCHW, 0, batch_dates), days_BT, valid_BT)
        return _bilinear(logits_BKHW, (height, width))


class WindowedSegmenter(WrappedSegmenter):
    """At evaluation the network sees windows one after another; logits are averaged where they overlap.

    In training it sees what it is given: the batches are cropped to the window's side already.
    """

    def forward(self, images_BTCHW: Tensor, days_BT: Tensor, valid_BT: Tensor) -> Tensor:
        """Return the logits [B, K, H, W]; see :class:`Segmenter`."""
        if self.training:
            return self.network(images_BTCHW, days_BT, valid_BT)  # type: ignore[no-any-return]
        height, width = images_BTCHW.shape[-2:]
        total_BKHW = count_HW = images_BTCHW.new_zeros(height, width)
        for top, left in itertools.product(even_starts(height, self.side), even_starts(width, self.side)):
            window_BTChw = images_BTCHW[..., top : top + self.side, left : left + self.side]
            logits_BKhw = self.network(window_BTChw, days_BT, valid_BT).float()
            around = (left, width - left - self.side, top, height - top - self.side)
            total_BKHW = total_BKHW + functional.pad(logits_BKhw, around)
            count_HW = count_HW + functional.pad(torch.ones_like(logits_BKhw[0, 0]), around)
        return total_BKHW / count_HW


def even_starts(length: int, window: int) -> list[int]:
    """Return where as few windows as cover a length begin, evenly spaced, the last one at the end."""
    if window > length:
        raise DataError(f"input.side: expected at most the patch's {length} px; got windows of {window} px")
    steps = -(-(length - window) // window)  # rounded up
    return [round(step * (length - window) / max(steps, 1)) for step in range(steps + 1)]


def _bilinear(maps_NCHW: Tensor, size: tuple[int, int], antialias: bool = False) -> Tensor:
    return functional.interpolate(maps_NCHW, size, mode="bilinear", align_corners=False, antialias=antialias)
