"""How a patch reaches the network."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from shapeft_tune.config.inputs import InputPolicy, Resize, Whole, Windows
from shapeft_tune.config.models import Timm
from shapeft_tune.errors import DataError
from shapeft_tune.models import build_model
from shapeft_tune.models.inputs import WrappedSegmenter, behind, even_starts
from shapeft_tune.models.segmenter import ParameterGroup, Segmenter
from tests.models.small_models import NUM_CLASSES, SMALL_TIMM, make_series


class Pixelwise(Segmenter):
    """Logits of each pixel from the mean of its valid dates; keeps the sizes that it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.classify = nn.Conv2d(10, 3, kernel_size=1)
        self.sizes: list[tuple[int, int]] = []
        self.progress = 0.0

    def forward(self, images_BTCHW: Tensor, days_BT: Tensor, valid_BT: Tensor) -> Tensor:
        self.sizes.append((images_BTCHW.shape[-2], images_BTCHW.shape[-1]))
        return self.classify(images_BTCHW.nan_to_num().mean(dim=1))

    def set_progress(self, share: float) -> None:
        self.progress = share

    def parameter_groups(self) -> list[ParameterGroup]:
        return [ParameterGroup("mine", tuple(self.parameters()), lr_ratio=0.5)]


class Local(Pixelwise):
    """Adds the mean over all that it sees: what a window gives depends on the window."""

    def forward(self, images_BTCHW: Tensor, days_BT: Tensor, valid_BT: Tensor) -> Tensor:
        logits = super().forward(images_BTCHW, days_BT, valid_BT)
        return logits + logits.mean(dim=(-2, -1), keepdim=True)


def test_a_whole_patch_needs_nothing_in_front() -> None:
    network = Pixelwise()
    assert behind(Whole(), network) is network


@pytest.mark.parametrize(
    ("length", "window", "starts"),
    [
        (128, 120, [0, 8]),
        (128, 128, [0]),
        (128, 64, [0, 64]),
        (128, 63, [0, 32, 65]),
        (10, 4, [0, 3, 6]),
    ],
)
def test_windows_are_spaced_evenly(length: int, window: int, starts: list[int]) -> None:
    assert even_starts(length, window) == starts


@given(length=st.integers(1, 300), window=st.integers(1, 300))
def test_as_few_windows_as_can_cover_every_pixel(length: int, window: int) -> None:
    if window > length:
        with pytest.raises(DataError, match="at most"):
            even_starts(length, window)
        return
    starts = even_starts(length, window)
    assert {pixel for start in starts for pixel in range(start, start + window)} == set(range(length))
    assert len(starts) == -(-length // window)


def test_at_evaluation_overlapping_windows_are_averaged() -> None:
    """Each pixel: the mean of the logits of those windows that hold it."""
    series, network = make_series(dates=2, height=14, width=8), Local().eval()
    model = behind(Windows(side=8), network).eval()
    with torch.no_grad():
        got = series.through(model)
        top, bottom = (
            network(series.images_BTCHW[..., rows, :], series.days_BT, series.valid_BT)
            for rows in (slice(0, 8), slice(6, 14))
        )
    expected = torch.cat([top[:, :, :6], (top[:, :, 6:] + bottom[:, :, :2]) / 2, bottom[:, :, 2:]], dim=2)
    torch.testing.assert_close(got, expected)


def test_a_patch_of_128_pixels_takes_four_windows_of_120() -> None:
    network = Pixelwise()
    with torch.no_grad():
        make_series(dates=1, height=128, width=128).through(behind(Windows(side=120), network).eval())
    assert network.sizes == [(120, 120)] * 4


def test_in_training_a_batch_passes_as_it_is_since_it_was_cropped_before() -> None:
    series, network = make_series(height=16, width=16), Local().train()
    model = behind(Windows(side=8), network).train()
    assert torch.equal(series.through(model), series.through(network))
    assert network.sizes == [(16, 16)] * 2


@pytest.mark.parametrize("training", [False, True])
def test_a_resized_patch_is_seen_at_the_side_and_answered_at_its_own_size(training: bool) -> None:
    network = Pixelwise()
    model = behind(Resize(side=24), network).train(training)
    assert make_series(height=32, width=48).through(model).shape == (2, 3, 32, 48)
    assert network.sizes == [(24, 24)]


def test_resizing_there_and_back_leaves_smooth_images_as_they_are() -> None:
    """A network that works pixel by pixel gives what it gives without resizing, borders aside."""
    slope = torch.linspace(-1, 1, 32)
    images = (slope[:, None] + 2 * slope)[None, None, None].repeat(1, 2, 10, 1, 1)
    days, valid = torch.tensor([[1, 2]]), torch.ones(1, 2).bool()
    network = Pixelwise().eval()
    with torch.no_grad():
        got = behind(Resize(side=64), network)(images, days, valid)
        expected = network(images, days, valid)
    inside = (..., slice(2, -2), slice(2, -2))
    torch.testing.assert_close(got[inside], expected[inside], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("policy", [Resize(side=32), Windows(side=16)])
def test_everything_but_the_pixels_is_the_networks_own(policy: InputPolicy) -> None:
    network = Pixelwise()
    model = behind(policy, network)
    model.set_progress(0.25)
    assert isinstance(model, WrappedSegmenter)
    assert network.progress == 0.25
    assert [(group.name, group.lr_ratio) for group in model.parameter_groups()] == [("mine", 0.5)]
    assert model.trainable_parameters == 33


@pytest.mark.parametrize("policy", [Resize(side=32), Windows(side=16)])
def test_padded_dates_full_of_garbage_change_nothing(policy: InputPolicy) -> None:
    config = SMALL_TIMM.model_copy(update={"input": policy})
    assert isinstance(config, Timm)
    model, series = build_model(config, NUM_CLASSES).eval(), make_series(height=24, width=24)
    with torch.no_grad():
        padded = series.with_padding([0, 2]).through(model)
        torch.testing.assert_close(padded, series.through(model), rtol=1e-5, atol=1e-5)
