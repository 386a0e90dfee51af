"""CROMA's optical encoder: a vision transformer for 12-band Sentinel-2 images of any size.

Source: Fuller, Millard and Green, "CROMA: Remote Sensing Representations with Contrastive Radar-Optical
Masked Autoencoders", NeurIPS 2023 (arXiv:2311.00566), github.com/antofuller/CROMA (MIT). Written anew; the
modules carry the names of the published state dictionary (``s2_encoder``), so that it loads as it is. What
differs:

- attention runs through PyTorch's fused kernel, with the distance bias as its mask;
- the bias is computed for the grid at hand, square or not, so one pass takes a patch of any multiple of 8 px;
- layers after the last one whose output is used are not kept.

Shape suffixes: N frames, C channels, H W pixels, h w patches of 8 px, P = h * w of them, a attention heads,
d channels of one head.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from shapeft_tune.config.models.base import spread_layers
from shapeft_tune.config.models.croma import CROMA_DEPTH, CROMA_PATCH, CROMA_WIDTH, CromaSize
from shapeft_tune.errors import WeightsError
from shapeft_tune.models.encoder import Encoder, MapShape, in_order
from shapeft_tune.models.weights import OfficialCheckpoint, load_strictly, read_checkpoint, resolve_weights

BANDS = ("B1", "B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B9", "B11", "B12")
"""What the encoder was pretrained on: level 2A without the cirrus band."""
STAND_INS = {"B1": "B2", "B9": "B8A"}
"""For each band that PASTIS lacks, the one nearest in wavelength (443 by 490 nm, 945 by 865 nm)."""
HEADS = {"small": 4, "base": 16, "large": 16}
OFFICIAL = {
    size: OfficialCheckpoint(f"CROMA_{size}.pt", repository="antofuller/CROMA") for size in ("base", "large")
}


class CromaOpticalEncoder(Encoder):
    """Pre-norm transformer over 8 px patches, positions told by a bias that grows with distance."""

    bands = BANDS
    fill = STAND_INS
    update_targets: ClassVar = {"attention": ("to_qkv", "to_out"), "mlp": ("net.0", "net.3")}

    def __init__(self, width: int, depth: int, heads: int, feature_layers: tuple[int, ...]) -> None:
        super().__init__()
        self.heads, self.feature_layers = heads, feature_layers
        self.maps = (MapShape(width, CROMA_PATCH),) * len(feature_layers)
        self.linear_input = nn.Linear(len(BANDS) * CROMA_PATCH**2, width)
        self.transformer = Transformer(width, depth, heads)

    def scaled(self, standardised: Tensor) -> Tensor:
        """Map two deviations around the mean to 0 to 1 and cut off the rest, as CROMA's README prescribes.

        Clouds are far beyond that: without the cut they would be inputs that pretraining never saw.
        """
        return ((standardised + 2) / 4).clamp(0, 1)

    def forward_features(self, images_NCHW: Tensor) -> list[Tensor]:
        """Return the maps [N, width, H / 8, W / 8] after each of the feature layers.

        Maps are the residual stream as it leaves a layer; only the one of the transformer's last layer goes
        through the final norm, which makes it the published model's own output.
        """
        grid = (images_NCHW.shape[-2] // CROMA_PATCH, images_NCHW.shape[-1] // CROMA_PATCH)
        bias_aPP = distance_bias(self.heads, *grid, device=images_NCHW.device)
        tokens_NPC = self.linear_input(cut_patches(images_NCHW))
        outputs_NPC = self.transformer(tokens_NPC, bias_aPP, self.feature_layers)
        return [torch.unflatten(output_NPC.transpose(1, 2), 2, grid) for output_NPC in outputs_NPC]

    def layers(self) -> list[list[nn.Parameter]]:
        """Return every parameter once, from the patches' projection to the final norm."""
        return in_order(self.linear_input, *self.transformer.layers, self.transformer.norm_out)

    def drop_unused_layers(self) -> None:
        """Forget what lies behind the last feature layer: it would cost time and never get a gradient."""
        self.transformer.truncate(self.feature_layers[-1] + 1)


class Transformer(nn.Module):
    """Layers of attention and feed-forward, each added to the stream of tokens."""

    norm_out: nn.Module

    def __init__(self, width: int, depth: int, heads: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.ModuleList([Attention(width, heads), FeedForward(width)]) for _ in range(depth)
        )
        self.norm_out = nn.LayerNorm(width)

    def forward(self, tokens_NPC: Tensor, bias_aPP: Tensor, wanted: tuple[int, ...]) -> list[Tensor]:
        """Return the tokens after each of the wanted layers; those after the last layer are normalised."""
        outputs_NPC = []  # not of every layer: without gradients, the others' memory is free again at once
        for number, layer in enumerate(self.layers):
            attention, feed_forward = cast(nn.ModuleList, layer)
            tokens_NPC = tokens_NPC + attention(tokens_NPC, bias_aPP)
            tokens_NPC = tokens_NPC + feed_forward(tokens_NPC)
            if number == len(self.layers) - 1:
                tokens_NPC = self.norm_out(tokens_NPC)
            if number in wanted:
                outputs_NPC.append(tokens_NPC)
        return outputs_NPC

    def truncate(self, depth: int) -> None:
        """Keep the first ``depth`` layers; the final norm belongs to the last layer and goes with it."""
        if depth < len(self.layers):
            self.layers = self.layers[:depth]
            self.norm_out = nn.Identity()


class Attention(nn.Module):
    """Multi-head self-attention with a normalised input and a given bias on its scores."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.input_norm = nn.LayerNorm(width)
        self.to_qkv = nn.Linear(width, 3 * width, bias=False)
        self.to_out = nn.Linear(width, width)

    def forward(self, tokens_NPC: Tensor, bias_aPP: Tensor) -> Tensor:
        """Return what is to be added to the tokens."""
        qkv_NP3ad = torch.unflatten(self.to_qkv(self.input_norm(tokens_NPC)), 2, (3, self.heads, -1))
        query_NaPd, key_NaPd, value_NaPd = qkv_NP3ad.permute(2, 0, 3, 1, 4)
        mixed_NaPd = functional.scaled_dot_product_attention(
            query_NaPd, key_NaPd, value_NaPd, attn_mask=bias_aPP.to(query_NaPd.dtype)[None]
        )
        return self.to_out(mixed_NaPd.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]


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


def load_croma_optical(
    weights: str,
    size: CromaSize = "base",
    layers: tuple[int, ...] | None = None,
    weights_folder: Path | None = None,
) -> CromaOpticalEncoder:
    """Build the encoder and fill it from ``weights`` (``none``, ``official`` or a file).

    ``layers`` are those whose outputs ``forward_features`` returns, ascending; by default four, evenly
    spread. Raises WeightsError where the file is missing or does not fit.
    """
    path = resolve_weights(weights, OFFICIAL.get(size), weights_folder)
    encoder = CromaOpticalEncoder(
        CROMA_WIDTH[size], CROMA_DEPTH[size], HEADS[size], layers or spread_layers(CROMA_DEPTH[size])
    )
    if path:
        load_strictly(encoder, _optical_state(path), source=f"{path} (s2_encoder, size {size})")
    encoder.drop_unused_layers()
    return encoder


def _optical_state(path: Path) -> Mapping[str, Tensor]:
    checkpoint = read_checkpoint(path)
    if "s2_encoder" not in checkpoint:
        found = sorted(map(str, checkpoint))
        raise WeightsError(f"{path}: expected a CROMA checkpoint with the entry s2_encoder; got {found}")
    state: Mapping[str, Tensor] = checkpoint["s2_encoder"]
    return state
