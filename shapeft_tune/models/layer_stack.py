"""A transformer's stack of layers, of which some outputs are used.

Shape suffixes: N images or series, P tokens, C channels.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn


def outputs_of(
    layers: nn.ModuleList, norm: nn.Module, wanted: Sequence[int], tokens_NPC: Tensor, *given: Tensor | None
) -> list[Tensor]:
    """Return the tokens after each of the wanted layers; those after the last layer are normalised.

    ``given``: what every layer takes besides the tokens.
    """
    outputs_NPC = []  # not of every layer: without gradients, the others' memory is free again at once
    for number, layer in enumerate(layers):
        tokens_NPC = layer(tokens_NPC, *given)
        if number == len(layers) - 1:
            tokens_NPC = norm(tokens_NPC)
        if number in wanted:
            outputs_NPC.append(tokens_NPC)
    return outputs_NPC


def used_part(
    layers: nn.ModuleList, norm: nn.Module, wanted: Sequence[int]
) -> tuple[nn.ModuleList, nn.Module]:
    """Return the layers up to the last one that is wanted, and the norm, which goes if the last layer does.

    What lies behind would cost time and never get a gradient.
    """
    depth = wanted[-1] + 1
    return (layers[:depth], nn.Identity()) if depth < len(layers) else (layers, norm)
