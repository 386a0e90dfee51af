"""Settings of any backbone of timm; see ``models/timm_backbone.py``."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from shapeft_tune.config.models.base import FoundationSettings


class Timm(FoundationSettings):
    """A backbone with feature maps, on every date; written ``name: timm:resnet18``."""

    name: Literal["timm"] = "timm"
    backbone: str = Field(pattern=r"^[a-z0-9_.]+$")
    """timm's own name, with or without a tag: ``resnet18.a1_in1k``."""
