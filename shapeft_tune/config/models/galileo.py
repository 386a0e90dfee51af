"""Settings of Galileo (Tseng et al., 2025); see ``models/galileo.py``."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from shapeft_tune.config.decoding import Decoder, UperNetDecoder
from shapeft_tune.config.models.base import Layers, ModelSettings

GalileoSize = Literal["nano", "tiny", "base"]
GALILEO_DEPTH: dict[GalileoSize, int] = {"nano": 4, "tiny": 12, "base": 12}
"""Transformer layers of each size."""


class Galileo(ModelSettings):
    """A transformer over space, time and groups of bands, which fuses the dates itself."""

    has_pretraining_statistics: ClassVar[bool] = True

    name: Literal["galileo"] = "galileo"
    size: GalileoSize = "base"
    patch: int = Field(8, ge=1, le=8)
    """Pixels along one side of a token; smaller is finer, and costs with the inverse fourth power of it."""
    layers: Layers | None = None
    """Layers, counted from 0, whose outputs the decoder sees; by default four, spread over the depth."""
    decoder: Decoder = UperNetDecoder()
