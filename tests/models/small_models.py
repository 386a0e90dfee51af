"""Small versions of every model, batches to feed them, and weights that hide nothing."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from shapeft_tune.config.decoding import LtaeFusion, UperNetDecoder
from shapeft_tune.config.models import Croma, ModelConfig, Utae
from shapeft_tune.config.tuning import FinetuneTuning, FrozenTuning, ScratchTuning, Tuning

NUM_CLASSES = 5


def small_croma(tuning: Tuning, dates: bool = True) -> Croma:
    return Croma(
        size="small",
        tuning=tuning,
        temporal=LtaeFusion(heads=4, width=16, dates=dates),
        decoder=UperNetDecoder(channels=16, pool_sizes=(1, 2)),
    )


SMALL_UTAE = Utae(encoder_widths=(8, 8, 16), decoder_widths=(4, 8, 16), heads=4, width=16)
SMALL_MODELS: dict[str, ModelConfig] = {
    "utae": SMALL_UTAE,
    "croma frozen": small_croma(FrozenTuning(weights="none")),
    "croma finetuned": small_croma(FinetuneTuning(weights="none", encoder_lr_ratio=0.25)),
    "croma from scratch": small_croma(ScratchTuning()),
    "croma blind to dates": small_croma(FrozenTuning(weights="none"), dates=False),
}


@dataclass(frozen=True)
class Series:
    images_BTCHW: Tensor
    days_BT: Tensor
    valid_BT: Tensor

    def through(self, model: nn.Module) -> Tensor:
        return model(self.images_BTCHW, self.days_BT, self.valid_BT)

    def with_padding(self, positions: list[int]) -> Series:
        """Insert padded dates full of garbage, so that each ends up at one of the positions."""
        longer = self.days_BT.shape[1] + len(positions)
        kept = [place for place in range(longer) if place not in positions]
        images = torch.full((2, longer, *self.images_BTCHW.shape[2:]), float("nan"))
        days = torch.randint(-(10**6), 10**6, (2, longer))
        valid = torch.zeros(2, longer, dtype=torch.bool)
        images[:, kept], days[:, kept], valid[:, kept] = self.images_BTCHW, self.days_BT, self.valid_BT
        return Series(images, days, valid)

    def without_date(self, patch: int, date: int) -> Series:
        valid_BT = self.valid_BT.clone()
        valid_BT[patch, date] = False
        return replace(self, valid_BT=valid_BT)


def make_series(dates: int = 3, height: int = 32, width: int = 32) -> Series:
    generator = torch.Generator().manual_seed(7)
    return Series(
        torch.randn(2, dates, 10, height, width, generator=generator),
        torch.sort(torch.randint(0, 365, (2, dates), generator=generator)).values,
        torch.ones(2, dates, dtype=torch.bool),
    )


def randomise(module: nn.Module) -> None:
    """Draw every parameter and statistic, so that no default (ones, zeros) hides a missing step."""
    for name, tensor in module.state_dict().items():
        if tensor.is_floating_point():
            positive = name.endswith("running_var")
            with torch.no_grad():
                tensor.copy_(torch.rand_like(tensor) + 0.5 if positive else torch.randn_like(tensor) * 0.3)
