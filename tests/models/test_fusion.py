"""From many dates to one map."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from shapeft_tune.config.decoding import Fusion, LinearFusion, LtaeFusion, MeanFusion
from shapeft_tune.models.fusion import SeasonalMean, build_fusion
from tests.models.small_models import randomise

FUSIONS: dict[str, Fusion] = {
    "ltae": LtaeFusion(heads=2, width=8),
    "linear": LinearFusion(knots=5),
    "mean": MeanFusion(),
}
each_fusion = pytest.mark.parametrize("config", FUSIONS.values(), ids=FUSIONS)
Series = tuple[Tensor, Tensor, Tensor]


@pytest.fixture
def series() -> Series:
    """Two series of four dates; the second has only three."""
    torch.manual_seed(0)
    valid_BT = torch.tensor([[True] * 4, [True, False, True, True]])
    return torch.randn(2, 4, 6, 3, 5), torch.randint(0, 400, (2, 4)), valid_BT


def seasonal(weights: list[float]) -> SeasonalMean:
    fusion = SeasonalMean(len(weights))
    fusion.load_state_dict({"weight_k": torch.tensor(weights)})
    return fusion


def at_day(fusion: SeasonalMean, day: int) -> float:
    """The weight that a single date of this day gets."""
    fused = fusion(torch.ones(1, 1, 1, 1, 1), torch.tensor([[day]]), torch.ones(1, 1).bool())
    return float(fused.detach())


@each_fusion
def test_maps_keep_their_channels_and_size(config: Fusion, series: Series) -> None:
    assert build_fusion(config, 6)(*series).shape == (2, 6, 3, 5)


@each_fusion
def test_padded_dates_change_nothing(config: Fusion, series: Series) -> None:
    maps, days, valid = series
    torch.manual_seed(1)
    fusion = build_fusion(config, 6).eval()
    randomise(fusion)
    alone = fusion(maps[1:, [0, 2, 3]], days[1:, [0, 2, 3]], valid[1:, [0, 2, 3]])
    maps, days = maps.clone(), days.clone()
    maps[1, 1], days[1, 1] = 1e6, -(10**6)
    torch.testing.assert_close(fusion(maps, days, valid)[1:], alone, rtol=1e-5, atol=1e-5)


def test_the_mean_is_that_of_the_valid_dates(series: Series) -> None:
    maps, days, valid = series
    expected = torch.stack([maps[0].mean(dim=0), maps[1][[0, 2, 3]].mean(dim=0)])
    torch.testing.assert_close(build_fusion(MeanFusion(), 6)(maps, days, valid), expected)


def test_linear_fusion_begins_as_the_plain_mean(series: Series) -> None:
    linear, mean = build_fusion(LinearFusion(), 6), build_fusion(MeanFusion(), 6)
    torch.testing.assert_close(linear(*series), mean(*series))


@pytest.mark.parametrize(
    ("day", "weight"),
    [(0, 1.0), (73, 1.79945), (183, 2.48973), (274, 0.00068), (320, 0.50445), (365, 0.99726)],
)
def test_weights_are_interpolated_around_the_year(day: int, weight: float) -> None:
    """Four knots, 91.3125 days apart: day 73 lies 0.79945 of the way from the first to the second."""
    assert at_day(seasonal([1.0, 2.0, 2.5, 0.0]), day) == pytest.approx(weight, abs=1e-4)


@pytest.mark.parametrize("day", [-400, -1, 0, 40, 364])
def test_the_same_day_four_years_later_weighs_the_same(day: int) -> None:
    fusion = seasonal([1.0, 2.0, 2.5, 0.0, -1.0])
    assert at_day(fusion, day + 1461) == pytest.approx(at_day(fusion, day), abs=1e-4)


def test_every_season_learns_a_weight_of_its_own() -> None:
    """A date moves the two knots around it and no other."""
    fusion = seasonal([1.0] * 4)
    fusion(torch.ones(1, 1, 1, 1, 1), torch.tensor([[100]]), torch.ones(1, 1).bool()).sum().backward()
    assert fusion.weight_k.grad is not None
    assert (fusion.weight_k.grad != 0).tolist() == [False, True, True, False]
