"""Any backbone of timm as the encoder: convolutional pyramids, plain and hierarchical transformers.

Source: Wightman, "PyTorch Image Models", github.com/huggingface/pytorch-image-models (Apache-2.0), used as
the package it is. The first layer is built for the ten bands; pretrained weights of three channels are
repeated over them and scaled by 3 / 10, as timm does it. Bands come standardised, as ImageNet's images were.

Official weights are those that timm names for the backbone, by its tag; there are thousands, so they are not
pinned here but taken from the main branch. A file has timm's own names; entries of the classifier are left
out, everything else has to fit.

Shape suffixes: N frames, C channels, H W pixels, h w feature cells.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import timm
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from timm.models import adapt_input_conv, group_parameters
from torch import Tensor, nn

from shapeft_tune.config.bands import S2_BANDS
from shapeft_tune.config.decoding import Fusion, LtaeFusion
from shapeft_tune.config.models.base import ascend_below, spread_layers
from shapeft_tune.config.models.timm import Timm
from shapeft_tune.errors import UserError, WeightsError
from shapeft_tune.models.encoder import Encoder, MapShape
from shapeft_tune.models.foundation import FrameSegmenter
from shapeft_tune.models.segmenter import Segmenter
from shapeft_tune.models.weights import (
    OfficialCheckpoint,
    load_strictly,
    named,
    read_checkpoint,
    resolve_weights,
)

FINEST_STRIDE = 4
"""Of a pyramid's maps, finer ones are not used by default: fusing their many cells costs most of the time."""
ATTENTION = ("attn.qkv", "attn.q", "attn.kv", "attn.q_proj", "attn.k_proj", "attn.v_proj", "attn.proj")
"""What timm calls the linear layers of an attention."""
MLP = ("mlp.fc1", "mlp.fc2", "mlp.fc1_g", "mlp.fc1_x")
"""And those of a feed-forward layer, with and without a gate."""


class TimmEncoder(Encoder):
    """A backbone without its classifier, and without what lies behind the last map that is used."""

    bands = S2_BANDS

    def __init__(self, network: Any, layers: Sequence[int], multiple: int, side: int | None) -> None:
        """``side`` is the only one that the network takes; None where it takes any ``multiple``."""
        super().__init__()
        used = [network.feature_info[layer] for layer in layers]
        self.maps = tuple(MapShape(info["num_chs"], info["reduction"]) for info in used)
        self.multiple, self.side = multiple, side
        self.network = network
        self.indices = network.prune_intermediate_layers(list(layers), prune_norm=True, prune_head=True)
        self.update_targets = _update_targets(network)  # type: ignore[misc] # other than in other encoders

    def forward_features(self, images_NCHW: Tensor) -> list[Tensor]:
        """Return the maps [N, channels, H / stride, W / stride], rounded up, as they leave the layers.

        Raises UserError for a size that the network does not take.
        """
        self._require_fit(*images_NCHW.shape[-2:])
        maps_NChw: list[Tensor] = self.network.forward_intermediates(
            images_NCHW, indices=self.indices, intermediates_only=True, output_fmt="NCHW"
        )
        return maps_NChw

    def layers(self) -> list[list[nn.Parameter]]:
        """Return every parameter once, in timm's own groups, from the input to the output."""
        if not hasattr(self.network, "group_matcher"):
            raise UserError(
                "model.tuning.layer_decay: expected 1 for this backbone, whose layers timm does not group"
            )
        groups = group_parameters(self.network, self.network.group_matcher(), return_values=True)
        return [groups[number] for number in sorted(groups)]

    def _require_fit(self, height: int, width: int) -> None:
        if self.side and (height, width) != (self.side, self.side):
            raise UserError(f"model.input: expected {self.side} x {self.side} px; got {height} x {width} px")
        if height % self.multiple or width % self.multiple:
            raise UserError(
                f"model.input: expected sides that are multiples of {self.multiple} px for this backbone; got"
                f" {height} x {width} px - resize, or cut windows"
            )


def build(config: Timm, num_classes: int, weights_folder: Path | None) -> Segmenter:
    """Return the segmenter that these settings describe."""
    side = getattr(config.input, "side", None)
    encoder = load(f"timm:{config.backbone}", config.tuning.weights, config.layers, weights_folder, side)
    require_shared_heads(config.temporal, encoder.maps)
    return FrameSegmenter(encoder, config, num_classes)


