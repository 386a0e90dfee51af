"""Galileo: a transformer whose tokens are patches of pixels, one for each date and group of bands.

Source: Tseng et al., "Galileo: Learning Global & Local Features of Many Remote Sensing Modalities", ICML 2025
(arXiv:2502.09356), github.com/nasaharvest/galileo (MIT). Written anew; the modules carry the names of the
published state dictionary (``encoder.pt``), so that it loads as it is. What differs:

- of its many inputs only those of Sentinel-2 become tokens. Masked inputs have no tokens in the original
  either, so this changes nothing; the weights of the other inputs are not kept (:data:`OTHER_INPUTS`);
- images need not be square, and padded dates are hidden from attention;
- a date's position in time is how many dates come before it, whatever their order in the batch. Dates of the
  same day share a position, so the order of the batch changes nothing at all;
- NDVI stays within -1 and 1, whatever the reflectance;
- positions go on beyond the 24 that were published (:func:`positions_in_time`);
- layers after the last one whose output is used are not kept.

Pretraining saw the year as 12 monthly images of level 1C; PASTIS has dates at any distance, of level 2A.

Shape suffixes: B series, T dates, N valid frames, C bands, H W pixels, h w patches of pixels, P = h * w of
them, G groups of bands, L = T * G * P tokens of a series, D channels, Q = D / 4, a attention heads, d
channels of one head, p pixels along one side of a patch.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from shapeft_tune.config.bands import S2_BANDS
from shapeft_tune.config.models.base import chosen_layers, require_known
from shapeft_tune.config.models.galileo import GALILEO_DEPTH, Galileo, GalileoSize
from shapeft_tune.errors import WeightsError
from shapeft_tune.models.encoder import MapShape, SeriesEncoder, in_order
from shapeft_tune.models.foundation import SeriesSegmenter
from shapeft_tune.models.frames import FrameFolding
from shapeft_tune.models.galileo_layers import (
    MAX_PATCH,
    MAX_POSITIONS,
    Block,
    PatchProjection,
    dates_before,
    initialise,
    month_of,
    month_table,
    positions_in_space,
    positions_in_time,
    wave,
)
from shapeft_tune.models.layer_stack import outputs_of, used_part
from shapeft_tune.models.segmenter import Segmenter
from shapeft_tune.models.weights import OfficialCheckpoint, load_strictly, read_checkpoint, resolve_weights

NDVI = "NDVI"
GROUPS = {
    "S2_RGB": ("B2", "B3", "B4"),
    "S2_Red_Edge": ("B5", "B6", "B7"),
    "S2_NIR_10m": ("B8",),
    "S2_NIR_20m": ("B8A",),
    "S2_SWIR": ("B11", "B12"),
    NDVI: (NDVI,),
}
"""Bands that share a token."""
PUBLISHED_GROUPS = ("S1", *GROUPS)
"""What the rows of the published group embedding stand for."""
STATISTICS = {
    "B2": (1395.3408730676722, 917.7041440370853),
    "B3": (1338.4026921784578, 913.2988423581528),
    "B4": (1343.09883810357, 1092.678723527555),
    "B5": (1543.8607982512297, 1047.2206083460424),
    "B6": (2186.2022069512263, 1048.0101611156767),
    "B7": (2525.0932853316694, 1143.6903026819996),
    "B8": (2410.3377187373408, 1098.979177731649),
    "B8A": (2750.2854646886753, 1204.472755085893),
    "B11": (2234.911100061487, 1145.9774063078878),
    "B12": (1474.5311266077113, 980.2429840007796),
}
"""Mean and deviation of each band in pretraining: the original's ``config/normalization.json``, entry 13."""
JUNE = 5
"""Counted from 0: the month that the authors assume where none is known."""
SMALLEST_SUM = 0.5
"""Below this sum of two reflectances (x 10000), NDVI is 0; whole numbers are either 0 or above it."""


@dataclass(frozen=True)
class Shape:
    """A published size, under the names in the entry ``model.encoder`` of its ``config.json``."""

    embedding_size: int
    depth: int
    num_heads: int
    mlp_ratio: int = 4
    max_sequence_length: int = MAX_POSITIONS
    max_patch_size: int = MAX_PATCH


