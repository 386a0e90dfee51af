"""Which network a trial trains; a settings class for each, told apart by ``name``. No torch in here."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from shapeft_tune.config.base import named
from shapeft_tune.config.models.base import FoundationSettings, ModelSettings, TransformerSettings
from shapeft_tune.config.models.croma import Croma
from shapeft_tune.config.models.galileo import Galileo
from shapeft_tune.config.models.ssl4eo import Ssl4eo
from shapeft_tune.config.models.timm import Timm
from shapeft_tune.config.models.utae import Utae

__all__ = [
    "Croma",
    "FoundationSettings",
    "Galileo",
    "ModelConfig",
    "ModelSettings",
    "Ssl4eo",
    "Timm",
    "TransformerSettings",
    "Utae",
]


def _named_backbone(value: Any) -> Any:
    """Let ``name: timm:resnet18`` stand for ``{name: timm, backbone: resnet18}``."""
    if isinstance(value, dict) and isinstance(name := value.get("name"), str) and name.startswith("timm:"):
        if "backbone" in value:
            raise ValueError(f"one backbone: write name: timm beside backbone, or {name} alone")
        return value | {"name": "timm", "backbone": name.removeprefix("timm:")}
    return value


ModelConfig = Annotated[
    Croma | Galileo | Ssl4eo | Timm | Utae,
    BeforeValidator(_named_backbone),
    named(),
    Field(discriminator="name"),
]
