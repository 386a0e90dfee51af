"""Settings of the vision transformers of SSL4EO-S12 (Wang et al., 2023); see ``models/ssl4eo.py``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Literal

from shapeft_tune.config.base import Violation
from shapeft_tune.config.models.base import TransformerSettings

Pretraining = Literal["dino", "moco", "mae", "data2vec"]
SSL4EO_PATCH = 16
"""Pixels along one side of a token."""
SSL4EO_DEPTH = 12
SSL4EO_WIDTH = 384


class Ssl4eo(TransformerSettings):
    """ViT-S/16 on all 13 bands of Sentinel-2, on every date."""

    has_pretraining_statistics: ClassVar[bool] = True

    name: Literal["ssl4eo_vit"] = "ssl4eo_vit"
    pretraining: Pretraining = "dino"
    """By which method: which file ``weights: official`` is, what a file must hold, how positions are told."""

    def rules(self) -> Iterator[Violation]:
        """There is no official data2vec on the hub."""
        yield from super().rules()
        if self.pretraining == "data2vec" and self.tuning.weights == "official":
            yield Violation(
                "tuning.weights",
                "a file, such as B13_vits16_data2vec_0099_ckpt.pth from the README of"
                " github.com/zhu-xlab/SSL4EO-S12: data2vec is not on the hub",
                "official",
            )

    @property
    def depth(self) -> int:
        """How many layers the transformer has."""
        return SSL4EO_DEPTH

    @property
    def width(self) -> int:
        """How many channels its maps have."""
        return SSL4EO_WIDTH

    @property
    def size_multiple(self) -> int:
        """The side of what the network sees must be a multiple of this many pixels."""
        return SSL4EO_PATCH
