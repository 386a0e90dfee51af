"""The input policies: a network behind a resizing, or behind windows.

Shape suffixes: B batch, T dates, C bands, H W pixels, K classes.
"""

from __future__ import annotations

from collections.abc import Iterator

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

    @property
    def pretraining_statistics(self) -> BandStatistics | None:
        """The network's."""
        return self.network.pretraining_statistics


class ResizedSegmenter(WrappedSegmenter):
    """The network sees every patch at one size; its logits are brought back to the patch's."""

    def forward(self, images_BTCHW: Tensor, days_BT: Tensor, valid_BT: Tensor) -> Tensor:
        """Return the logits [B, K, H, W]; see :class:`Segmenter`."""
        *batch_dates, _, height, width = images_BTCHW.shape
        resized_NCHW = _bilinear(images_BTCHW.flatten(0, 1), (self.side, self.side))
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
        total_BKHW, count_HW = torch.zeros(()), images_BTCHW.new_zeros(height, width)
        for window in self._windows(height, width):
            logits_BKhw = self.network(images_BTCHW[(..., *window)], days_BT, valid_BT).float()
            if total_BKHW.ndim == 0:  # only now is the number of classes known
                total_BKHW = logits_BKhw.new_zeros(*logits_BKhw.shape[:2], height, width)
            total_BKHW[(..., *window)] += logits_BKhw
            count_HW[window] += 1
        return total_BKHW / count_HW

    def _windows(self, height: int, width: int) -> Iterator[tuple[slice, slice]]:
        for top in even_starts(height, self.side):
            for left in even_starts(width, self.side):
                yield slice(top, top + self.side), slice(left, left + self.side)


def even_starts(length: int, window: int) -> list[int]:
    """Return where as few windows as cover a length begin, evenly spaced, the last one at the end."""
    if window > length:
        raise DataError(f"input.side: expected at most the patch's {length} px; got windows of {window} px")
    steps = -(-(length - window) // window)  # rounded up
    return [round(step * (length - window) / max(steps, 1)) for step in range(steps + 1)]


def _bilinear(maps_NCHW: Tensor, size: tuple[int, int]) -> Tensor:
    return functional.interpolate(maps_NCHW, size, mode="bilinear", align_corners=False)