SHAPES: dict[GalileoSize, Shape] = {
    "nano": Shape(128, GALILEO_DEPTH["nano"], num_heads=8),
    "tiny": Shape(192, GALILEO_DEPTH["tiny"], num_heads=3),
    "base": Shape(768, GALILEO_DEPTH["base"], num_heads=12),
}
ENCODER_FILE, CONFIG_FILE = "encoder.pt", "config.json"
HUB_REVISION = "f039dd5dde966a931baeda47eb680fa89b253e4e"
SHA256: dict[GalileoSize, str | None] = {
    "nano": "eab6acacf527886a508a555bc24efe4b4a2cf91b162e84cd1c4a1807e942180c",
    "tiny": None,
    "base": "935f4912f08483d052d69d8e96518f52ef6827fe718a435cb5536fd9bb7737a7",
}
"""Of each ``encoder.pt``: nano's is that of the authors' GitHub repository; tiny's is published nowhere."""
OFFICIAL = {
    size: OfficialCheckpoint(f"models/{size}/{ENCODER_FILE}", "nasaharvest/galileo", HUB_REVISION, sha256)
    for size, sha256 in SHA256.items()
}


def _entries(embedding: str, inputs: Iterable[str], layer: str = "") -> set[str]:
    return {f"{embedding}.{name}{layer}.{part}" for name in inputs for part in ("weight", "bias")}


OTHER_INPUTS = frozenset(
    {"sp_channel_embed", "t_channel_embed", "st_channel_embed"}
    | _entries("space_time_embed", ["S1"], layer=".proj")
    | _entries("space_embed", ["SRTM", "DW", "WC"], layer=".proj")
    | _entries("time_embed", ["ERA5", "TC", "VIIRS"])
    | _entries("static_embed", ["LS", "location", "DW_static", "WC_static"])
)
"""Entries of the published file that no token of Sentinel-2 touches: radar, terrain, land cover, weather,
night lights, population and location."""
NDVI_PROJECTION = frozenset(_entries("space_time_embed", [NDVI], layer=".proj"))
"""Not touched either where NDVI is masked."""


