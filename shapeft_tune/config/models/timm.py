"""Settings of any backbone of timm; see ``models/timm_backbone.py``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from shapeft_tune.config.base import Violation
from shapeft_tune.config.models.base import FoundationSettings, Layers


class Timm(FoundationSettings):
    """A backbone with feature maps, on every date; written ``name: timm:resnet18``."""

    name: Literal["timm"] = "timm"
    backbone: str = Field(pattern=r"^[a-z0-9_.]+$")
    """timm's own name, with or without a tag: ``resnet18.a1_in1k``."""
    layers: Layers | None = None
    """Feature maps, counted from 0, that the decoder sees; by default those at a quarter of the resolution
    and below, or of a plain transformer four, spread over the depth."""

    def rules(self) -> Iterator[Violation]:
        """Layers ascend; how many there are, only the network knows."""
        yield from super().rules()
        if self.layers and list(self.layers) != sorted(set(self.layers)):
            yield Violation("layers", "ascending numbers", str(list(self.layers)))

    @property
    def size_multiple(self) -> int:
        """Pixels of a patch where the name tells them, as ``vit_small_patch14_dinov2`` does."""
        patch = re.search(r"_patch(\d+)", self.backbone)
        return int(patch[1]) if patch else 1
