"""Settings of the vision transformers of SSL4EO-S12 (Wang et al., 2023); see ``models/ssl4eo.py``."""

from __future__ import annotations

from typing import ClassVar, Literal

from shapeft_tune.config.models.base import TransformerSettings

SSL4EO_PATCH = 16
"""Pixels along one side of a token."""


class Ssl4eo(TransformerSettings):
    """ViT-S/16 on all 13 bands of Sentinel-2, on every date."""

    has_pretraining_statistics: ClassVar[bool] = True

    name: Literal["ssl4eo_vit"] = "ssl4eo_vit"
    pretraining: Literal["dino", "moco", "mae", "data2vec"] = "dino"
    """By which method; decides what ``weights: official`` is."""

    @property
    def depth(self) -> int:
        """How many layers the transformer has."""
        return 12

    @property
    def width(self) -> int:
        """How many channels its maps have."""
        return 384

    @property
    def size_multiple(self) -> int:
        """The side of what the network sees must be a multiple of this many pixels."""
        return SSL4EO_PATCH
