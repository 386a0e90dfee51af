"""The parts of Galileo: layers of attention, flexible patches, and what tells tokens where and when they are.

Source and differences: see ``galileo.py``.

Shape suffixes: B series, T dates, N frames, C bands, H W pixels, h w patches of pixels, P = h * w of them, L
tokens of a series, D channels, Q a quarter of them, a attention heads, d channels of one head, p pixels along
one side of a patch.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

MAX_PATCH = 8
"""Pixels along one side of the patches whose projection is published; it is resized for others."""
MAX_POSITIONS = 24
"""Rows of the published table of positions in time."""


class PatchProjection(nn.Module):
    """A linear map of 8 px patches, resized so that it serves patches of any size (FlexiViT)."""

    resize: Tensor

    def __init__(self, bands: int, width: int, patch: int) -> None:
        super().__init__()
        self.patch = patch
        self.proj = nn.Conv2d(bands, width, kernel_size=MAX_PATCH, stride=MAX_PATCH)
        self.register_buffer("resize", kernel_resize(patch), persistent=False)

    def forward(self, images_NCHW: Tensor) -> Tensor:
        """Return the tokens [N, P, D] of the patches, row by row."""
        kernel_DCpp = self.proj.weight
        if self.patch != MAX_PATCH:
            with torch.autocast(images_NCHW.device.type, enabled=False):  # once per batch, so precisely
                kernel_DCpp = torch.unflatten(kernel_DCpp.flatten(2) @ self.resize.T, 2, (self.patch, -1))
        tokens_NDhw = functional.conv2d(images_NCHW, kernel_DCpp, self.proj.bias, stride=self.patch)
        return tokens_NDhw.flatten(2).transpose(1, 2)


class Block(nn.Module):
    """One layer: attention and feed-forward, each added to the stream of tokens."""

    def __init__(self, width: int, heads: int, mlp_ratio: int, drop_path: float) -> None:
        super().__init__()
        self.drop_path = drop_path
        self.norm1 = nn.LayerNorm(width)
        self.attn = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = FeedForward(width, mlp_ratio)

    def forward(self, tokens_BLD: Tensor, mask_B11L: Tensor | None) -> Tensor:
        """Return the tokens as they leave the layer."""
        tokens_BLD = tokens_BLD + self._kept(self.attn(self.norm1(tokens_BLD), mask_B11L))
        return tokens_BLD + self._kept(self.mlp(self.norm2(tokens_BLD)))

    def _kept(self, branch_BLD: Tensor) -> Tensor:
        """In training, skip the branch for some series, strengthen it for the others (stochastic depth)."""
        if not self.training or self.drop_path == 0:
            return branch_BLD
        share = 1 - self.drop_path
        return branch_BLD * (branch_BLD.new_empty(len(branch_BLD), 1, 1).bernoulli_(share) / share)


class Attention(nn.Module):
    """Multi-head self-attention."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q, self.k, self.v = nn.Linear(width, width), nn.Linear(width, width), nn.Linear(width, width)
        self.proj = nn.Linear(width, width)

    def forward(self, tokens_BLD: Tensor, mask_B11L: Tensor | None) -> Tensor:
        """Return what is to be added to the tokens."""
        query_BaLd, key_BaLd, value_BaLd = (
            torch.unflatten(part(tokens_BLD), 2, (self.heads, -1)).transpose(1, 2)
            for part in (self.q, self.k, self.v)
        )
        mixed_BaLd = functional.scaled_dot_product_attention(
            query_BaLd, key_BaLd, value_BaLd, attn_mask=mask_B11L
        )
        return self.proj(mixed_BaLd.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]


class FeedForward(nn.Module):
    """Two layers, wider in between."""

    def __init__(self, width: int, ratio: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, ratio * width)
        self.fc2 = nn.Linear(ratio * width, width)

    def forward(self, tokens_BLD: Tensor) -> Tensor:
        """Return what is to be added to the tokens."""
        return self.fc2(functional.gelu(self.fc1(tokens_BLD)))  # type: ignore[no-any-return]


def wave(place_P: Tensor, channels: int) -> Tensor:
    """Return sines, then cosines, [P, channels], of places times frequencies.

    Frequencies are ``10000 ** -(i / (2 * channels))``: the original's own, which fall far slower than usual.
    """
    exponent = torch.arange(channels // 2, device=place_P.device) / channels / 2
    angle_PC = place_P.float()[:, None] / 10000**exponent
    return torch.cat([angle_PC.sin(), angle_PC.cos()], dim=1)


def positions_in_space(grid: tuple[int, int], patch: int, channels: int, device: torch.device) -> Tensor:
    """Return [P, channels]: half of them say the column, half the row, in pixels of 10 m."""
    rows, columns = torch.arange(grid[0], device=device), torch.arange(grid[1], device=device)
    row_P, column_P = torch.cartesian_prod(rows, columns).mul(patch).unbind(dim=1)
    return torch.cat([wave(column_P, channels // 2), wave(row_P, channels // 2)], dim=1)


def positions_in_time(table: Tensor, dates: int) -> Tensor:
    """Return the table [24, Q] of positions in time, with as many more rows as a longer series needs.

    The original cannot take more dates than rows. Its rows are a formula's, so the formula goes on: every
    date keeps a position of its own, as in pretraining, which had 12 dates at most. Squeezing
    longer series into the first 24 or 12 positions was worse: on real tiles with 35 dates, nano with a linear
    head had an overall accuracy of 0.72, and 0.68 and 0.59 squeezed (means of 6 runs).
    """
    more = torch.arange(len(table), max(dates, len(table)), device=table.device)
    return torch.cat([table, wave(more, table.shape[1])])


def month_table(channels: int) -> Tensor:
    """Return [12, channels]: one sine in half of them, one cosine in the other half."""
    angle_12 = torch.arange(12) / 12 * 2 * math.pi
    return torch.cat([angle_12.sin().repeat(channels // 2, 1), angle_12.cos().repeat(channels // 2, 1)]).T


def dates_before(days_BT: Tensor, valid_BT: Tensor) -> Tensor:
    """Return how many valid dates of its series lie before each date, [B, T]."""
    earlier_BTT = (days_BT[:, None, :] < days_BT[:, :, None]) & valid_BT[:, None, :]
    return earlier_BTT.sum(dim=2)


def month_of(days: Tensor) -> Tensor:
    """Return the month, counted from 0, of days since a 1 September.

    Source: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms": years that begin in March, so that
    the leap day is their last, in eras of 400 years.
    """
    in_era = (days + 737_243) % 146_097  # days since 1 March of year 0
    year = (in_era - in_era // 1460 + in_era // 36_524 - in_era // 146_096) // 365
    in_year = in_era - (365 * year + year // 4 - year // 100)
    return ((5 * in_year + 2) // 153 + 2) % 12


def kernel_resize(patch: int) -> Tensor:
    """Return the matrix [p * p, 64] from kernels for 8 px patches to kernels for smaller ones.

    Source: Beyer et al., "FlexiViT", CVPR 2023: the pseudo-inverse of the images' bicubic resizing, so that a
    resized patch gives the token that the patch itself would have given.
    """
    pixels = torch.eye(MAX_PATCH**2).reshape(-1, 1, MAX_PATCH, MAX_PATCH)
    smaller = functional.interpolate(pixels, (patch, patch), mode="bicubic", antialias=True)
    return torch.linalg.pinv(smaller.flatten(1))  # type: ignore[no-any-return]


def initialise(module: nn.Module) -> None:
    """Draw linear layers as the original does."""
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        nn.init.zeros_(module.bias)