class GalileoEncoder(SeriesEncoder):
    """Pre-norm transformer in which every token attends to all tokens of its series."""

    bands = S2_BANDS
    pretraining = STATISTICS
    update_targets: ClassVar = {
        "attention": ("attn.q", "attn.k", "attn.v", "attn.proj"),
        "mlp": ("mlp.fc1", "mlp.fc2"),
    }
    group_rows: Tensor
    pos_embed: Tensor
    month_embed: Tensor

    def __init__(
        self,
        shape: Shape,
        patch: int,
        feature_layers: tuple[int, ...],
        ndvi: bool = True,
        drop_path: float = 0.1,
    ) -> None:
        super().__init__()
        width, quarter = shape.embedding_size, shape.embedding_size // 4
        self.patch, self.ndvi, self.feature_layers = patch, ndvi, feature_layers
        self.maps = (MapShape(width, patch),) * len(feature_layers)
        self.groups = {name: bands for name, bands in GROUPS.items() if ndvi or name != NDVI}
        self.space_time_embed = nn.ModuleDict(
            {name: PatchProjection(len(bands), width, patch) for name, bands in self.groups.items()}
        )
        self.s_t_channel_embed = nn.Parameter(torch.zeros(len(PUBLISHED_GROUPS), quarter))
        rows = torch.tensor([PUBLISHED_GROUPS.index(name) for name in self.groups])
        self.register_buffer("group_rows", rows, persistent=False)
        self.register_buffer("pos_embed", wave(torch.arange(MAX_POSITIONS), quarter))  # never trained
        self.register_buffer("month_embed", month_table(quarter))
        self.blocks = nn.ModuleList(
            Block(width, shape.num_heads, shape.mlp_ratio, drop_path) for _ in range(shape.depth)
        )
        self.norm: nn.Module = nn.LayerNorm(width)
        self.apply(initialise)

    def scaled(self, standardised: Tensor) -> Tensor:
        """Map two deviations around the mean to 0 to 1; what lies beyond is kept, as in pretraining."""
        return (standardised + 2) / 4

    def forward_features(self, images_NCHW: Tensor, month: int = JUNE) -> list[Tensor]:
        """Return the maps [N, width, H / patch, W / patch] of single images, each a series of one date.

        ``month``: of all of them, counted from 0.
        """
        one_N1 = torch.ones(len(images_NCHW), 1, dtype=torch.bool, device=images_NCHW.device)
        return self._maps(
            images_NCHW[:, None], torch.zeros_like(one_N1).long(), one_N1.long() * month, one_N1
        )

    def forward_series(self, images_BTCHW: Tensor, days_BT: Tensor, valid_BT: Tensor) -> list[Tensor]:
        """Return the maps [B, width, H / patch, W / patch] of series after each of the feature layers.

        A cell is the mean over the tokens of its place: all valid dates and groups of bands. Tokens are the
        residual stream as it leaves a layer; only those of the transformer's last layer go through the final
        norm, which makes their mean the published model's own output.
        """
        return self._maps(images_BTCHW, dates_before(days_BT, valid_BT), month_of(days_BT), valid_BT)

    def _maps(
        self, images_BTCHW: Tensor, rank_BT: Tensor, month_BT: Tensor, valid_BT: Tensor
    ) -> list[Tensor]:
        folding = FrameFolding(valid_BT)
        frames_NCHW = folding.fold(images_BTCHW)
        self.require_images(frames_NCHW, self.patch)
        grid = (frames_NCHW.shape[-2] // self.patch, frames_NCHW.shape[-1] // self.patch)
        tokens_BTGPD = folding.unfold(self._projected(frames_NCHW))
        tokens_BTGPD = tokens_BTGPD + self._time(rank_BT, month_BT)[:, :, None, None] + self._place(grid)
        tokens_BLD, mask_B11L = tokens_BTGPD.flatten(1, 3), self._mask(folding, tokens_BTGPD.shape)
        outputs_BLD = outputs_of(self.blocks, self.norm, self.feature_layers, tokens_BLD, mask_B11L)
        return [self._mean(output.view_as(tokens_BTGPD), valid_BT, grid) for output in outputs_BLD]

    def _projected(self, frames_NCHW: Tensor) -> Tensor:
        """Return a token [N, G, P, D] for each patch and group of bands."""
        given = {band: frames_NCHW[:, place : place + 1] for place, band in enumerate(S2_BANDS)}
        if self.ndvi:
            given[NDVI] = ndvi_of(given["B8"], given["B4"])
        tokens_NPD = [
            self.space_time_embed[name](torch.cat([given[band] for band in bands], dim=1))
            for name, bands in self.groups.items()
        ]
        return torch.stack(tokens_NPD, dim=1)

    def _time(self, rank_BT: Tensor, month_BT: Tensor) -> Tensor:
        """Return what says when a token is: [B, T, D], in the second and third quarter of the channels."""
        table_TQ = positions_in_time(self.pos_embed, rank_BT.shape[1])
        when_BTQ2 = torch.cat([table_TQ[rank_BT], self.month_embed[month_BT]], dim=-1)
        quarter = table_TQ.shape[1]
        return functional.pad(when_BTQ2, (quarter, quarter))

    def _place(self, grid: tuple[int, int]) -> Tensor:
        """Return what says which group [G, P, D] and where: the first and last quarter of the channels."""
        group_GQ = self.s_t_channel_embed[self.group_rows]
        place_PQ = positions_in_space(grid, self.patch, group_GQ.shape[1], device=group_GQ.device)
        quarter = group_GQ.shape[1]
        return (
            functional.pad(group_GQ, (0, 3 * quarter))[:, None]
            + functional.pad(place_PQ, (3 * quarter, 0))[None]
        )

    @staticmethod
    def _mask(folding: FrameFolding, shape: torch.Size) -> Tensor | None:
        """Return which tokens [B, 1, 1, L] may be attended to; None, which is faster, where all may."""
        if folding.unpadded:
            return None
        return folding.valid_BT[:, :, None].expand(-1, -1, shape[2] * shape[3]).flatten(1)[:, None, None]

    @staticmethod
    def _mean(tokens_BTGPD: Tensor, valid_BT: Tensor, grid: tuple[int, int]) -> Tensor:
        """Return the mean [B, D, h, w] over the valid dates and the groups."""
        weight_BT = valid_BT / valid_BT.sum(dim=1, keepdim=True)
        mean_BPD = torch.einsum("btgpd,bt->bpd", tokens_BTGPD, weight_BT.to(tokens_BTGPD.dtype))
        mean_BPD = mean_BPD / tokens_BTGPD.shape[2]
        return torch.unflatten(mean_BPD.transpose(1, 2), 2, grid)

    def layers(self) -> list[list[nn.Parameter]]:
        """Return every parameter once, from the patches' projections to the final norm."""
        return [
            [*self.space_time_embed.parameters(), self.s_t_channel_embed],
            *in_order(*self.blocks, self.norm),
        ]

    def drop_unused_layers(self) -> None:
        """Forget what lies behind the last feature layer: it would cost time and never get a gradient."""
        self.blocks, self.norm = used_part(self.blocks, self.norm, self.feature_layers)


def ndvi_of(near_infrared: Tensor, red: Tensor) -> Tensor:
    """Return NDVI from B8 and B4, both as :meth:`GalileoEncoder.scaled` hands them on.

    Pretraining has it from reflectance and does not normalise it. Negative reflectance, which level 2A has
    and level 1C does not, would push it beyond the -1 to 1 of pretraining; there it is cut off.
    """
    reflectance_8, reflectance_4 = _reflectance(near_infrared, "B8"), _reflectance(red, "B4")
    total = reflectance_8 + reflectance_4
    kept = total > SMALLEST_SUM
    return ((reflectance_8 - reflectance_4) / total.where(kept, 1.0) * kept).clamp(-1, 1)


def _reflectance(scaled: Tensor, band: str) -> Tensor:
    mean, deviation = STATISTICS[band]
    return (scaled.float() * 4 - 2) * deviation + mean


def build(config: Galileo, num_classes: int, weights_folder: Path | None) -> Segmenter:
    """Return the segmenter that these settings describe."""
    encoder = load(
        config.name,
        config.tuning.weights,
        config.size,
        config.feature_layers,
        weights_folder,
        patch=config.patch,
        ndvi=config.ndvi,
        drop_path=config.drop_path,
    )
    return SeriesSegmenter(encoder, config, config.decoder, num_classes)


def load(
    name: Literal["galileo"],
    weights: str,
    size: GalileoSize = "base",
    layers: tuple[int, ...] | None = None,
    weights_folder: Path | None = None,
    patch: int = 8,
    ndvi: bool = True,
    drop_path: float = 0.1,
) -> GalileoEncoder:
    """Build the encoder and fill it from ``weights``.

    ``weights``: ``none``, ``official``, a file ``encoder.pt`` or the folder that holds it. ``layers`` are
    those whose outputs are returned, ascending; by default four, evenly spread. ``patch``: pixels, 1 to 8.
    Raises WeightsError where the file is missing or does not fit, or where the ``config.json`` beside it
    tells of another size.
    """
    if not 1 <= patch <= MAX_PATCH:
        raise ValueError(f"patch: expected 1 to {MAX_PATCH} pixels; got {patch}")
    require_known(size, SHAPES, "size")
    path = resolve_weights(_file_in(weights, weights_folder), OFFICIAL[size], weights_folder)
    shape = SHAPES[size]
    encoder = GalileoEncoder(shape, patch, chosen_layers(layers, shape.depth), ndvi, drop_path)
    if path:
        _check_size(path.with_name(CONFIG_FILE), size)
        load_strictly(encoder, _state(path, ndvi), source=f"{path} (size {size})")
    encoder.drop_unused_layers()
    return encoder


def _file_in(weights: str, folder: Path | None) -> str:
    """Return the file that is meant where ``weights`` is a folder."""
    is_word = weights in ("none", "official")
    return f"{weights}/{ENCODER_FILE}" if not is_word and ((folder or Path()) / weights).is_dir() else weights


def _check_size(config: Path, size: GalileoSize) -> None:
    """Refuse a file whose neighbour says that it is of another size; heads do not show in the weights."""
    if not config.is_file():
        return
    expected = asdict(SHAPES[size])
    try:
        entry = json.loads(config.read_text(encoding="utf-8"))["model"]["encoder"]
        found = {name: entry[name] for name in expected}
    except (ValueError, KeyError, TypeError) as error:
        raise WeightsError(
            f"{config}: expected the entry model.encoder with {list(expected)}; got none ({error!r}). Fetch"
            " it again, with the weights beside it."
        ) from error
    if found != expected:
        named = [name for name, shape in SHAPES.items() if asdict(shape) == found]
        advice = f"Set model.size: {named[0]}." if named else "No published size has this shape."
        raise WeightsError(f"{config}: expected size {size}, {expected}; got {found}. {advice}")


def _state(path: Path, ndvi: bool) -> Mapping[str, Tensor]:
    """Return the entries of a published file that concern Sentinel-2, under this module's names."""
    unused = OTHER_INPUTS if ndvi else OTHER_INPUTS | NDVI_PROJECTION
    # Some published files have ".backbone" inside their names, and the authors' loader takes it out.
    state = {str(name).replace(".backbone", ""): value for name, value in read_checkpoint(path).items()}
    if "month_embed.weight" in state:
        state["month_embed"] = state.pop("month_embed.weight")  # a table here, not a layer: it never learns
    return {name: value for name, value in state.items() if name not in unused}