def load(
    name: str,
    weights: str,
    layers: tuple[int, ...] | None = None,
    weights_folder: Path | None = None,
    side: int | None = None,
) -> TimmEncoder:
    """Build a backbone for ten bands and fill it from ``weights`` (``none``, ``official`` or a file).

    ``name``: ``timm:`` and timm's own name. ``layers`` are those whose maps come out, ascending; by default
    see ``config.models.Timm``. ``side`` is what images will have, in pixels; needed by networks that are
    built for one size. The encoder is in evaluation mode.

    Raises:
        UserError: there is no such backbone, or it has no such maps, or does not take this side.
        WeightsError: the file is missing or does not fit.
    """
    backbone = name.removeprefix("timm:")
    source = _source_of(backbone)
    path = resolve_weights(weights, None, weights_folder) if weights != "official" else None
    if weights == "official":
        network, only_side = _official(backbone, source, weights_folder, side)
    else:
        network, only_side = _created(backbone, source, side, num_classes=0)
    if path:
        load_strictly(network, _state(path, network, source), source=f"{path} (timm:{backbone})")
    # Of other sides, patches would be cut from a part of the image alone; convolutions round up.
    multiple = network.feature_info[0]["reduction"] if source.fixed_input_size else 1
    encoder = TimmEncoder(network, layers_of(network, backbone, layers), multiple, only_side).eval()
    if only_side:
        _try_out(encoder, backbone, only_side)
    return encoder


def layers_of(network: Any, backbone: str, layers: tuple[int, ...] | None) -> tuple[int, ...]:
    """Return the feature maps to use; raises UserError where there are none or not these."""
    if not hasattr(network, "forward_intermediates"):
        raise UserError(f"model.name: expected a backbone with feature maps; timm:{backbone} gives none")
    strides = [info["reduction"] for info in network.feature_info]
    if layers:
        if not ascend_below(len(strides), layers):
            raise UserError(
                f"model.layers: expected ascending numbers below {len(strides)}, the maps of timm:{backbone},"
                f" whose strides are {strides}; got {list(layers)}"
            )
        return layers
    if len(set(strides)) == 1:
        return spread_layers(len(strides)) if len(strides) >= 4 else tuple(range(len(strides)))
    return tuple(layer for layer, stride in enumerate(strides) if stride >= FINEST_STRIDE)


def require_shared_heads(temporal: Fusion, maps: Sequence[MapShape]) -> None:
    """Raise UserError where the heads of temporal attention cannot share every map's channels evenly."""
    channels = [shape.channels for shape in maps]
    if isinstance(temporal, LtaeFusion) and any(each % temporal.heads for each in channels):
        common = math.gcd(*channels)
        fitting = [heads for heads in range(1, common + 1) if common % heads == 0]
        raise UserError(
            f"model.temporal.heads: expected one of {fitting}, which divide the channels {channels} of the"
            f" backbone's maps; got {temporal.heads}"
        )


def _source_of(backbone: str) -> Any:
    """Return what timm knows of a backbone's pretraining; raises UserError for an unknown backbone."""
    architecture, _, tag = backbone.partition(".")
    if not timm.is_model(architecture):
        near = difflib.get_close_matches(architecture, timm.list_models(), n=5)
        raise UserError(
            f"model.name: expected a backbone of timm {timm.__version__}"
            f"{', such as ' + ', '.join(near) if near else ''}; got timm:{backbone}"
        )
    tagged = timm.list_pretrained(f"{architecture}.*")
    if tag and backbone not in tagged:
        raise UserError(f"model.name: expected timm:{architecture} or one of {tagged}; got timm:{backbone}")
    return timm.get_pretrained_cfg(backbone)


def _created(backbone: str, source: Any, side: int | None, **settings: Any) -> tuple[Any, int | None]:
    """Return the network, and the only side that it takes; None where it takes many."""
    settings |= {"in_chans": len(S2_BANDS)}
    if not source.fixed_input_size:
        return timm.create_model(backbone, **settings), None
    try:
        return timm.create_model(backbone, dynamic_img_size=True, **settings), None
    except TypeError:  # an unknown argument: this family is built for one size
        pass
    if side is None:
        own = source.input_size[-1]
        raise UserError(
            f"model.input: expected resize or windows, since timm:{backbone} is built for images of one size;"
            f" got whole. Its pretraining had {own} px: {{name: resize, side: {own}}}"
        )
    try:
        return timm.create_model(backbone, img_size=side, **settings), side
    except AssertionError as error:
        raise _unfit(backbone, side, error) from error


