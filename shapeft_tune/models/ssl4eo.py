"""The vision transformers of SSL4EO-S12: ViT-S/16 on all 13 bands of Sentinel-2, pretrained in four ways.

Source: Wang, Braham, Xiong, Liu, Albrecht and Zhu, "SSL4EO-S12: A Large-Scale Multi-Modal, Multi-Temporal
Dataset for Self-Supervised Learning in Earth Observation", IEEE GRSM 2023 (arXiv:2211.07044),
github.com/zhu-xlab/SSL4EO-S12 (Apache 2.0; weights CC-BY-4.0). Its parts come from DINO, MoCo v3, MAE and
data2vec. The transformer here is timm's; layouts of files, band statistics and scaling are facts of that
repository. What differs:

- attention runs through PyTorch's fused kernel;
- any multiple of 16 px is taken: positions are interpolated bicubically, DINO's as its own code does (on a
  grid that counts as a tenth of a cell longer), those of MoCo and MAE as MAE's code does (on the exact grid);
- data2vec has no position embedding, but a bias for each pair of tokens (and scaled layers), as in BEiT.
  It is looked up by offset, which is exact up to 224 px; offsets beyond those of pretraining take the
  farthest that it saw, where BEiT's code would stretch the table;
- data2vec's biases of query and value, two vectors in its files, are parts of timm's one vector of three.
  That of the key is 0 in the file; learning it changes nothing, for softmax ignores it;
- layers after the last one whose output is used are not kept.

Shape suffixes: N frames, C channels, H W pixels, h w cells of 16 px, P tokens (the class token, then
h * w), a attention heads.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torch.nn import functional

from shapeft_tune.config.bands import S2_BANDS
from shapeft_tune.config.models.base import chosen_layers, require_known
from shapeft_tune.config.models.ssl4eo import (
    SSL4EO_DEPTH,
    SSL4EO_PATCH,
    SSL4EO_WIDTH,
    Pretraining,
    Ssl4eo,
)
from shapeft_tune.models.bands import ZERO
from shapeft_tune.models.encoder import Encoder, MapShape
from shapeft_tune.models.foundation import FrameSegmenter
from shapeft_tune.models.layer_stack import outputs_of, used_part
from shapeft_tune.models.segmenter import Segmenter
from shapeft_tune.models.ssl4eo_files import OFFICIAL, agreed, layout_of, renamed, state_of
from shapeft_tune.models.weights import load_strictly, resolve_weights

L1C_STATISTICS = {
    "B1": (1605.57504906, 786.78685367),
    "B2": (1390.78157673, 850.34818441),
    "B3": (1314.8729939, 875.06484736),
    "B4": (1363.52445545, 1138.84957046),
    "B5": (1549.44374991, 1122.17775652),
    "B6": (2091.74883118, 1161.59187054),
    "B7": (2371.7172463, 1274.39184232),
    "B8": (2299.90463006, 1248.42891965),
    "B8A": (2560.29504086, 1345.52684884),
    "B9": (830.06605044, 577.31607053),
    "B10": (22.10351321, 51.15431158),
    "B11": (2177.07172323, 1336.09932639),
    "B12": (1524.06546312, 1136.53823676),
}
"""Mean and deviation of level 1C (top of the atmosphere) in SSL4EO-S12, from its ``ssl4eo_dataset.py``."""
HEADS = 6
PRETRAINED_GRID = 14
"""Cells along one side of the 224 px images of pretraining."""
GRID_SURPLUS: dict[Pretraining, float] = {"dino": 0.1, "moco": 0.0, "mae": 0.0}
"""By how many cells the grid counts as longer than it is when positions are interpolated.

