"""From the bands that a series holds to those that an encoder was pretrained on."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from shapeft_tune.errors import UserError

ZERO = "zero"
"""In place of a stand-in: the band is 0 in the encoder's own input."""


class BandAdapter(nn.Module):
    """Hand an encoder its bands in its order.

    A band that the series lacks is filled as ``fill`` says: with another band, or with zeros. Raises
    UserError where ``fill`` says nothing: nothing is ever filled in silence.
    """

    index: Tensor

    def __init__(self, wanted: tuple[str, ...], given: tuple[str, ...], fill: Mapping[str, str]) -> None:
        super().__init__()
        sources = [band if band in given else fill.get(band, "nothing") for band in wanted]
        if lacking := [
            band for band, source in zip(wanted, sources, strict=True) if source not in (*given, ZERO)
        ]:
            raise UserError(
                f"expected a series with the bands {list(wanted)}; got {list(given)}, and nothing can stand"
                f" in for {lacking}"
            )
        self.zeros = ZERO in sources
        places = [len(given) if source == ZERO else given.index(source) for source in sources]
        self.register_buffer("index", torch.tensor(places), persistent=False)

    def forward(self, images_NCHW: Tensor) -> Tensor:
        """Map [N, given, H, W] to [N, wanted, H, W]."""
        if self.zeros:
            images_NCHW = functional.pad(images_NCHW, (0, 0, 0, 0, 0, 1))
        return images_NCHW.index_select(1, self.index)
