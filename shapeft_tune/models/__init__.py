"""Networks. All of them keep one promise, :class:`Segmenter`."""

from shapeft_tune.models.build import build_model, load_encoder, try_out
from shapeft_tune.models.segmenter import ParameterGroup, Segmenter

__all__ = ["ParameterGroup", "Segmenter", "build_model", "load_encoder", "try_out"]
