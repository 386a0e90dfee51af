"""CROMA's encoders: vision transformers for Sentinel-2, for Sentinel-1 and for both, at any size.

Source: Fuller, Millard and Green, "CROMA: Remote Sensing Representations with Contrastive Radar-Optical
Masked Autoencoders", NeurIPS 2023 (arXiv:2311.00566), github.com/antofuller/CROMA (MIT). Written anew; the
modules carry the names of the published state dictionaries, so that these load as they are. What differs:

- attention and its bias, see ``croma_layers.py``: one pass takes a patch of any multiple of 8 px;
- layers after the last one whose output is used are not kept, nor are the networks behind the global means.

The authors say nothing about images without B1 and B9, which PASTIS lacks: the stand-ins are this project's.

Shape suffixes: N frames, C channels, H W pixels, h w patches of 8 px, P = h * w of them, a attention heads.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from itertools import zip_longest
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor, nn

from shapeft_tune.config.bands import S1_BANDS
from shapeft_tune.config.models.base import chosen_layers, require_known
from shapeft_tune.config.models.croma import (
    CROMA_DEPTH,
    CROMA_PATCH,
    CROMA_WIDTH,
    Croma,
    CromaName,
    CromaSize,
)
from shapeft_tune.errors import WeightsError
from shapeft_tune.models.croma_layers import JointLayer, Layer, Transformer, cut_patches, distance_bias
from shapeft_tune.models.encoder import Encoder, MapShape, in_order
from shapeft_tune.models.foundation import FrameSegmenter
from shapeft_tune.models.segmenter import Segmenter
from shapeft_tune.models.weights import (
    OfficialCheckpoint,
    load_strictly,
    named,
    read_checkpoint,
    resolve_weights,
    shortened,
)

OPTICAL_BANDS = ("B1", "B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B9", "B11", "B12")
"""What the optical branch was pretrained on: level 2A without the cirrus band."""
STAND_INS = {"B1": "B2", "B9": "B8A"}
"""For each band that PASTIS lacks, the one nearest in wavelength (443 by 490 nm, 945 by 865 nm)."""
OPTICAL_STATISTICS = {
    "B1": (752.40, 1108.03), "B2": (884.30, 1155.15), "B3": (1144.16, 1183.63), "B4": (1297.47, 1368.11),
    "B5": (1624.91, 1370.27), "B6": (2194.64, 1355.55), "B7": (2422.21, 1416.51), "B8": (2517.76, 1474.79),
    "B8A": (2581.65, 1439.31), "B9": (2645.52, 1582.28), "B11": (2368.51, 1455.52), "B12": (1805.07, 1343.48),
}  # fmt: skip
"""Mean and deviation of 50 000 images of SSL4EO-S12, clouds included, which CROMA was pretrained on.

Source: github.com/zhu-xlab/SSL4EO-S12 (Apache 2.0), ``pretrain_ssl/datasets/SSL4EO/ssl4eo_dataset.py``, which
scales by them as CROMA does. CROMA's authors publish none of their own: their README takes the statistics of
the images at hand, and so do ``data.normalisation: official`` and ``own``."""
RADAR_STATISTICS = {"VV": (-1254.85, 525.70), "VH": (-2019.24, 591.15)}
"""The same of Sentinel-1."""
HEADS = {"small": 4, "base": 16, "large": 16}
HUB_REVISION = "0dd28e3d633bd6715856ae9890e8c49360040598"
OFFICIAL = {
    size: OfficialCheckpoint(f"CROMA_{size}.pt", "antofuller/CROMA", HUB_REVISION, sha256)
    for size, sha256 in {
        "base": "0238d814b53108f3574bf1ea240e38a0a6edd46173816d9a6962070561893b63",
        "large": "921e69ad4069201298bb5c860dc332f31e0cb01df6864f294a79fa8f921915a7",
    }.items()
}
"""Hashes: those of torchgeo's copies (``torchgeo/croma`` on the hub), which have the same bytes."""


