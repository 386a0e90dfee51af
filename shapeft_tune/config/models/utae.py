"""Settings of U-TAE (Garnot and Landrieu, 2021); see ``models/utae.py``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from shapeft_tune.config.base import Violation
from shapeft_tune.config.models.base import ModelSettings
from shapeft_tune.config.tuning import ScratchTuning, Tuning


class Utae(ModelSettings):
    """U-TAE: a U-Net whose bottleneck attends over time and masks every scale (Garnot and Landrieu, 2021)."""

    name: Literal["utae"] = "utae"
    tuning: Tuning = ScratchTuning()
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
        yield from super().rules()
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
    def size_multiple(self) -> int:
        """The side of what the network sees must be a multiple of this many pixels."""
        return int(2 ** (len(self.encoder_widths) - 1))

    @property
    def smallest_side(self) -> int:
        """Twice that: the coarsest level is padded by reflection."""
        return 2 * self.size_multiple
