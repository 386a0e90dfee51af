"""From settings to networks. A new model is a settings class, a file, and one line in the table below."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from shapeft_tune.config.models import Croma, ModelConfig, Utae
from shapeft_tune.models.croma import load_croma_optical
from shapeft_tune.models.encoder import Encoder
from shapeft_tune.models.foundation import FrameSegmenter
from shapeft_tune.models.inputs import behind
from shapeft_tune.models.segmenter import Segmenter
from shapeft_tune.models.utae import UtaeSegmenter


def build_model(config: ModelConfig, num_classes: int, weights_folder: Path | None = None) -> Segmenter:
    """Return the network that ``config`` describes, its pretrained weights read from ``weights_folder``.

    Random weights are drawn from torch's global generator: seed it first. Raises WeightsError where the
    weights are missing or do not fit.
    """
    network = _BUILDERS[type(config)](config, num_classes, weights_folder)
    return behind(config.input, network)


def load_encoder(name: str, weights: str, **settings: Any) -> Encoder:
    """Return a pretrained encoder by itself, for features without a decoder.

    ``name``: ``croma_optical``, with the settings ``size``, ``layers`` and ``weights_folder``. ``weights``:
    ``none``, ``official`` or a file. Raises WeightsError where the weights are missing or do not fit.
    """
    if name not in _ENCODERS:
        raise ValueError(f"expected one of the encoders {sorted(_ENCODERS)}; got {name!r}")
    return _ENCODERS[name](weights, **settings)


def _utae(config: Utae, num_classes: int, weights_folder: Path | None) -> Segmenter:
    return UtaeSegmenter(config, num_classes)


def _croma(config: Croma, num_classes: int, weights_folder: Path | None) -> Segmenter:
    encoder = load_croma_optical(config.tuning.weights, config.size, config.feature_layers, weights_folder)
    return FrameSegmenter(encoder, config, num_classes)


_BUILDERS: dict[type, Callable[[Any, int, Path | None], Segmenter]] = {
    Utae: _utae,
    Croma: _croma,
}
_ENCODERS: dict[str, Callable[..., Encoder]] = {"croma_optical": load_croma_optical}
