"""What a pretrained network has to offer so that it can be tuned in every way and decoded by any decoder.

Shape suffixes: B batch, T dates, N frames, C channels, H W pixels, h w feature cells.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from shapeft_tune.config.bands import BandStatistics


@dataclass(frozen=True)
class MapShape:
    """One of an encoder's feature maps."""

    channels: int
    stride: int
    """Pixels of the input along one side of a cell."""


class Encoder(nn.Module, ABC):
    """A network from images to feature maps."""

    bands: ClassVar[tuple[str, ...]]
    """What it was pretrained on, in its order."""
    fill: ClassVar[Mapping[str, str]] = {}
    """For each of these bands that PASTIS lacks: the band that stands in for it, or ``bands.ZERO``."""
    pretraining: ClassVar[Mapping[str, tuple[float, float]]] = {}
    """Mean and deviation of each band in the data of its pretraining; reflectance x 10000, decibel x 100."""
    update_targets: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    """Names of the linear modules of ``attention`` and ``mlp``, or ends of them; LoRA updates those."""

    maps: tuple[MapShape, ...]
    """What comes out, shallowest first."""

    def statistics_of(self, bands: tuple[str, ...]) -> BandStatistics | None:
        """Return the statistics that it was pretrained with; None where there are none of some band."""
        if any(band not in self.pretraining for band in bands):
            return None
        mean, std = zip(*(self.pretraining[band] for band in bands), strict=True)
        return BandStatistics(mean, std)

    def require_images(self, images_NCHW: Tensor, multiple: int) -> None:
        """Raise ValueError for images with other bands, or with sides that are no multiples."""
        bands, height, width = images_NCHW.shape[-3:]
        if bands != len(self.bands) or height % multiple or width % multiple:
            raise ValueError(
                f"expected images with the {len(self.bands)} bands {', '.join(self.bands)} and sides that are"
                f" multiples of {multiple} px; got {bands} bands of {height} x {width} px"
            )

    def scaled(self, standardised: Tensor) -> Tensor:
        """Return bands of mean 0 and deviation 1, channels anywhere, as it was pretrained on them."""
        return standardised

    @abstractmethod
    def forward_features(self, images_NCHW: Tensor) -> list[Tensor]:
        """Return the maps [N, channels, H / stride, W / stride] of single images, shallowest first.

        ``images_NCHW``: the bands of ``bands`` in their order, scaled as in pretraining.
        """

    @abstractmethod
    def layers(self) -> list[list[nn.Parameter]]:
        """Return every parameter once, from those next to the input to those next to the output."""


class SeriesEncoder(Encoder):
    """An encoder that takes a whole series and fuses its dates itself."""

    @abstractmethod
    def forward_series(self, images_BTCHW: Tensor, days_BT: Tensor, valid_BT: Tensor) -> list[Tensor]:
        """Return the maps [B, channels, H / stride, W / stride] of whole series, shallowest first.

        ``images_BTCHW``: as in ``forward_features``. Days and mask as in :class:`Segmenter`.
        """


def in_order(*modules: nn.Module) -> list[list[nn.Parameter]]:
    """Return the parameters of each module that has any; for ``Encoder.layers``."""
    return [parameters for module in modules if (parameters := list(module.parameters()))]
