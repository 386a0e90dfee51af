"""How a patch reaches the network: as it is, resized, or cut into windows."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from shapeft_tune.config.base import Frozen, named


class Whole(Frozen):
    """The whole patch in one pass."""

    name: Literal["whole"] = "whole"

    def network_side(self, side: int) -> int:
        """Return the side that the network sees, in pixels, of a patch's side."""
        return side


class Resize(Frozen):
    """Bilinear to a square; logits are brought back. Cost grows with the square of the side."""

    name: Literal["resize"] = "resize"
    side: int = Field(ge=8, le=2048)
    """Pixels; 224 is what many vision transformers were pretrained on."""

    def network_side(self, side: int) -> int:
        """Return the side that the network sees, in pixels, of a patch's side."""
        return self.side


class Windows(Frozen):
    """A random crop in training; at evaluation as few even windows as cover the patch, averaged."""

    name: Literal["windows"] = "windows"
    side: int = Field(ge=8, le=2048)
    """Pixels of crop and window; the study had 120 for CROMA."""

    def network_side(self, side: int) -> int:
        """Return the side that the network sees, in pixels, of a patch's side."""
        return self.side


InputPolicy = Annotated[Whole | Resize | Windows, named(), Field(discriminator="name")]
