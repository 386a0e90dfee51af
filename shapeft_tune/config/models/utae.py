"""Settings of U-TAE (Garnot and Landrieu, 2021); see ``models/utae.py``.

The authors' checkpoints hold the whole network, trained on three folds of PASTIS: ``Fold_1/model.pth.tar``
on folds 1 to 3, ``Fold_2`` on 2 to 4, ``Fold_3`` on 3 to 5, ``Fold_4`` on 4, 5, 1, ``Fold_5`` on 5, 1, 2. A
score on those folds means nothing when tuning began with such a file, and is refused where the path tells;
nor is any label of them scarce.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from shapeft_tune.config.base import Violation
from shapeft_tune.config.models.base import ModelSettings
from shapeft_tune.config.tuning import ScratchTuning, Tuning

CHECKPOINTS = "https://zenodo.org/record/5172293"
"""Where the authors' checkpoints for semantic segmentation are."""


class Utae(ModelSettings):
    """U-TAE: a U-Net whose bottleneck attends over time and masks every scale (Garnot and Landrieu, 2021)."""

    name: Literal["utae"] = "utae"
    tuning: Tuning = ScratchTuning()
    """``frozen`` and ``encoder_lr_ratio`` concern the convolutions that see single dates: all down to the
    coarsest level. Temporal attention, the way up and the head are the decoder; a checkpoint fills both."""
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

    @property
    def seen_folds(self) -> tuple[int, ...]:
        """Those that the authors' ``Fold_N`` was trained on, if that is what the weights' path says."""
        number = re.search(r"Fold_([1-5])(?!\d)", self.tuning.weights)
        return tuple((int(number[1]) + offset - 1) % 5 + 1 for offset in range(3)) if number else ()

    def rules(self) -> Iterator[Violation]:
        """Levels match, heads share evenly, and four normalisation groups divide every width."""
        yield from super().rules()
        yield from self._tuning_rules()
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

    def _tuning_rules(self) -> Iterator[Violation]:
        if self.tuning.mode == "lora":
            expected = (
                "scratch, finetune or frozen: U-TAE's encoder has convolutions only, no matrices to update"
            )
            yield Violation("tuning.mode", expected, "lora")
        if self.tuning.weights == "official":
            expected = (
                "none or a file: the authors' checkpoints are not on the hub; download a Fold_N/model.pth.tar"
                f" and conf.json from {CHECKPOINTS} into the weights folder, and give the file's name"
            )
            yield Violation("tuning.weights", expected, "official")

    @property
    def size_multiple(self) -> int:
        """The side of what the network sees must be a multiple of this many pixels."""
        return int(2 ** (len(self.encoder_widths) - 1))

    @property
    def smallest_side(self) -> int:
        """Twice that: the coarsest level is padded by reflection."""
        return 2 * self.size_multiple
