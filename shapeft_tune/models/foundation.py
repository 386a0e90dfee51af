"""A pretrained single-date encoder made into a segmenter: every date encoded, dates fused, one map decoded.

Fusion comes before the decoder, map by map, so the decoder runs once per patch and not once per date.

Shape suffixes: B batch, T dates, N valid frames, C channels, H W pixels, h w feature cells, K
classes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from shapeft_tune.config.model import FinetuneTuning, FrozenTuning, LtaeFusion, Tuning, UperNetDecoder
from shapeft_tune.models.bands import BandAdapter
from shapeft_tune.models.frames import FrameFolding
from shapeft_tune.models.ltae import LightweightTemporalAttention
from shapeft_tune.models.segmenter import ParameterGroup, Segmenter, trainable
from shapeft_tune.models.upernet import UperNet

FEATURE_MAPS = 4
"""How many maps of an encoder the decoder sees."""


class Encoder(nn.Module, ABC):
    """A network from single images to feature maps of one resolution."""

    patch: ClassVar[int]
    """Pixels along one side of a feature cell."""
    band_sources: ClassVar[tuple[str, ...]]
    """For each band the encoder expects, the PASTIS band that it is given."""
    width: int
    """Channels of every map."""

    @staticmethod
    @abstractmethod
    def scaled(standardised: Tensor) -> Tensor:
        """Return bands of mean 0 and deviation 1 as the encoder was pretrained on them."""

    @abstractmethod
    def forward_features(self, images_NCHW: Tensor) -> list[Tensor]:
        """Return the maps [N, width, H / patch, W / patch], shallowest first."""


class FoundationSegmenter(Segmenter):
    """An encoder on every date, L-TAE on each of its maps, UPerNet on the fused maps."""

    def __init__(
        self, encoder: Encoder, fusion: LtaeFusion, decoder: UperNetDecoder, tuning: Tuning, num_classes: int
    ) -> None:
        super().__init__()
        self.tuning = tuning
        self.bands = BandAdapter(encoder.band_sources)
        self.encoder = encoder.requires_grad_(not self.encoder_is_frozen)
        self.fusions = nn.ModuleList(
            LightweightTemporalAttention(
                encoder.width,
                encoder.width,
                heads=fusion.heads,
                key_size=fusion.key_size,
                width=fusion.width,
                dropout=fusion.dropout,
                dates=fusion.dates,
            )
            for _ in range(FEATURE_MAPS)
        )
        self.decoder = UperNet(
            encoder.width, decoder.channels, decoder.pool_sizes, decoder.dropout, num_classes
        )
        self.train(self.training)

    @property
    def encoder_is_frozen(self) -> bool:
        """Whether the encoder keeps its weights, so that no gradient is needed in it."""
        return isinstance(self.tuning, FrozenTuning)

    def forward(self, images_BTCHW: Tensor, days_BT: Tensor, valid_BT: Tensor) -> Tensor:
        """Return the logits [B, K, H, W]; see :class:`Segmenter`."""
        features_BTChw = self.encode(images_BTCHW, valid_BT)
        height, width = images_BTCHW.shape[-2:]
        return self.decode(features_BTChw, days_BT, valid_BT, (height, width))

    def encode(self, images_BTCHW: Tensor, valid_BT: Tensor) -> list[Tensor]:
        """Return the encoder's maps [B, T, C, h, w] of every date, zero where a date is padding."""
        folding = FrameFolding(valid_BT)
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.encoder_is_frozen):
            frames_NCHW = self.encoder.scaled(self.bands(folding.fold(images_BTCHW)))
            maps_NChw = self.encoder.forward_features(frames_NCHW)
        return [folding.unfold(map_NChw) for map_NChw in maps_NChw]

    def decode(
        self, features_BTChw: Sequence[Tensor], days_BT: Tensor, valid_BT: Tensor, size: tuple[int, int]
    ) -> Tensor:
        """Return the logits [B, K, *size] from what :meth:`encode` returned."""
        fused_BChw = [
            fusion(feature_BTChw, days_BT, valid_BT)[0]
            for fusion, feature_BTChw in zip(self.fusions, features_BTChw, strict=True)
        ]
        return self.decoder(fused_BChw, size)  # type: ignore[no-any-return]

    def train(self, mode: bool = True) -> FoundationSegmenter:
        """Set the mode of all parts; a frozen encoder stays in evaluation mode."""
        super().train(mode)
        if self.encoder_is_frozen:
            self.encoder.eval()
        return self

    def parameter_groups(self) -> list[ParameterGroup]:
        """Return the encoder's parameters, unless frozen, and those of fusion and decoder."""
        ratio = self.tuning.encoder_lr_ratio if isinstance(self.tuning, FinetuneTuning) else 1.0
        own = [*self.fusions.parameters(), *self.decoder.parameters()]
        groups = [
            ParameterGroup("encoder", trainable(self.encoder.parameters()), ratio),
            ParameterGroup("decoder", trainable(own), lr_ratio=1.0),
        ]
        return [group for group in groups if group.parameters]
