"""The decoder by itself."""

from __future__ import annotations

import pytest
import torch

from shapeft_tune.models.encoder import MapShape
from shapeft_tune.models.upernet import UperNet


def make_decoder(pool_sizes: tuple[int, ...] = (1, 2, 3, 6)) -> UperNet:
    torch.manual_seed(0)
    return UperNet((MapShape(12, 8),) * 4, channels=8, pool_sizes=pool_sizes, dropout=0.0, num_classes=3)


@pytest.mark.parametrize(("cells", "size"), [((1, 1), (8, 8)), ((3, 3), (24, 24)), ((4, 6), (32, 48))])
def test_any_grid_gives_logits_of_the_asked_size(cells: tuple[int, int], size: tuple[int, int]) -> None:
    maps_BChw = [torch.randn(2, 12, *cells) for _ in range(4)]
    assert make_decoder()(maps_BChw, size).shape == (2, 3, *size)


@pytest.mark.parametrize("level", range(4))
def test_every_map_reaches_the_logits(level: int) -> None:
    maps_BChw = [torch.randn(1, 12, 4, 4, requires_grad=True) for _ in range(4)]
    make_decoder()(maps_BChw, (32, 32)).square().sum().backward()
    assert maps_BChw[level].grad is not None
    assert maps_BChw[level].grad.abs().sum() > 0


def test_patches_of_a_batch_do_not_see_each_other_in_training() -> None:
    decoder, maps_BChw = make_decoder().train(), [torch.randn(3, 12, 4, 4) for _ in range(4)]
    alone = decoder([maps[1:2] for maps in maps_BChw], (32, 32))
    torch.testing.assert_close(decoder(maps_BChw, (32, 32))[1:2], alone, rtol=1e-5, atol=1e-5)


def test_pooling_lets_every_cell_see_the_whole_patch() -> None:
    maps_BChw = [torch.randn(1, 12, 16, 16) for _ in range(4)]
    changed = [maps.clone() for maps in maps_BChw]
    changed[-1][:, :, -1, -1] += 5.0
    decoder = make_decoder(pool_sizes=(1,)).eval()
    difference = decoder(maps_BChw, (128, 128)) - decoder(changed, (128, 128))
    assert difference[:, :, 0, 0].abs().max() > 0
