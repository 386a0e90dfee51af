"""Published mIoU on PASTIS, for orientation only: each number with the protocol that it belongs to.

The same CROMA weights score 0.32, 0.44 or 0.65 here: the protocol matters more than the model. No number of
another protocol, and none of another convention of the mean, can be compared with a sweep's own as if they
were one experiment. What a source does not say is left open and is not guessed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from shapeft_tune.config import SweepConfig

Convention = Literal["miou", "miou_seed20"]
DATA_SET = "pastis"
"""The data set of a sweep that these numbers may stand beside."""


@dataclass(frozen=True)
class Protocol:
    """How a family of published numbers came about."""

    name: str
    """As briefly as a figure allows."""
    words: str
    convention: Convention | None
    """Which of this project's two means of IoU it is: over 19 classes, or over 20 with void counted as 0.
    None where that is not known."""
    label_fraction: float | None = None
    """None where it is not known; such numbers are shown beside results with all labels."""
    temporal_length: int | None = None
    """Dates of the series that the model sees; None where it is not known or they are not single dates."""


@dataclass(frozen=True)
class Published:
    """One number of the field."""

    method: str
    miou: float
    """A fraction of 1, by the protocol's convention."""
    protocol: Protocol

    @property
    def label(self) -> str:
        """What it is called in a figure: ``CROMA (PANGAEA, mean over 20) 0.323``."""
        mean = {"miou": "", "miou_seed20": ", mean over 20", None: ", mean not known"}
        return f"{self.method} ({self.protocol.name}{mean[self.protocol.convention]}) {self.miou:.3f}"


FROM_SCRATCH = Protocol(
    "five-fold",
    "five-fold rotation, Sentinel-2, mean over 19 classes, trained from scratch",
    "miou",
)
PANGAEA = Protocol(
    "PANGAEA",
    "PANGAEA benchmark: frozen encoder, UPerNet with L-TAE, 6 dates, 100 % of the labels, "
    "mean over 20 classes (the ignored one counted as 0)",
    "miou_seed20",
    label_fraction=1.0,
    temporal_length=6,
)
LINEAR_PROBE = Protocol("linear probe", "linear probe on 12 monthly composites", None)
MAESTRO = Protocol("MAESTRO", "MAESTRO framework: fine-tuned, several sensors, a split of its own", None)

PUBLISHED = (
    Published("U-TAE", 0.631, FROM_SCRATCH),
    Published("TSViT", 0.654, FROM_SCRATCH),
    Published("Exchanger+UNet", 0.668, FROM_SCRATCH),
    Published("Exchanger+Mask2Former", 0.679, FROM_SCRATCH),
    Published("CROMA", 0.3232, PANGAEA),
    Published("SSL4EO DINO", 0.3618, PANGAEA),
    Published("SSL4EO MoCo", 0.3449, PANGAEA),
    Published("ViT from scratch", 0.3853, PANGAEA),
    Published("CROMA-L", 0.444, LINEAR_PROBE),
    Published("AnySat", 0.462, LINEAR_PROBE),
    Published("OlmoEarth-L", 0.518, LINEAR_PROBE),
    Published("CROMA", 0.650, MAESTRO),
)
NONE_KNOWN = "None are known for this data set: those that this project knows are on PASTIS."
COLUMNS = ("method", "mIoU", "mean over", "protocol")


def published_for(sweep: SweepConfig) -> tuple[Published, ...]:
    """Return the numbers that may stand beside a sweep: all where it is on PASTIS, else none."""
    data_sets = {cell.template["data"]["dataset"] for cell in sweep.cells}
    return PUBLISHED if data_sets == {DATA_SET} else ()


def published_rows(published: Sequence[Published] = PUBLISHED) -> tuple[tuple[str, str, str, str], ...]:
    """Return one line of text for each number, in the order of ``COLUMNS``; mIoU is a fraction of 1."""
    means = {"miou": "19 classes", "miou_seed20": "20 (void as 0)", None: "not known"}
    return tuple(
        (each.method, f"{each.miou:.3f}", means[each.protocol.convention], each.protocol.words)
        for each in published
    )
