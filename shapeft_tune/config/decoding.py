"""From an encoder's maps of every date to one class map: temporal fusion, then a decoder."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from shapeft_tune.config.base import Frozen, Violation, named


class LtaeFusion(Frozen):
    """Lightweight temporal attention over the dates of each feature map (Garnot and Landrieu, 2020)."""

    name: Literal["ltae"] = "ltae"
    heads: int = Field(16, ge=1)
    key_size: int = Field(4, ge=1)
    """Channels of one head's key."""
    width: int = Field(256, ge=1)
    """Channels inside; every head sees width / heads of them."""
    dropout: float = Field(0.2, ge=0, lt=1)
    """On the fused map; attention has a fixed dropout of 0.1, as published."""
    dates: bool = True
    """Whether attention sees the day of each frame (the study's foundation models did not)."""

    def rules(self) -> Iterator[Violation]:
        """Heads share the width evenly."""
        if self.width % self.heads:
            yield Violation("heads", f"a divisor of width ({self.width})", str(self.heads))


class LinearFusion(Frozen):
    """A weighted mean over the dates, whose weights are learned for each time of the year."""

    name: Literal["linear"] = "linear"
    knots: int = Field(24, ge=2, le=73)
    """Weights around the year; between them they are interpolated. 24 is two a month."""


class MeanFusion(Frozen):
    """The mean over the dates: nothing to learn, blind to their order."""

    name: Literal["mean"] = "mean"


class UperNetDecoder(Frozen):
    """Pyramid pooling and feature pyramid over the feature maps (Xiao et al., 2018)."""

    name: Literal["upernet"] = "upernet"
    channels: int = Field(256, ge=8, le=1024, multiple_of=8)
    pool_sizes: tuple[Annotated[int, Field(ge=1, le=16)], ...] = Field((1, 2, 3, 6), min_length=1)
    """Cells along one side of each pooled map."""
    dropout: float = Field(0.1, ge=0, lt=1)


class LinearDecoder(Frozen):
    """One linear layer on each cell of the normalised maps, enlarged to the patch: cheap, hard to overfit."""

    name: Literal["linear"] = "linear"
    maps: Literal["last", "all"] = "last"
    """Which of the encoder's maps it sees."""
    dropout: float = Field(0.0, ge=0, lt=1)


Fusion = Annotated[LtaeFusion | LinearFusion | MeanFusion, named(), Field(discriminator="name")]
Decoder = Annotated[UperNetDecoder | LinearDecoder, named(), Field(discriminator="name")]
