"""A pretrained encoder made into a segmenter: dates encoded and fused, one map decoded.

Fusion comes before the decoder, map by map, so the decoder runs once per patch and not once per date.

Shape suffixes: B batch, T dates, N valid frames, C channels, H W pixels, h w feature cells, K
classes.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from shapeft_tune.config.bands import BandStatistics, bands_of
from shapeft_tune.config.decoding import Decoder
from shapeft_tune.config.models import FoundationSettings, ModelSettings
from shapeft_tune.models.bands import BandAdapter
from shapeft_tune.models.decoders import build_decoder, first_map_used
from shapeft_tune.models.encoder import Encoder, SeriesEncoder
from shapeft_tune.models.frames import FrameFolding
from shapeft_tune.models.fusion import build_fusion
from shapeft_tune.models.pieces import in_pieces, mixes_rows
from shapeft_tune.models.tuning import TunedSegmenter


class FoundationSegmenter(TunedSegmenter):
    """An encoder, tuned as its settings say, and a decoder on its fused maps."""

    def __init__(self, encoder: Encoder, settings: ModelSettings, decoder: Decoder, num_classes: int) -> None:
        super().__init__(encoder, settings.tuning)
        self.given_bands = bands_of(settings.sensors)
        self.bands = BandAdapter(encoder.bands, self.given_bands, encoder.fill)
        self.first_map = first_map_used(decoder, encoder.maps)
        self.decoder = build_decoder(decoder, encoder.maps[self.first_map :], num_classes)

    def forward(self, images_BTCHW: Tensor, days_BT: Tensor, valid_BT: Tensor) -> Tensor:
        """Return the logits [B, K, H, W]; see :class:`Segmenter`."""
        height, width = images_BTCHW.shape[-2:]
        features = self.encode(images_BTCHW, days_BT, valid_BT)
        return self.decode(features, days_BT, valid_BT, (height, width))

    @abstractmethod
    def encode(self, images_BTCHW: Tensor, days_BT: Tensor, valid_BT: Tensor) -> list[Tensor]:
        """Return those of the encoder's maps that the decoder uses, as :meth:`decode` takes them."""

    @abstractmethod
    def fuse(self, features: Sequence[Tensor], days_BT: Tensor, valid_BT: Tensor) -> list[Tensor]:
        """Return one map [B, C, h, w] for each of the encoder's."""

    def decode(
        self, features: Sequence[Tensor], days_BT: Tensor, valid_BT: Tensor, size: tuple[int, int]
    ) -> Tensor:
        """Return the logits [B, K, *size] from what :meth:`encode` returned."""
        return self.decoder(self.fuse(features, days_BT, valid_BT), size)  # type: ignore[no-any-return]

    @property
    def pieces_now(self) -> int:
        """In how many pieces to encode: all at once where a batch norm is trained on them."""
        return 1 if self.pieces > 1 and mixes_rows(self.encoder) else self.pieces

    @property
    def pretraining_statistics(self) -> BandStatistics | None:
        """The statistics of the given bands in the encoder's pretraining."""
        return self.encoder.statistics_of(self.given_bands)


class FrameSegmenter(FoundationSegmenter):
    """An encoder of single images on every date, then fusion over time, map by map."""

    def __init__(self, encoder: Encoder, settings: FoundationSettings, num_classes: int) -> None:
        super().__init__(encoder, settings, settings.decoder, num_classes)
        self.fusions = nn.ModuleList(
            build_fusion(settings.temporal, shape.channels) for shape in encoder.maps[self.first_map :]
        )

    def encode(self, images_BTCHW: Tensor, days_BT: Tensor, valid_BT: Tensor) -> list[Tensor]:
        """Return the encoder's maps [B, T, C, h, w] of every date, zero where a date is padding."""
        folding = FrameFolding(valid_BT)
        with self.encoding():
            maps_NChw = in_pieces(self._encode_frames, self.pieces_now, folding.fold(images_BTCHW))
        return [folding.unfold(map_NChw) for map_NChw in maps_NChw]

    def most_pieces(self, patches: int, dates: int) -> int:
        """Return the number of frames; 1 where a batch norm of the encoder is trained on all of them."""
        return 1 if mixes_rows(self.encoder) else patches * dates

    def _encode_frames(self, frames_NCHW: Tensor) -> list[Tensor]:
        wanted_NCHW = self.bands(self.encoder.scaled(frames_NCHW))
        return self.encoder.forward_features(wanted_NCHW)[self.first_map :]

    def fuse(self, features: Sequence[Tensor], days_BT: Tensor, valid_BT: Tensor) -> list[Tensor]:
        """Return one map [B, C, h, w] for each of the encoder's."""
        pairs = zip(self.fusions, features, strict=True)
        return [fusion(feature_BTChw, days_BT, valid_BT) for fusion, feature_BTChw in pairs]


class SeriesSegmenter(FoundationSegmenter):
    """An encoder of whole series, which fuses the dates itself."""

    encoder: SeriesEncoder

    def encode(self, images_BTCHW: Tensor, days_BT: Tensor, valid_BT: Tensor) -> list[Tensor]:
        """Return the encoder's maps [B, C, h, w] of the series."""
        with self.encoding():
            return in_pieces(self._encode_series, self.pieces_now, images_BTCHW, days_BT, valid_BT)

    def most_pieces(self, patches: int, dates: int) -> int:
        """Return the number of patches; 1 where a batch norm of the encoder is trained on all of them."""
        return 1 if mixes_rows(self.encoder) else patches

    def _encode_series(self, images_BTCHW: Tensor, days_BT: Tensor, valid_BT: Tensor) -> list[Tensor]:
        frames_NCHW = self.bands(self.encoder.scaled(images_BTCHW.flatten(0, 1)))
        images_BTCHW = torch.unflatten(frames_NCHW, 0, valid_BT.shape)
        return self.encoder.forward_series(images_BTCHW, days_BT, valid_BT)[self.first_map :]

    def fuse(self, features: Sequence[Tensor], days_BT: Tensor, valid_BT: Tensor) -> list[Tensor]:
        """Return the maps, fused as they are."""
        return list(features)