DINO adds the tenth against rounding; it shifts every position a little, and the weights are used so.
"""


class Ssl4eoEncoder(Encoder):
    """Pre-norm transformer over 16 px patches and a class token, with a position added to each.

    ``fill``: So2Sat-LCZ42 lacks the same bands as PASTIS (B1, B9, B10), and there the authors put zeros
    (their ``so2sat_lcz42_dataset.py``); they do so for B10 of BigEarthNet, too.
    """

    bands = tuple(L1C_STATISTICS)
    fill: ClassVar = {"B1": ZERO, "B9": ZERO, "B10": ZERO}
    pretraining = L1C_STATISTICS
    update_targets: ClassVar = {"attention": ("attn.qkv", "attn.proj"), "mlp": ("mlp.fc1", "mlp.fc2")}

    vit: Any
    mean_C11: Tensor
    std_C11: Tensor

    def __init__(self, feature_layers: tuple[int, ...], grid_surplus: float = 0.0) -> None:
        super().__init__()
        self.feature_layers, self.grid_surplus = feature_layers, grid_surplus
        self.maps = (MapShape(SSL4EO_WIDTH, SSL4EO_PATCH),) * len(feature_layers)
        self.vit = self._transformer()
        statistics = torch.tensor([L1C_STATISTICS[band] for band in S2_BANDS])
        for name, values_C in zip(("mean_C11", "std_C11"), statistics.unbind(1), strict=True):
            self.register_buffer(name, values_C[:, None, None], persistent=False)

    def scaled(self, standardised: Tensor) -> Tensor:
        """Map the bands of a series [..., C, H, W] to reflectance from 0 to 1, cut off, as in pretraining.

        That is the authors' "clip to [0, 1] by dividing by 10000", without the rounding to 8 bits that
        followed. Bands standardised with the statistics of pretraining become the reflectance that they were.
        Others, as PASTIS (level 2A) with its own statistics, get mean and spread of pretraining's level 1C.
        """
        return ((standardised * self.std_C11 + self.mean_C11) / 10_000).clamp(0, 1)

    def forward_features(self, images_NCHW: Tensor) -> list[Tensor]:
        """Return the maps [N, 384, H / 16, W / 16] after each of the feature layers.

        Maps are the residual stream as it leaves a layer, without the class token; only the one of the
        transformer's last layer goes through the final norm.
        """
        self.require_images(images_NCHW, SSL4EO_PATCH)
        grid = (images_NCHW.shape[-2] // SSL4EO_PATCH, images_NCHW.shape[-1] // SSL4EO_PATCH)
        patches_NPC = self.vit.patch_embed(images_NCHW).flatten(1, 2)
        class_N1C = self.vit.cls_token.expand(len(patches_NPC), -1, -1)
        outputs_NPC = self._outputs(torch.cat([class_N1C, patches_NPC], dim=1), grid)
        return [torch.unflatten(output_NPC[:, 1:].transpose(1, 2), 2, grid) for output_NPC in outputs_NPC]

    def layers(self) -> list[list[nn.Parameter]]:
        """Return every parameter once: the tokens' making, each layer, what closes the last one."""
        blocks = [list(block.parameters()) for block in self.vit.blocks]
        groups = [self._first_parameters(), *blocks, self._last_parameters()]
        return [group for group in groups if group]

    def drop_unused_layers(self) -> None:
        """Forget what lies behind the last feature layer: it would cost time and never get a gradient."""
        self.vit.blocks, self.vit.norm = used_part(self.vit.blocks, self.vit.norm, self.feature_layers)

    def _transformer(self) -> Any:
        return _timm_transformer()

    def _outputs(self, tokens_NPC: Tensor, grid: tuple[int, int]) -> list[Tensor]:
        positions_1PC = position_embedding(self.vit.pos_embed, grid, self.grid_surplus)
        return self._through_layers(tokens_NPC + positions_1PC, bias_aPP=None)

    def _through_layers(self, tokens_NPC: Tensor, bias_aPP: Tensor | None) -> list[Tensor]:
        return outputs_of(self.vit.blocks, self.vit.norm, self.feature_layers, tokens_NPC, bias_aPP)

    def _first_parameters(self) -> list[nn.Parameter]:
        return [self.vit.cls_token, self.vit.pos_embed, *self.vit.patch_embed.parameters()]

    def _last_parameters(self) -> list[nn.Parameter]:
        return list(self.vit.norm.parameters())


class Data2vecEncoder(Ssl4eoEncoder):
    """The same with relative positions: a bias on the scores of all layers, and scaled layers."""

    def _transformer(self) -> Any:
        vit = _timm_transformer(pos_embed="none", init_values=1e-4)  # 1e-4: as the authors began
        vit.rel_pos_bias = RelativePositionBias()
        return vit

    def _outputs(self, tokens_NPC: Tensor, grid: tuple[int, int]) -> list[Tensor]:
        return self._through_layers(tokens_NPC, self.vit.rel_pos_bias(grid).to(tokens_NPC.dtype))

    def _first_parameters(self) -> list[nn.Parameter]:
        return [self.vit.cls_token, *self.vit.patch_embed.parameters()]

    def _last_parameters(self) -> list[nn.Parameter]:
        # Every layer uses the table, so it learns as fast as the last one; BEiT does the same.
        return [*super()._last_parameters(), *self.vit.rel_pos_bias.parameters()]


