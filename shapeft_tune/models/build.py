"""From settings to networks. A new model is a settings class, a file, and one line in the table below."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from shapeft_tune.config.bands import bands_of
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


def try_out(model: Segmenter, config: ModelConfig, size: tuple[int, int]) -> None:
    """Send one empty image of this size, (height, width) in pixels, through a model; leave it as it was.

    Raises UserError where it does not go through.
    """
    was_training = model.training
    images_BTCHW = torch.zeros(1, 1, len(bands_of(config.sensors)), *size)
    day_BT, valid_BT = torch.zeros(1, 1, dtype=torch.int64), torch.ones(1, 1, dtype=torch.bool)
    try:
        with torch.inference_mode():
            model.eval()(images_BTCHW, day_BT, valid_BT)
    except UserError:
        raise
    except Exception as error:  # whatever a backbone raises for sizes that it was not made for
        raise UserError(
            f"model {config.name}: expected patches that it takes; got {size[0]} x {size[1]} px, and it fails"
            f" ({type(error).__name__}: {error}). See `model.input` for resizing and windows"
        ) from error
    model.train(was_training)


def _file(name: str) -> Any:
    return import_module(f"shapeft_tune.models.{FILES[name]}")
