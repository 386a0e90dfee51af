"""Encoding in pieces, so that a batch needs less memory and gives the same result.

Nearly all memory is taken by what sees every date by itself. Rows (frames, or series where the encoder takes
them whole) do not know of each other there, so they may come one piece after another. Where a gradient is
wanted, a piece keeps its result alone and is computed again for the gradient: a third more time, and the
memory of one piece. What follows, with its batch norms and the loss, sees the whole batch as before.

Sums are added in another order, so results agree within rounding. Dropout inside the encoder (LoRA's
``dropout``, Galileo's and timm's skipped branches) draws other numbers than for the whole batch, of the same
distribution.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint


def in_pieces(encode: Callable[..., list[Tensor]], count: int, *rows_N: Tensor) -> list[Tensor]:
    """Return the maps that ``encode`` makes of the rows, called for ``count`` pieces of them.

    ``rows_N``: one or more tensors that are cut along their first dimension, at the same places.
    """
    count = min(count, len(rows_N[0]))
    if count <= 1:
        return encode(*rows_N)
    pieces = zip(*(torch.tensor_split(each, count) for each in rows_N), strict=True)
    encoded = [_encoded(encode, piece) for piece in pieces]
    return [_joined(maps) for maps in zip(*encoded, strict=True)]


def mixes_rows(encoder: nn.Module) -> bool:
    """Return whether rows know of each other now: a batch norm in training takes statistics over them all."""
    return any(isinstance(module, _BatchNorm) and module.training for module in encoder.modules())


def _joined(parts_N: tuple[Tensor, ...]) -> Tensor:
    """Return the parts in one, laid out in memory as each is: later dropout draws in the order of memory."""
    order = sorted(range(1, parts_N[0].ndim), key=parts_N[0].stride, reverse=True)
    joined_N = torch.cat([part_N.permute(0, *order) for part_N in parts_N])
    return joined_N.permute(0, *(order.index(dimension) + 1 for dimension in range(1, joined_N.ndim)))


def _encoded(encode: Callable[..., list[Tensor]], piece: tuple[Tensor, ...]) -> list[Tensor]:
    if not torch.is_grad_enabled():
        return encode(*piece)
    maps: list[Tensor] = checkpoint(encode, *piece, use_reentrant=False)
    return maps
