"""The files that vision transformers of SSL4EO-S12 come in: four methods' own checkpoints, and timm's names.

Source: the training scripts of github.com/zhu-xlab/SSL4EO-S12 (Apache 2.0), which save
``B13_vits16_*_ckpt.pth``; torchgeo's copies on the hub.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from shapeft_tune.config.models.ssl4eo import Pretraining
from shapeft_tune.errors import WeightsError
from shapeft_tune.models.weights import OfficialCheckpoint, named, read_checkpoint, shortened

OFFICIAL: dict[Pretraining, OfficialCheckpoint] = {
    "dino": OfficialCheckpoint(
        "vit_small_patch16_224_sentinel2_all_dino-36bcc127.pth",
        repository="torchgeo/vit_small_patch16_224_sentinel2_all_dino",
        revision="5b41dd418a79de47ac9f5be3e035405a83818a62",
        sha256="36bcc1273227252faf98e1d9f32c35166d3612d30dc0c15812c29bed6da9a7d5",
    ),
    "moco": OfficialCheckpoint(
        "vit_small_patch16_224_sentinel2_all_moco-67c9032d.pth",
        repository="torchgeo/vit_small_patch16_224_sentinel2_all_moco",
        revision="1cb683f6c14739634cdfaaceb076529adf898c74",
        sha256="67c9032df0449ae37f93c51696bcae0c6dc3485103deb44b4669e9897b90409c",
    ),
    "mae": OfficialCheckpoint(
        "B13_vits16_mae_ep99_enc.pth",
        repository="wangyi111/SSL4EO-S12",
        revision="75c72195d35201dc1fb210818993518c25da566b",
    ),
}
"""What lies on the hub. The authors' own ``B13_vits16_*_ckpt.pth`` are linked from their README, not there:
they are loaded as files, and data2vec only so."""
STATE_ENTRIES = ("teacher", "state_dict", "model")
"""Where a training checkpoint keeps its weights: DINO, MoCo, MAE and data2vec."""


@dataclass(frozen=True)
class Layout:
    """How one kind of file names its weights, once ``module.`` of distributed training is taken off."""

    pretraining: Pretraining | None
    """None: the names do not tell."""
    mark: str
    """Begins some of its names, and none of those of the layouts after it."""
    prefix: str = ""
    """Begins all names of the encoder."""
    outside: tuple[str, ...] = ()
    """Begin the names of what is known not to belong to the encoder. Nothing else is left out."""


LAYOUTS = (
    # DINO: the teacher, whose ``head`` projects the class token for the loss.
    Layout("dino", mark="backbone.blocks.", prefix="backbone.", outside=("head.",)),
    # MoCo v3: the encoder with its projection, the slow copy of both, the predictor.
    Layout(
        "moco",
        mark="base_encoder.blocks.",
        prefix="base_encoder.",
        outside=("base_encoder.head.", "momentum_encoder.", "predictor."),
    ),
    # data2vec: the token of masked patches, the regression's head, and an index that the grid determines.
    Layout(
        "data2vec",
        mark="rel_pos_bias.",
        outside=("mask_token", "lm_head.", "rel_pos_bias.relative_position_index"),
    ),
    # MAE: the decoder, and its token of masked patches.
    Layout(
        "mae",
        mark="decoder_embed.",
        outside=(
            "mask_token",
            "decoder_embed.",
            "decoder_pos_embed",
            "decoder_blocks.",
            "decoder_norm.",
            "decoder_pred.",
        ),
    ),
    # timm's own names: torchgeo's copies, and the authors' encoders alone (``*_enc.pth``).
    Layout(None, mark="blocks.", outside=("head.",)),
)


def state_of(path: Path) -> Mapping[str, Tensor]:
    """Return the weights in a file under its own names; raises WeightsError for a broken or unsafe one."""
    with torch.serialization.safe_globals(_plain_data()):
        checkpoint = read_checkpoint(path)
    held = [checkpoint[entry] for entry in STATE_ENTRIES if isinstance(checkpoint.get(entry), Mapping)]
    state = named(held[0] if held else checkpoint, source=str(path))
    return {name.removeprefix("module."): value for name, value in state.items()}


def _plain_data() -> list[Any]:
    """Return what torch would refuse in the authors' files, though it holds values only.

    Theirs are whole training checkpoints: the command line's options are in them, and learning rates as
    numpy's numbers. None of these runs code from the file.
    """
    rebuild = np.float64(0).__reduce__()[0]
    modules = ("numpy.core.multiarray", "numpy._core.multiarray")  # before numpy 2 and since
    numbers = [np.dtype, type(np.dtype(np.float64)), *((rebuild, f"{module}.scalar") for module in modules)]
    return [argparse.Namespace, *numbers]


def layout_of(path: Path, state: Mapping[str, Tensor]) -> Layout:
    """Return the layout that the names are of; raises WeightsError where they are of none."""
    for layout in LAYOUTS:
        if any(name.startswith(layout.mark) for name in state):
            return layout
    raise WeightsError(
        f"{path}: expected a ViT-S/16 of SSL4EO-S12: a checkpoint of DINO (teacher), MoCo v3 (state_dict),"
        f" MAE or data2vec (model), or timm's names alone; got {shortened(state)}"
    )


def agreed(path: Path, found: Pretraining | None, wanted: Pretraining | None) -> Pretraining:
    """Return the method of a file, dino where nothing tells; raises WeightsError for another than wanted."""
    if found is None and wanted == "data2vec":
        raise WeightsError(f"{path}: expected a checkpoint of data2vec; got one with absolute positions")
    if found and wanted and found != wanted:
        raise WeightsError(
            f"{path}: expected a checkpoint of {wanted}; got one of {found}. Set pretraining: {found}, or"
            " give another file"
        )
    return found or wanted or "dino"


def renamed(state: Mapping[str, Tensor], layout: Layout) -> dict[str, Tensor]:
    """Return the encoder's weights under timm's names; what has no place keeps a name that fits nowhere."""
    encoder = {
        name.removeprefix(layout.prefix)
        if name.startswith(layout.prefix)
        else f"{name} (without prefix)": value
        for name, value in state.items()
        if not name.startswith(layout.outside)
    }
    return _as_in_timm(encoder) if layout.pretraining == "data2vec" else encoder


def _as_in_timm(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return BEiT's names and its two biases of attention as timm's vision transformer has them."""
    renamed = {
        name.replace(".gamma_1", ".ls1.gamma").replace(".gamma_2", ".ls2.gamma"): value
        for name, value in state.items()
    }
    for query in [name for name in renamed if name.endswith(".q_bias")]:
        attention = query.removesuffix("q_bias")
        if f"{attention}v_bias" in renamed:
            query_C, value_C = renamed.pop(query), renamed.pop(f"{attention}v_bias")
            renamed[f"{attention}qkv.bias"] = torch.cat([query_C, torch.zeros_like(query_C), value_C])
    return renamed
