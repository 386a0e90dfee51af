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


@pytest.mark.parametrize(
    "strides", [(8,), (8,) * 3, (8,) * 6, (4, 8), (4, 8, 16), (2, 4, 8, 16, 32), (8, 16, 16)]
)
def test_any_number_of_maps_reaches_the_logits(strides: tuple[int, ...]) -> None:
    """Plain ones and pyramids, with channels that differ, down to a single cell."""
    shapes = tuple(MapShape(8 + place, stride) for place, stride in enumerate(strides))
    maps_BChw = [
        torch.randn(1, shape.channels, 32 // shape.stride, 48 // shape.stride, requires_grad=True)
        for shape in shapes
    ]
    decoder = UperNet(shapes, channels=8, pool_sizes=(1, 2), dropout=0.0, num_classes=3)
    logits = decoder(maps_BChw, (32, 48))
    assert logits.shape == (1, 3, 32, 48)
    logits.square().sum().backward()
    assert all(maps.grad is not None and maps.grad.abs().sum() > 0 for maps in maps_BChw)


@pytest.mark.parametrize(
    ("count", "scales"), [(1, []), (2, [1]), (3, [2, 1]), (4, [4, 2, 1]), (6, [4, 4, 4, 2, 1])]
)
def test_plain_maps_are_rescaled_into_a_pyramid(count: int, scales: list[int]) -> None:
    decoder = UperNet((MapShape(12, 8),) * count, channels=8, pool_sizes=(1,), dropout=0.0, num_classes=3)
    levels = [lateral(torch.randn(1, 12, 5, 3)).shape[-2:] for lateral in decoder.laterals]
    assert levels == [(5 * scale, 3 * scale) for scale in scales]


def test_a_pyramid_keeps_its_resolutions() -> None:
    shapes = tuple(MapShape(12, stride) for stride in (4, 8, 16))
    decoder = UperNet(shapes, channels=8, pool_sizes=(1,), dropout=0.0, num_classes=3)
    assert [lateral(torch.randn(1, 12, 6, 6)).shape[-2:] for lateral in decoder.laterals] == [(6, 6)] * 2


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
