"""The checkpoints that utae-paps publishes: their names, their settings, and where their entries go.

Source: github.com/VSainteuf/utae-paps (MIT), ``Fold_N/model.pth.tar``, a dictionary with ``state_dict``, and
``conf.json`` beside the folders of the folds.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from shapeft_tune.config.models import Utae
from shapeft_tune.errors import WeightsError
from shapeft_tune.models.weights import named, read_checkpoint, require_fit, shortened

KEY_BIAS = "temporal_encoder.attention_heads.fc1_k.bias"
"""Expected in a checkpoint and left there: it cancels in the softmax, see ``ltae.py``."""
LAST_CONVOLUTION = ("out_conv.conv.conv.3.", "out_conv.conv.conv.4.")
PUBLISHED_NAMES = (
    ("encoder.stem.0.", "in_conv.conv.conv."),
    ("encoder.stem.1.0.", "in_conv.conv.conv.3."),
    ("encoder.stem.1.1.", "in_conv.conv.conv.4."),
    ("encoder.downs.", "down_blocks."),
    (".shrink.", ".down.conv."),
    (".widen.", ".conv1.conv."),
    ("ups.", "up_blocks."),
    (".skip.", ".skip_conv."),
    (".enlarge.", ".up."),
    (".join.", ".conv1.conv."),
    (".refine.", ".conv2.conv."),
    ("head.0.", "out_conv.conv.conv."),
    ("head.1.0.", "out_conv.conv.conv.3."),
    ("head.1.1.", "out_conv.conv.conv.4."),
    ("temporal.query_hk", "temporal_encoder.attention_heads.Q"),
    ("temporal.key_weight_hkC", "temporal_encoder.attention_heads.fc1_k.weight"),
    ("temporal.in_project.", "temporal_encoder.inconv."),
    ("temporal.", "temporal_encoder."),
)
"""Parts of our names and what stands there in a checkpoint of utae-paps; applied in this order."""
PUBLISHED_SETTINGS = {
    "encoder_widths": "encoder_widths",
    "decoder_widths": "decoder_widths",
    "n_head": "heads",
    "d_k": "key_size",
    "d_model": "width",
}
"""Entries of ``conf.json`` and the settings that they are here."""
PUBLISHED_CONSTANTS = {
    "model": "utae",
    "agg_mode": "att_group",
    "encoder_norm": "group",
    "padding_mode": "reflect",
    "str_conv_k": 4,
    "str_conv_s": 2,
    "str_conv_p": 1,
}
"""Entries of ``conf.json`` that have one value here."""


def fill_from_published(model: nn.Module, config: Utae, path: Path, num_classes: int) -> None:
    """Copy a published checkpoint into a U-TAE with these settings.

    The file has as many outputs as ``num_classes``, or one more: the last is then void, which is never a
    target, and is left out. Raises WeightsError naming every entry or setting that does not fit.
    """
    _check_published_settings(path, config)
    places, state = _published_places(model), _published_state(path, num_classes)
    require_fit(places, state, source=str(path))
    for name, place in places.items():
        place.copy_(state[name])


def _published_state(path: Path, num_classes: int) -> dict[str, Tensor]:
    checkpoint = read_checkpoint(path)
    if "state_dict" not in checkpoint:
        raise WeightsError(
            f"{path}: expected a checkpoint of utae-paps with the entry state_dict; got"
            f" {shortened(checkpoint)}"
        )
    entries = named(checkpoint["state_dict"], source=f"{path} (state_dict)")
    state = {name.removeprefix("module."): value for name, value in entries.items()}
    last = state.get(f"{LAST_CONVOLUTION[0]}bias")
    outputs = len(last) if isinstance(last, Tensor) and last.ndim else 0
    if outputs not in (0, num_classes, num_classes + 1):
        raise WeightsError(
            f"{path}: expected {num_classes} classes, or {num_classes + 1} of which the last is void; the"
            f" file has {outputs}: build the model for {outputs}, or for {outputs - 1} to leave void out"
        )
    if outputs:
        of_classes = [name for name in state if name.startswith(LAST_CONVOLUTION) and state[name].ndim]
        state |= {name: state[name][:num_classes] for name in of_classes}
    return state


def _published_places(model: nn.Module) -> dict[str, Tensor]:
    """Return where each entry of a checkpoint goes: our tensors, viewed in the published shapes."""
    places = {_published_name(name): tensor for name, tensor in model.state_dict().items()}
    temporal = "temporal_encoder."
    places[f"{temporal}inconv.weight"] = places[f"{temporal}inconv.weight"].squeeze(-1)
    places[f"{temporal}mlp.0.weight"] = places[f"{temporal}mlp.0.weight"].flatten(1)
    keys_kC = places[f"{temporal}attention_heads.fc1_k.weight"].flatten(0, 1)
    return places | {
        f"{temporal}attention_heads.fc1_k.weight": keys_kC,
        KEY_BIAS: keys_kC.new_empty(len(keys_kC)),
    }


def _published_name(name: str) -> str:
    for ours, theirs in PUBLISHED_NAMES:
        name = name.replace(ours, theirs)
    return name


def _check_published_settings(path: Path, config: Utae) -> None:
    """Compare with ``conf.json``, which utae-paps writes beside the folders of the folds."""
    found = [file for folder in path.parents[:2] if (file := folder / "conf.json").is_file()]
    if not found:
        return
    published = _read_settings(found[0])
    faults = [
        f"{entry} is {published[entry]}: set model.{setting} to that; it is {ours}"
        for entry, setting in PUBLISHED_SETTINGS.items()
        if entry in published and published[entry] != (ours := _as_json(getattr(config, setting)))
    ]
    faults += [
        f"{entry} is {published[entry]}: only {ours} can be loaded"
        for entry, ours in PUBLISHED_CONSTANTS.items()
        if published.get(entry, ours) != ours
    ]
    if faults:
        raise WeightsError("\n  ".join([f"{path} was trained with other settings ({found[0]})", *faults]))


def _read_settings(path: Path) -> Mapping[str, Any]:
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise WeightsError(f"{path}: expected the settings of utae-paps in JSON; {error}") from error
    return settings if isinstance(settings, Mapping) else {}


def _as_json(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
