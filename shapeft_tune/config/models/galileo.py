"""Settings of Galileo (Tseng et al., 2025); see ``models/galileo.py``."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from shapeft_tune.config.decoding import Decoder, UperNetDecoder
from shapeft_tune.config.models.base import LayeredSettings

GalileoSize = Literal["nano", "tiny", "base"]
GALILEO_DEPTH: dict[GalileoSize, int] = {"nano": 4, "tiny": 12, "base": 12}
"""Transformer layers of each size."""


class Galileo(LayeredSettings):
    """A transformer over space, time and groups of bands, which fuses the dates itself.

    Every patch of pixels has a token for each date and group of bands, and every token attends to all others:
    a series of T dates of 128 px is 256 x 6 x T tokens at ``patch: 8`` (9216 at T = 6, 53 760 at T = 35), and
    four times as many at ``patch: 4``. Memory grows with the tokens, time with their square, so windows
    (``input: {name: windows, side: 32}``) cost far less than whole patches; pretraining saw 12 cells a side
    at most.
    """

    has_pretraining_statistics: ClassVar[bool] = True

    name: Literal["galileo"] = "galileo"
    size: GalileoSize = "base"
    patch: int = Field(8, ge=1, le=8)
    """Pixels along one side of a token; half of it is four times the tokens and up to 16 times the time."""
    ndvi: bool = True
    """Whether NDVI is a group of its own, as in pretraining. It needs reflectance, which is known only with
    ``data.normalisation: pretraining``; without it the group is masked, as in the authors' evaluations."""
    drop_path: float = Field(0.1, ge=0, lt=1)
    """Chance that a branch of a layer is skipped for a patch in the encoder's training; 0.1 as published."""
    decoder: Decoder = UperNetDecoder()

    @property
    def depth(self) -> int:
        """How many layers the transformer has."""
        return GALILEO_DEPTH[self.size]

    @property
    def need_of_pretraining_statistics(self) -> str:
        """Why it cannot do without ``data.normalisation: pretraining``; empty where it can."""
        return "NDVI needs reflectance; or set model.ndvi: false" if self.ndvi else ""

    @property
    def size_multiple(self) -> int:
        """The side of what the network sees must be a multiple of this many pixels."""
        return self.patch