def _try_out(encoder: TimmEncoder, backbone: str, side: int) -> None:
    """Raise UserError where a network that could be built for a side cannot run on it."""
    try:
        with torch.no_grad():
            encoder.forward_features(torch.zeros(1, len(S2_BANDS), side, side))
    except (AssertionError, RuntimeError) as error:
        raise _unfit(backbone, side, error) from error


def _unfit(backbone: str, side: int, error: Exception) -> UserError:
    return UserError(f"model.input.side: expected one that timm:{backbone} takes; got {side} ({error})")


def _official(backbone: str, source: Any, folder: Path | None, side: int | None) -> tuple[Any, int | None]:
    """Return the network with the weights that timm names for it.

    timm reads them, because it knows which of them have names of before; whole and strictly, classifier
    included, which is then taken away.
    """
    if not source.hf_hub_id:
        raise WeightsError(f"weights official: nothing is published on the hub for timm:{backbone}")
    file = OfficialCheckpoint(source.hf_hub_filename or "model.safetensors", source.hf_hub_id)
    # All these files have one name, so each is kept in a folder named for its repository.
    path = resolve_weights("official", file, folder / source.hf_hub_id if folder else None)
    read_from = {"file": str(path), "custom_load": False}
    try:
        created = _created(backbone, source, side, pretrained=True, pretrained_cfg_overlay=read_from)
    except (RuntimeError, SafetensorError, OSError) as error:
        raise WeightsError(f"{path} does not fit timm:{backbone}, or is broken: {error}") from error
    first = [created[0].get_submodule(name) for name in _names(source.first_conv)]
    if not all(isinstance(layer, nn.Conv2d) for layer in first):  # timm would leave it random, in silence
        raise WeightsError(
            f"weights official: the first layer of timm:{backbone} cannot be made for ten bands"
        )
    return created


def _state(path: Path, network: nn.Module, source: Any) -> Mapping[str, Tensor]:
    """Return a file's entries without the classifier's, the first layer's spread over the bands."""
    state = dict(_read(path))
    for classifier in _names(source.classifier):
        for name in [name for name in state if name.startswith(f"{classifier}.")]:
            del state[name]
    for convolution in _names(source.first_conv):
        name = f"{convolution}.weight"
        expected = network.state_dict().get(name)
        if expected is not None and isinstance(given := state.get(name), Tensor) and given.shape[1:2] == (3,):
            state[name] = adapt_input_conv(expected.shape[1], given)
    return state


def _read(path: Path) -> Mapping[str, Tensor]:
    if path.suffix == ".safetensors":
        try:
            return load_file(path)
        except (SafetensorError, OSError) as error:
            raise WeightsError(
                f"{path}: expected a whole safetensors file; reading failed: {error}"
            ) from error
    checkpoint = read_checkpoint(path)
    return named(checkpoint.get("state_dict", checkpoint), source=f"{path} (state_dict)")


def _names(names: str | Sequence[str] | None) -> Sequence[str]:
    """Return the names of layers that timm writes as one, as several, or as None."""
    return (names,) if isinstance(names, str) else names or ()


def _update_targets(network: nn.Module) -> Mapping[str, tuple[str, ...]]:
    """Return those names of linear layers that this network has, by what they belong to."""
    held = [name for name, module in network.named_modules() if _runs_as_module(network, name, module)]
    found = {
        target: tuple(end for end in ends if any(f".{name}".endswith(f".{end}") for name in held))
        for target, ends in (("attention", ATTENTION), ("mlp", MLP))
    }
    return {target: ends for target, ends in found.items() if ends}


def _runs_as_module(network: nn.Module, name: str, module: nn.Module) -> bool:
    """Return whether a layer is linear and called, so that an update added to it takes part.

    Attentions with separate biases (BEiT, EVA, Swin V2) only use the weight of ``qkv``: an update of it would
    be trained on nothing, in silence.
    """
    parent = network.get_submodule(name.rpartition(".")[0])
    bypassed = name.endswith(".qkv") and getattr(parent, "q_bias", None) is not None
    return isinstance(module, nn.Linear) and not bypassed