class RelativePositionBias(nn.Module):
    """A learned bias for each offset between two patches, and three that involve the class token."""

    def __init__(self) -> None:
        super().__init__()
        self.offsets = 2 * PRETRAINED_GRID - 1  # along one side, from -13 to 13
        self.relative_position_bias_table = nn.Parameter(torch.zeros(self.offsets**2 + 3, HEADS))

    def forward(self, grid: tuple[int, int]) -> Tensor:
        """Return the scores' bias [a, P, P] for a grid of h by w patches behind the class token."""
        height, width = grid
        device = self.relative_position_bias_table.device
        places_P2 = torch.cartesian_prod(
            torch.arange(height, device=device), torch.arange(width, device=device)
        )
        farthest = PRETRAINED_GRID - 1
        offset_PP2 = (places_P2[:, None] - places_P2[None]).clamp(-farthest, farthest) + farthest
        index_PP = functional.pad(offset_PP2[..., 0] * self.offsets + offset_PP2[..., 1], (1, 0, 1, 0))
        index_PP[0] = self.offsets**2  # from the class token
        index_PP[:, 0] = self.offsets**2 + 1  # to it
        index_PP[0, 0] = self.offsets**2 + 2
        return self.relative_position_bias_table[index_PP].permute(2, 0, 1)


def position_embedding(stored_1PC: Tensor, grid: tuple[int, int], surplus: float) -> Tensor:
    """Return the positions [1, P, C] of the class token and a grid of h by w, from those of a square one."""
    side = math.isqrt(stored_1PC.shape[1] - 1)
    if grid == (side, side):
        return stored_1PC
    stored_1Chw = torch.unflatten(stored_1PC[:, 1:].transpose(1, 2), 2, (side, side))
    if surplus:
        factors = tuple((cells + surplus) / side for cells in grid)
        places_1Chw = functional.interpolate(stored_1Chw, scale_factor=factors, mode="bicubic")
    else:
        places_1Chw = functional.interpolate(stored_1Chw, size=grid, mode="bicubic")
    return torch.cat([stored_1PC[:, :1], places_1Chw.flatten(2).transpose(1, 2)], dim=1)


def _timm_transformer(**differences: object) -> Any:
    return VisionTransformer(
        img_size=PRETRAINED_GRID * SSL4EO_PATCH,
        patch_size=SSL4EO_PATCH,
        in_chans=len(L1C_STATISTICS),
        embed_dim=SSL4EO_WIDTH,
        depth=SSL4EO_DEPTH,
        num_heads=HEADS,
        qkv_bias=True,
        num_classes=0,
        global_pool="",
        dynamic_img_size=True,
        **differences,
    )


def build(config: Ssl4eo, num_classes: int, weights_folder: Path | None) -> Segmenter:
    """Return the segmenter that these settings describe."""
    encoder = load(
        config.name, config.tuning.weights, config.pretraining, config.feature_layers, weights_folder
    )
    return FrameSegmenter(encoder, config, num_classes)


def load(
    name: Literal["ssl4eo_vit"],
    weights: str,
    pretraining: Pretraining | None = None,
    layers: tuple[int, ...] | None = None,
    weights_folder: Path | None = None,
) -> Ssl4eoEncoder:
    """Build the encoder and fill it from ``weights`` (``none``, ``official`` or a file).

    ``pretraining``: by default what the names in the file tell, and dino where they do not. ``layers`` are
    those whose outputs ``forward_features`` returns, ascending; by default four, evenly spread. Raises
    WeightsError where the file is missing, was pretrained in another way, or does not fit.
    """
    require_known(pretraining or "dino", (*GRID_SURPLUS, "data2vec"), "pretraining")
    path = resolve_weights(weights, OFFICIAL.get(pretraining or "dino"), weights_folder)
    layers = chosen_layers(layers, SSL4EO_DEPTH)
    if path is None:
        encoder = _empty_encoder(pretraining or "dino", layers)
    else:
        state = state_of(path)
        layout = layout_of(path, state)
        pretraining = agreed(path, layout.pretraining, pretraining)
        encoder = _empty_encoder(pretraining, layers)
        load_strictly(encoder.vit, renamed(state, layout), source=f"{path} (pretraining {pretraining})")
    encoder.drop_unused_layers()
    return encoder


def _empty_encoder(pretraining: Pretraining, layers: tuple[int, ...]) -> Ssl4eoEncoder:
    if pretraining == "data2vec":
        return Data2vecEncoder(layers)
    return Ssl4eoEncoder(layers, GRID_SURPLUS[pretraining])
