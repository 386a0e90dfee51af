"""Sentinel-2 bands: which ten come in, and what stands in for a band that an encoder wants besides."""

from __future__ import annotations

import torch
from torch import Tensor, nn

PASTIS_BANDS = ("B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B11", "B12")
"""The bands of every input, in order (PASTIS has no 60 m bands)."""


class BandAdapter(nn.Module):
    """Hand an encoder its bands, each taken from one of PASTIS's.

    ``sources`` names, for each band that the encoder expects, the PASTIS band to give it.
    """

    index: Tensor

    def __init__(self, sources: tuple[str, ...]) -> None:
        super().__init__()
        index = torch.tensor([PASTIS_BANDS.index(source) for source in sources])
        self.register_buffer("index", index, persistent=False)

    def forward(self, images_NCHW: Tensor) -> Tensor:
        """Map [N, 10, H, W] to [N, len(sources), H, W]."""
        return images_NCHW.index_select(1, self.index)
