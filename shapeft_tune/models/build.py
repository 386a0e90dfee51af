"""From settings to networks. A new model is a settings class, a file, and one line in the table below."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from shapeft_tune.config.bands import bands_of
from shapeft_tune.config.inputs import Windows
from shapeft_tune.config.models import ModelConfig
from shapeft_tune.errors import UserError
from shapeft_tune.models.encoder import Encoder
from shapeft_tune.models.inputs import behind
from shapeft_tune.models.segmenter import Segmenter

FILES: dict[str, str] = {
    "croma_joint": "croma",
    "croma_optical": "croma",
    "croma_sar": "croma",
    "galileo": "galileo",
    "ssl4eo_vit": "ssl4eo",
    "timm": "timm_backbone",
    "utae": "utae",
}
"""The file in this folder for each name of a model; imported when one is built, as timm takes seconds.

Its function ``build(config, num_classes, weights_folder)`` returns a :class:`Segmenter`. Where the encoder
can be had alone, ``load(name, weights, **settings)`` returns it.
"""


def build_model(config: ModelConfig, num_classes: int, weights_folder: Path | None = None) -> Segmenter:
    """Return the network that ``config`` describes, its pretrained weights read from ``weights_folder``.

    Random weights are drawn from torch's global generator: seed it first. Raises WeightsError where the
    weights are missing or do not fit.
    """
    network: Segmenter = _file(config.name).build(config, num_classes, weights_folder)
    return behind(config.input, network)


def load_encoder(name: str, weights: str, **settings: Any) -> Encoder:
    """Return a pretrained encoder by itself, in evaluation mode, for features without a decoder.

    Args:
        name: as ``model.name`` in a trial, with ``timm:<backbone>`` for those of timm.
        weights: ``none``, ``official`` or a file.
        settings: ``layers`` and ``weights_folder`` for all of them; ``size`` for CROMA and Galileo, ``patch``
            and ``ndvi`` for Galileo, ``pretraining`` for ``ssl4eo_vit``, ``side`` for timm.

    Raises:
        WeightsError: the weights are missing or do not fit.
        ValueError: there is no such encoder, or no such size or layer of it.
    """
    family = name.partition(":")[0]
    if family not in FILES or not hasattr(_file(family), "load"):
        known = [known for known in FILES if hasattr(_file(known), "load")]
        raise ValueError(f"expected one of the encoders {known}; got {name!r}")
    encoder: Encoder = _file(family).load(name, weights, **settings)
    return encoder.eval()


def try_out(
    model: Segmenter, config: ModelConfig, size: tuple[int, int], patches: int = 2, dates: int = 1
) -> None:
    """Send empty patches of this size, (height, width) in pixels, through a model, once in either mode.

    The model is not to be used any more: its statistics are those of empty patches now. Raises UserError
    where they do not go through.
    """
    images_BTCHW = torch.zeros(patches, dates, len(bands_of(config.sensors)), *size)
    days_BT, valid_BT = torch.zeros(patches, dates).long(), torch.ones(patches, dates).bool()
    crop = config.input.side if isinstance(config.input, Windows) else max(size)
    try:
        with torch.no_grad():
            model.train()(images_BTCHW[..., :crop, :crop], days_BT, valid_BT)
            model.eval()(images_BTCHW[:1, :1], days_BT[:1, :1], valid_BT[:1, :1])
    except UserError:
        raise
    except Exception as error:  # whatever a backbone raises for sizes that it was not made for
        raise UserError(
            f"model {config.name}: expected patches that it can be trained on; got {patches} at a time, of"
            f" {size[0]} x {size[1]} px and {dates} dates, and it fails ({type(error).__name__}: {error})."
            " See model.input for resizing and windows, and training.batch_size"
        ) from error


def _file(name: str) -> Any:
    return import_module(f"shapeft_tune.models.{FILES[name]}")
