"""Which network a trial trains and what of it is trained. Told apart by ``name``; no torch in here."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from shapeft_tune.config.base import Frozen, Violation, named

Weights = Annotated[str, Field(min_length=1)]
"""``none`` (random), ``official`` (the authors' checkpoint), or the name of a file in the weights folder."""


class FrozenTuning(Frozen):
    """The encoder keeps its weights; decoder and temporal fusion are trained."""

    mode: Literal["frozen"] = "frozen"
    weights: Weights
    """``none`` (random), ``official``, or a checkpoint file."""


class FinetuneTuning(Frozen):
    """Everything is trained; the encoder with a learning rate of its own."""

    mode: Literal["finetune"] = "finetune"
    weights: Weights
    """``none`` (random), ``official``, or a checkpoint file."""
    encoder_lr_ratio: float = Field(0.1, gt=0, le=10)
    """Encoder learning rate = this x the decoder's."""


class ScratchTuning(Frozen):
    """Everything is trained from random weights, with one learning rate."""

    mode: Literal["scratch"] = "scratch"


Tuning = Annotated[FrozenTuning | FinetuneTuning | ScratchTuning, named("mode"), Field(discriminator="mode")]


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


class UperNetDecoder(Frozen):
    """Pyramid pooling and feature pyramid over four feature maps (Xiao et al., 2018)."""

    name: Literal["upernet"] = "upernet"
    channels: int = Field(256, ge=8, le=1024, multiple_of=8)
    pool_sizes: tuple[Annotated[int, Field(ge=1, le=16)], ...] = Field((1, 2, 3, 6), min_length=1)
    """Cells along one side of each pooled map."""
    dropout: float = Field(0.1, ge=0, lt=1)


CROMA_DEPTH = {"small": 4, "base": 12, "large": 24}
"""Transformer layers of each size; ``small`` is this project's own, for tests and small machines."""
CROMA_WIDTH = {"small": 128, "base": 768, "large": 1024}
"""Channels of each size."""


def spread_layers(depth: int) -> tuple[int, ...]:
    """Return four layers, counted from 0, evenly spread; 12 layers give 2, 5, 8, 11."""
    return tuple(depth * quarter // 4 - 1 for quarter in (1, 2, 3, 4))


class CromaOptical(Frozen):
    """CROMA's Sentinel-2 encoder on every date, fused over time, with a decoder (Fuller et al., 2023)."""

    name: Literal["croma_optical"] = "croma_optical"
    size: Literal["small", "base", "large"] = "base"
    tuning: Tuning
    layers: tuple[Annotated[int, Field(ge=0)], ...] | None = Field(None, min_length=4, max_length=4)
    """The four layers, counted from 0, whose outputs the decoder sees; by default spread over the depth."""
    temporal: LtaeFusion = LtaeFusion()
    decoder: UperNetDecoder = UperNetDecoder()

    def rules(self) -> Iterator[Violation]:
        """Layers exist and ascend; size small has no published weights; heads share the channels evenly."""
        depth = CROMA_DEPTH[self.size]
        if self.layers and (self.layers[-1] >= depth or list(self.layers) != sorted(set(self.layers))):
            yield Violation("layers", f"four ascending numbers below {depth}", str(list(self.layers)))
        if self.size == "small" and getattr(self.tuning, "weights", "none") == "official":
            yield Violation("tuning.weights", "none or a file: size small was never published", "official")
        if CROMA_WIDTH[self.size] % self.temporal.heads:
            yield Violation(
                "temporal.heads",
                f"a divisor of the encoder's channels ({CROMA_WIDTH[self.size]})",
                str(self.temporal.heads),
            )

    @property
    def feature_layers(self) -> tuple[int, ...]:
        """The four layers whose outputs are used."""
        return self.layers or spread_layers(CROMA_DEPTH[self.size])

    @property
    def size_multiple(self) -> int:
        """A patch's side must be a multiple of this many pixels."""
        return 8

    @property
    def smallest_side(self) -> int:
        """A patch's side must have this many pixels."""
        return 8


class Utae(Frozen):
    """U-TAE: a U-Net whose bottleneck attends over time and masks every scale (Garnot and Landrieu, 2021)."""

    name: Literal["utae"] = "utae"
    encoder_widths: tuple[Annotated[int, Field(ge=4)], ...] = Field((64, 64, 64, 128), min_length=2)
    """Channels of each level, finest first."""
    decoder_widths: tuple[Annotated[int, Field(ge=4)], ...] = Field((32, 32, 64, 128), min_length=2)
    """Channels of each decoder level, finest first; the coarsest equals the encoder's."""
    heads: int = Field(16, ge=1)
    key_size: int = Field(4, ge=1)
    """Channels of one head's key."""
    width: int = Field(256, ge=1)
    """Channels inside the temporal attention."""
    dropout: float = Field(0.2, ge=0, lt=1)
    """On the temporally fused map; attention has a fixed dropout of 0.1, as published."""

    def rules(self) -> Iterator[Violation]:
        """Levels match, heads share evenly, and four normalisation groups divide every width."""
        if len(self.encoder_widths) != len(self.decoder_widths):
            yield Violation(
                "decoder_widths", f"{len(self.encoder_widths)} levels", str(list(self.decoder_widths))
            )
        if self.encoder_widths[-1] != self.decoder_widths[-1]:
            yield Violation(
                "decoder_widths", f"to end with {self.encoder_widths[-1]}", str(list(self.decoder_widths))
            )
        if self.width % self.heads:
            yield Violation("heads", f"a divisor of width ({self.width})", str(self.heads))
        for name in ("encoder_widths", "decoder_widths"):
            widths = getattr(self, name)
            if any(width % 4 for width in widths):
                yield Violation(name, "multiples of 4 (normalisation groups)", str(list(widths)))
        if any(width % self.heads for width in self.encoder_widths):
            yield Violation(
                "heads", f"a divisor of every encoder width {list(self.encoder_widths)}", str(self.heads)
            )

    @property
    def tuning(self) -> ScratchTuning:
        """U-TAE has no pretrained weights in this project yet."""
        return ScratchTuning()

    @property
    def size_multiple(self) -> int:
        """A patch's side must be a multiple of this many pixels."""
        return int(2 ** (len(self.encoder_widths) - 1))

    @property
    def smallest_side(self) -> int:
        """A patch's side must have this many pixels: the coarsest level is padded by reflection."""
        return 2 * self.size_multiple


ModelConfig = Annotated[Utae | CromaOptical, named(), Field(discriminator="name")]