class CromaEncoder(Encoder):
    """What CROMA's three encoders share."""

    update_targets: ClassVar = {"attention": ("to_qkv", "to_out"), "mlp": ("net.0", "net.3")}

    def __init__(self, width: int, heads: int, feature_layers: tuple[int, ...]) -> None:
        super().__init__()
        self.heads, self.feature_layers = heads, feature_layers
        self.maps = (MapShape(width, CROMA_PATCH),) * len(feature_layers)

    def scaled(self, standardised: Tensor) -> Tensor:
        """Map two deviations around the mean to 0 to 1 and cut off the rest, as CROMA's README prescribes.

        Clouds are far beyond that: without the cut they would be inputs that pretraining never saw.
        """
        return ((standardised + 2) / 4).clamp(0, 1)

    def forward_features(self, images_NCHW: Tensor) -> list[Tensor]:
        """Return the maps [N, width, H / 8, W / 8] after each of the feature layers.

        Maps are the stream of tokens as it leaves a layer; only the one of the last layer goes through the
        final norm, which makes it the published model's own output.
        """
        self.require_images(images_NCHW, CROMA_PATCH)
        grid = (images_NCHW.shape[-2] // CROMA_PATCH, images_NCHW.shape[-1] // CROMA_PATCH)
        bias_aPP = distance_bias(self.heads, *grid, device=images_NCHW.device)
        outputs_NPC = self.tokens(images_NCHW, bias_aPP)
        return [torch.unflatten(output_NPC.transpose(1, 2), 2, grid) for output_NPC in outputs_NPC]

    @abstractmethod
    def tokens(self, images_NCHW: Tensor, bias_aPP: Tensor) -> list[Tensor]:
        """Return the tokens [N, P, width] after each of the feature layers."""

    @abstractmethod
    def published(self) -> dict[str, nn.Module]:
        """Return the parts by the names of their entries in a published file."""

    @abstractmethod
    def drop_unused_layers(self) -> None:
        """Forget what lies behind the last feature layer: it would cost time and never get a gradient."""


class CromaBranch(CromaEncoder):
    """Pre-norm transformer over 8 px patches, positions told by a bias that grows with distance."""

    entry: ClassVar[str]
    """Where a published file has its weights."""

    def __init__(self, width: int, depth: int, heads: int, feature_layers: tuple[int, ...]) -> None:
        super().__init__(width, heads, feature_layers)
        self.linear_input = nn.Linear(len(self.bands) * CROMA_PATCH**2, width)
        self.transformer = Transformer([Layer(width) for _ in range(depth)], width)

    def tokens(self, images_NCHW: Tensor, bias_aPP: Tensor) -> list[Tensor]:
        """Return the tokens [N, P, width] after each of the feature layers."""
        # Float32 under autocast too: in bf16, sums over many layers would lose what the later ones add.
        tokens_NPC = self.linear_input(cut_patches(images_NCHW)).float()
        return self.transformer(tokens_NPC, bias_aPP, self.feature_layers)  # type: ignore[no-any-return]

    def layers(self) -> list[list[nn.Parameter]]:
        """Return every parameter once, from the patches' projection to the final norm."""
        return in_order(self.linear_input, *self.transformer.layers, self.transformer.norm_out)

    def published(self) -> dict[str, nn.Module]:
        """Return itself by the name of its entry."""
        return {self.entry: self}

    def drop_unused_layers(self) -> None:
        """Forget what lies behind the last feature layer."""
        self.transformer.drop_unused(self.feature_layers)


class CromaOpticalEncoder(CromaBranch):
    """The branch of Sentinel-2; its last map is the published ``optical_encodings``."""

    entry = "s2_encoder"
    bands = OPTICAL_BANDS
    fill = STAND_INS
    pretraining = OPTICAL_STATISTICS


class CromaRadarEncoder(CromaBranch):
    """The branch of Sentinel-1, half as deep; its last map is the published ``SAR_encodings``."""

    entry = "s1_encoder"
    bands = S1_BANDS
    pretraining = RADAR_STATISTICS


class CromaJointEncoder(CromaEncoder):
    """Both branches, and a transformer on the radar's tokens that looks at the optical ones in every layer.

    Feature layers are counted in that transformer: a map is its stream of tokens after a layer, which began
    as the radar branch's output. The last map is the published ``joint_encodings``. Both branches run whole,
    whatever the feature layers.
    """

    bands = (*OPTICAL_BANDS, *S1_BANDS)
    fill = STAND_INS
    pretraining = OPTICAL_STATISTICS | RADAR_STATISTICS
    update_targets: ClassVar = {
        "attention": ("to_qkv", "to_q", "to_k", "to_v", "to_out"),
        "mlp": ("net.0", "net.3"),
    }

    def __init__(
        self,
        width: int,
        optical_depth: int,
        radar_depth: int,
        depth: int,
        heads: int,
        feature_layers: tuple[int, ...],
    ) -> None:
        super().__init__(width, heads, feature_layers)
        self.s2_encoder = CromaOpticalEncoder(width, optical_depth, heads, (optical_depth - 1,))
        self.s1_encoder = CromaRadarEncoder(width, radar_depth, heads, (radar_depth - 1,))
        self.joint_encoder = Transformer([JointLayer(width) for _ in range(depth)], width)

    def tokens(self, images_NCHW: Tensor, bias_aPP: Tensor) -> list[Tensor]:
        """Return the joint tokens [N, P, width] after each of the feature layers."""
        optical_NCHW, radar_NCHW = images_NCHW.tensor_split((len(OPTICAL_BANDS),), dim=1)
        (optical_NPC,) = self.s2_encoder.tokens(optical_NCHW, bias_aPP)
        (radar_NPC,) = self.s1_encoder.tokens(radar_NCHW, bias_aPP)
        return self.joint_encoder(  # type: ignore[no-any-return]
            radar_NPC, bias_aPP, self.feature_layers, optical_NPC
        )

    def layers(self) -> list[list[nn.Parameter]]:
        """Return every parameter once: the branches side by side, ending together, then the joint layers."""
        optical, radar = self.s2_encoder.layers()[::-1], self.s1_encoder.layers()[::-1]
        none: list[nn.Parameter] = []
        branches = [sum(pair, none) for pair in zip_longest(optical, radar, fillvalue=none)][::-1]
        return [*branches, *in_order(*self.joint_encoder.layers, self.joint_encoder.norm_out)]

    def published(self) -> dict[str, nn.Module]:
        """Return the three parts, which are named as their entries are."""
        return dict(self.named_children())

    def drop_unused_layers(self) -> None:
        """Forget what lies behind the last feature layer."""
        self.joint_encoder.drop_unused(self.feature_layers)


def build(config: Croma, num_classes: int, weights_folder: Path | None) -> Segmenter:
    """Return the segmenter that these settings describe."""
    encoder = load(config.name, config.tuning.weights, config.size, config.feature_layers, weights_folder)
    return FrameSegmenter(encoder, config, num_classes)


def load(
    name: CromaName,
    weights: str,
    size: CromaSize = "base",
    layers: tuple[int, ...] | None = None,
    weights_folder: Path | None = None,
) -> CromaEncoder:
    """Build an encoder and fill it from ``weights`` (``none``, ``official`` or a file).

    ``layers`` are those whose outputs ``forward_features`` returns, ascending; by default four, evenly
    spread. Raises WeightsError where the file is missing or does not fit.
    """
    require_known(size, CROMA_WIDTH, "size")
    path = resolve_weights(weights, OFFICIAL.get(size), weights_folder)
    encoder = _built(name, size, chosen_layers(layers, CROMA_DEPTH[name][size]))
    if path:
        for entry, part in encoder.published().items():
            load_strictly(part, _entry_of(path, entry), source=f"{path} ({entry}, size {size})")
    encoder.drop_unused_layers()
    return encoder


def _built(name: CromaName, size: CromaSize, layers: tuple[int, ...]) -> CromaEncoder:
    width, heads = CROMA_WIDTH[size], HEADS[size]
    optical, radar, joint = (
        CROMA_DEPTH[part][size] for part in ("croma_optical", "croma_sar", "croma_joint")
    )
    match name:
        case "croma_optical":
            return CromaOpticalEncoder(width, optical, heads, layers)
        case "croma_sar":
            return CromaRadarEncoder(width, radar, heads, layers)
        case "croma_joint":
            return CromaJointEncoder(width, optical, radar, joint, heads, layers)


def _entry_of(path: Path, entry: str) -> Mapping[str, Tensor]:
    checkpoint = read_checkpoint(path)
    if entry not in checkpoint:
        raise WeightsError(
            f"{path}: expected a CROMA checkpoint with the entry {entry}; got {shortened(checkpoint)}"
        )
    return named(checkpoint[entry], source=f"{path} ({entry})")
