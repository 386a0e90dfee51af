"""Settings of CROMA (Fuller et al., 2023); see ``models/croma.py``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Literal

from shapeft_tune.config.bands import Sensor
from shapeft_tune.config.base import Violation
from shapeft_tune.config.models.base import TransformerSettings

CromaSize = Literal["small", "base", "large"]
CromaName = Literal["croma_optical", "croma_joint", "croma_sar"]
CROMA_DEPTH: dict[CromaName, dict[CromaSize, int]] = {
    "croma_optical": {"small": 4, "base": 12, "large": 24},
    "croma_sar": {"small": 4, "base": 6, "large": 12},
    "croma_joint": {"small": 4, "base": 6, "large": 12},
}
"""Transformer layers of the optical branch, of the radar's, and of what joins them, which sees both whole.

Size ``small`` is this project's own, for tests and small machines."""
CROMA_WIDTH: dict[CromaSize, int] = {"small": 128, "base": 768, "large": 1024}
"""Channels of each size."""
CROMA_PATCH = 8
"""Pixels along one side of a token."""
SENSORS: dict[CromaName, tuple[Sensor, ...]] = {
    "croma_optical": ("s2",),
    "croma_joint": ("s2", "s1"),
    "croma_sar": ("s1",),
}


class Croma(TransformerSettings):
    """CROMA's encoder of Sentinel-2, of Sentinel-1, or of both, on every date."""

    has_pretraining_statistics: ClassVar[bool] = True

    name: CromaName = "croma_optical"
    """``croma_joint``: each Sentinel-2 date with the nearest Sentinel-1 one; ``croma_sar``: that alone."""
    size: CromaSize = "base"

    def rules(self) -> Iterator[Violation]:
        """Size small has no published weights."""
        yield from super().rules()
        if self.size == "small" and self.tuning.weights == "official":
            yield Violation("tuning.weights", "none or a file: size small was never published", "official")

    @property
    def sensors(self) -> tuple[Sensor, ...]:
        """What a series has to hold for this network; nothing else is read."""
        return SENSORS[self.name]

    @property
    def depth(self) -> int:
        """How many layers the transformer has; of ``croma_joint``, the one that joins the branches."""
        return CROMA_DEPTH[self.name][self.size]

    @property
    def width(self) -> int:
        """How many channels its maps have."""
        return CROMA_WIDTH[self.size]

    @property
    def size_multiple(self) -> int:
        """The side of what the network sees must be a multiple of this many pixels."""
        return CROMA_PATCH
