"""Series as one batch of frames and back, leaving padding out.

Shape suffixes: B batch, T dates, N valid frames of the whole batch, C channels, H W pixels.
"""

from __future__ import annotations

import torch
from torch import Tensor


class FrameFolding:
    """Fold a batch of series into its valid frames, and maps of those frames back into series.

    Only valid frames come out, so padding costs nothing and reaches no normalisation layer.
    """

    def __init__(self, valid_BT: Tensor) -> None:
        self.valid_BT = valid_BT
        self.unpadded = bool(valid_BT.all())  # the usual case: folding is then a view, not a copy

    def fold(self, images_BTCHW: Tensor) -> Tensor:
        """Return the valid frames [N, C, H, W]."""
        return images_BTCHW.flatten(0, 1) if self.unpadded else images_BTCHW[self.valid_BT]

    def unfold(self, maps_NCHW: Tensor) -> Tensor:
        """Return [B, T, C, H, W], zero where a date is padding."""
        if self.unpadded:
            return torch.unflatten(maps_NCHW, 0, self.valid_BT.shape)
        layout = torch.channels_last if maps_NCHW.stride(1) == 1 else torch.contiguous_format
        empty_NCHW = maps_NCHW.new_empty(self.valid_BT.numel(), *maps_NCHW.shape[1:])
        padded_NCHW = torch.zeros_like(empty_NCHW, memory_format=layout)
        filled_NCHW = torch.index_put(padded_NCHW, (self.valid_BT.flatten(),), maps_NCHW)
        return torch.unflatten(filled_NCHW, 0, self.valid_BT.shape)
