"""Small versions of every model, batches to feed them, and weights that hide nothing."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from shapeft_tune.config.bands import Sensor, bands_of
from shapeft_tune.config.decoding import LinearDecoder, LtaeFusion, MeanFusion, UperNetDecoder
from shapeft_tune.config.inputs import Resize, Windows
from shapeft_tune.config.models import Croma, Galileo, ModelConfig, Ssl4eo, Timm, Utae
from shapeft_tune.config.models.croma import CromaName
from shapeft_tune.config.models.ssl4eo import Pretraining
from shapeft_tune.config.tuning import FinetuneTuning, FrozenTuning, LoraTuning, ScratchTuning, Tuning

NUM_CLASSES = 5


def small_croma(tuning: Tuning, dates: bool = True, name: CromaName = "croma_optical") -> Croma:
    return Croma(
        name=name,
        size="small",
        tuning=tuning,
        temporal=LtaeFusion(heads=4, width=16, dates=dates),
        decoder=UperNetDecoder(channels=16, pool_sizes=(1, 2)),
    )


SMALL_TIMM = Timm(
    backbone="test_resnet",
    layers=(1, 2, 3),  # of the next one, a small patch has a single cell: too little for batch statistics
    tuning=FinetuneTuning(weights="none", encoder_lr_ratio=0.25),
    temporal=LtaeFusion(heads=4, width=16),
    decoder=UperNetDecoder(channels=16, pool_sizes=(1, 2)),
)


def small_ssl4eo(pretraining: Pretraining, tuning: Tuning) -> Ssl4eo:
    return Ssl4eo(
        pretraining=pretraining,
        layers=(0, 1),  # the ten behind them are dropped
        tuning=tuning,
        temporal=LtaeFusion(heads=4, width=16),
        decoder=UperNetDecoder(channels=16, pool_sizes=(1, 2)),
    )


SMALL_UTAE = Utae(encoder_widths=(8, 8, 16), decoder_widths=(4, 8, 16), heads=4, width=16)
SMALL_MODELS: dict[str, ModelConfig] = {
    "utae": SMALL_UTAE,
    "timm convolutional": SMALL_TIMM,
    "croma frozen": small_croma(FrozenTuning(weights="none")),
    "croma finetuned": small_croma(FinetuneTuning(weights="none", encoder_lr_ratio=0.25)),
    "croma from scratch": small_croma(ScratchTuning()),
    "galileo frozen": Galileo(size="nano", tuning=FrozenTuning(weights="none"), decoder=LinearDecoder()),
    "galileo finetuned": Galileo(
        size="nano",
        tuning=FinetuneTuning(weights="none", encoder_lr_ratio=0.1, layer_decay=0.8),
        decoder=LinearDecoder(maps="all"),
    ),
    "croma of radar": small_croma(FinetuneTuning(weights="none", layer_decay=0.8), name="croma_sar"),
    "croma of both": small_croma(FinetuneTuning(weights="none", layer_decay=0.8), name="croma_joint"),
    "croma of both with lora": small_croma(LoraTuning(weights="none", rank=2), name="croma_joint"),
    "galileo with lora": Galileo(
        size="nano", tuning=LoraTuning(weights="none", rank=2), decoder=LinearDecoder(maps="all")
    ),
    "ssl4eo finetuned": small_ssl4eo("dino", FinetuneTuning(weights="none", layer_decay=0.8)),
    "ssl4eo with lora": small_ssl4eo("moco", LoraTuning(weights="none", rank=2)),
    "ssl4eo data2vec": small_ssl4eo("data2vec", FinetuneTuning(weights="none", layer_decay=0.8)),
    "croma with lora": small_croma(LoraTuning(weights="none", rank=2, dropout=0.1)),
    "croma in two stages": small_croma(FinetuneTuning(weights="none", frozen_share=0.3)),
    "croma resized": small_croma(FinetuneTuning(weights="none")).model_copy(
        update={"input": Resize(side=24), "decoder": LinearDecoder()}
    ),
    "croma in windows": small_croma(ScratchTuning()).model_copy(update={"input": Windows(side=16)}),
    "croma blind to dates": small_croma(FrozenTuning(weights="none"), dates=False),
    "croma's mean, blind to dates": small_croma(FrozenTuning(weights="none")).model_copy(
        update={"temporal": MeanFusion()}
    ),
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


def make_series(
    dates: int = 3, height: int = 32, width: int = 32, sensors: tuple[Sensor, ...] = ("s2",)
) -> Series:
    generator = torch.Generator().manual_seed(7)
    return Series(
        torch.randn(2, dates, len(bands_of(sensors)), height, width, generator=generator),
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
