"""The layers of CROMA: attention with a bias that grows with distance, in one branch and between two.

Source: Fuller, Millard and Green, "CROMA: Remote Sensing Representations with Contrastive Radar-Optical
Masked Autoencoders", NeurIPS 2023 (arXiv:2311.00566), github.com/antofuller/CROMA (MIT). Written anew; the
modules carry the names of the published state dictionaries. What differs: attention runs through PyTorch's
fused kernel, with the distance bias as its mask, which is computed for the grid at hand, square or not.

Shape suffixes: N frames, C channels, H W pixels, h w patches of 8 px, P = h * w of them, a attention heads,
d channels of one head.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from shapeft_tune.config.models.croma import CROMA_PATCH
from shapeft_tune.models.layer_stack import outputs_of, used_part


class Transformer(nn.Module):
    """Layers on a stream of tokens; what leaves the last one is normalised."""

    norm_out: nn.Module

    def __init__(self, layers: list[nn.ModuleList], width: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.norm_out = nn.LayerNorm(width)

    def forward(
        self, tokens_NPC: Tensor, bias_aPP: Tensor, wanted: tuple[int, ...], *context_NPC: Tensor
    ) -> list[Tensor]:
        """Return the tokens after each of the wanted layers; those after the last layer are normalised.

        ``context_NPC``: the other branch's tokens, where the layers look at one.
        """
        return outputs_of(self.layers, self.norm_out, wanted, tokens_NPC, bias_aPP, *context_NPC)

    def drop_unused(self, wanted: tuple[int, ...]) -> None:
        """Keep the layers up to the last one that is wanted."""
        self.layers, self.norm_out = used_part(self.layers, self.norm_out, wanted)


class Layer(nn.ModuleList):
    """Attention and feed-forward, each added to the stream; its parts have numbers as names."""

    def __init__(self, width: int) -> None:
        super().__init__([Attention(width), FeedForward(width)])

    def forward(self, tokens_NPC: Tensor, bias_aPP: Tensor) -> Tensor:
        """Return the stream after this layer."""
        attention, feed_forward = self
        tokens_NPC = tokens_NPC + attention(tokens_NPC, bias_aPP)
        return tokens_NPC + feed_forward(tokens_NPC)  # type: ignore[no-any-return]


class JointLayer(nn.ModuleList):
    """A layer that looks at the other branch's tokens between attention and feed-forward."""

    def __init__(self, width: int) -> None:
        super().__init__([Attention(width), CrossAttention(width), FeedForward(width)])

    def forward(self, tokens_NPC: Tensor, bias_aPP: Tensor, context_NPC: Tensor) -> Tensor:
        """Return the stream after this layer."""
        attention, cross_attention, feed_forward = self
        tokens_NPC = tokens_NPC + attention(tokens_NPC, bias_aPP)
        tokens_NPC = tokens_NPC + cross_attention(tokens_NPC, context_NPC, bias_aPP)
        return tokens_NPC + feed_forward(tokens_NPC)  # type: ignore[no-any-return]


class Attention(nn.Module):
    """Multi-head self-attention with a normalised input and a given bias on its scores."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.input_norm = nn.LayerNorm(width)
        self.to_qkv = nn.Linear(width, 3 * width, bias=False)
        self.to_out = nn.Linear(width, width)

    def forward(self, tokens_NPC: Tensor, bias_aPP: Tensor) -> Tensor:
        """Return what is to be added to the tokens."""
        query_NPC, key_NPC, value_NPC = self.to_qkv(self.input_norm(tokens_NPC)).chunk(3, dim=-1)
        return self.to_out(mixed_heads(query_NPC, key_NPC, value_NPC, bias_aPP))  # type: ignore[no-any-return]


class CrossAttention(nn.Module):
    """Multi-head attention from one sensor's tokens to the other's; both share the normalisation."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.input_norm = nn.LayerNorm(width)
        self.to_q = nn.Linear(width, width, bias=False)
        self.to_k = nn.Linear(width, width, bias=False)
        self.to_v = nn.Linear(width, width, bias=False)
        self.to_out = nn.Linear(width, width)

    def forward(self, tokens_NPC: Tensor, context_NPC: Tensor, bias_aPP: Tensor) -> Tensor:
        """Return what is to be added to the tokens."""
        query_NPC, context_NPC = self.to_q(self.input_norm(tokens_NPC)), self.input_norm(context_NPC)
        mixed_NPC = mixed_heads(query_NPC, self.to_k(context_NPC), self.to_v(context_NPC), bias_aPP)
        return self.to_out(mixed_NPC)  # type: ignore[no-any-return]


class FeedForward(nn.Module):
    """Two layers with a normalised input, four times as wide in between."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.input_norm = nn.LayerNorm(width)
        # The identity stands where the original has a dropout of 0: numbers are part of the published names.
        self.net = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Identity(), nn.Linear(4 * width, width)
        )

    def forward(self, tokens_NPC: Tensor) -> Tensor:
        """Return what is to be added to the tokens."""
        return self.net(self.input_norm(tokens_NPC))  # type: ignore[no-any-return]


def mixed_heads(query_NPC: Tensor, key_NPC: Tensor, value_NPC: Tensor, bias_aPP: Tensor) -> Tensor:
    """Return the values [N, P, C], mixed by the attention of as many heads as the bias has."""
    heads = len(bias_aPP)
    query_NaPd, key_NaPd, value_NaPd = (
        torch.unflatten(part_NPC, 2, (heads, -1)).transpose(1, 2)
        for part_NPC in (query_NPC, key_NPC, value_NPC)
    )
    mixed_NaPd = functional.scaled_dot_product_attention(
        query_NaPd, key_NaPd, value_NaPd, attn_mask=bias_aPP.to(query_NaPd.dtype)[None]
    )
    return mixed_NaPd.transpose(1, 2).flatten(2)


def cut_patches(images_NCHW: Tensor) -> Tensor:
    """Return the patches row by row, each flattened band by band: [N, P, C * 64]."""
    blocks_NChiwj = torch.unflatten(torch.unflatten(images_NCHW, 3, (-1, CROMA_PATCH)), 2, (-1, CROMA_PATCH))
    return blocks_NChiwj.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)


def distance_bias(heads: int, height: int, width: int, device: torch.device) -> Tensor:
    """Return the scores' bias [a, P, P]: minus the distance between patches, times the head's slope.

    Slopes are those of ALiBi (Press et al., 2022): a geometric series from 2^(-8 / heads) down to 2^-8.
    ``heads`` is a power of two.
    """
    rows, columns = torch.arange(height, device=device), torch.arange(width, device=device)
    places_P2 = torch.cartesian_prod(rows, columns).float()
    slopes_a = 2.0 ** (-8.0 * torch.arange(1, heads + 1, device=device) / heads)
    # Not torch.cdist: its fast path goes through a matrix product and loses digits.
    distance_PP = (places_P2[:, None] - places_P2[None]).square().sum(dim=-1).sqrt()
    return -slopes_a[:, None, None] * distance_PP
