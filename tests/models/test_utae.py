"""U-TAE against a plain restatement that takes one valid frame at a time."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from shapeft_tune.config.models import Utae
from shapeft_tune.errors import DataError
from shapeft_tune.models import build_model
from tests.models.reference_ltae import reference_ltae
from tests.models.small_models import NUM_CLASSES, SMALL_UTAE, make_series, randomise

Weights = dict[str, Tensor]


def below(weights: Weights, prefix: str) -> Weights:
    return {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}


def conv_norm_relu(maps: Tensor, weights: Weights, prefix: str, stride: int = 1) -> Tensor:
    part = below(weights, prefix)
    padded = functional.pad(maps, (1, 1, 1, 1), mode="reflect")
    return norm_relu(functional.conv2d(padded, part["0.weight"], part["0.bias"], stride), part)


def norm_relu(maps: Tensor, part: Weights) -> Tensor:
    if "1.running_mean" in part:
        statistics = part["1.running_mean"], part["1.running_var"]
        return functional.relu(functional.batch_norm(maps, *statistics, part["1.weight"], part["1.bias"]))
    return functional.relu(functional.group_norm(maps, 4, part["1.weight"], part["1.bias"]))


def encode_frame(weights: Weights, frame_CHW: Tensor, levels: int) -> list[Tensor]:
    fine = conv_norm_relu(frame_CHW[None], weights, "stem.0.")
    maps = [conv_norm_relu(fine, weights, "stem.1.")]
    for level in range(levels - 1):
        shrunk = conv_norm_relu(maps[-1], weights, f"downs.{level}.shrink.", stride=2)
        widened = conv_norm_relu(shrunk, weights, f"downs.{level}.widen.")
        maps.append(widened + conv_norm_relu(widened, weights, f"downs.{level}.refine."))
    return maps


def reference_utae(weights: Weights, config: Utae, frames_TCHW: Tensor, days_T: Tensor) -> Tensor:
    """Return the logits [K, H, W] of one series without padding."""
    levels = len(config.encoder_widths)
    encoded = [encode_frame(weights, frame, levels) for frame in frames_TCHW]
    bottom_TCHW = torch.cat([maps[-1] for maps in encoded])
    fused, attention_ThHW = reference_ltae(
        below(weights, "temporal."), bottom_TCHW, days_T, config.heads, dates=True
    )
    current = fused[None]
    for step, level in enumerate(range(levels - 2, -1, -1)):
        skip_TCHW = torch.cat([maps[level] for maps in encoded])
        mask_ThHW = functional.interpolate(attention_ThHW, skip_TCHW.shape[-2:], mode="bilinear")
        groups = [
            sum(mask_ThHW[date, head] * group[date] for date in range(len(days_T)))
            for head, group in enumerate(skip_TCHW.chunk(config.heads, dim=1))
        ]
        up, skip_conv = below(weights, f"ups.{step}.enlarge."), below(weights, f"ups.{step}.skip.")
        skip = functional.conv2d(torch.cat(groups)[None], skip_conv["0.weight"], skip_conv["0.bias"])
        larger = functional.conv_transpose2d(current, up["0.weight"], up["0.bias"], stride=2, padding=1)
        joined = torch.cat([norm_relu(larger, up), norm_relu(skip, skip_conv)], dim=1)
        current = conv_norm_relu(joined, weights, f"ups.{step}.join.")
        current = current + conv_norm_relu(current, weights, f"ups.{step}.refine.")
    return conv_norm_relu(conv_norm_relu(current, weights, "head.0."), weights, "head.1.")[0]


def test_logits_equal_a_frame_by_frame_restatement_on_valid_dates_only() -> None:
    torch.manual_seed(4)
    model = build_model(SMALL_UTAE, NUM_CLASSES).eval()
    randomise(model)
    with torch.no_grad():
        model.get_parameter("temporal.query_hk").mul_(30)  # sharp attention, different at every pixel
    series = make_series(dates=3, height=16, width=24).without_date(patch=1, date=0)
    with torch.no_grad():
        logits_BKHW = series.through(model)
        for patch, valid_T in enumerate(series.valid_BT):
            expected_KHW = reference_utae(
                model.state_dict(),
                SMALL_UTAE,
                series.images_BTCHW[patch, valid_T],
                series.days_BT[patch, valid_T],
            )
            assert expected_KHW.std() > 0.01  # the ReLU at the end has not silenced the comparison
            torch.testing.assert_close(logits_BKHW[patch], expected_KHW, rtol=1e-4, atol=1e-5)


def test_default_settings_have_the_size_of_the_published_network() -> None:
    # 1 087 260 in the original, of which the 64 biases of the keys cancel in the softmax and are left out.
    assert build_model(Utae(), 20).trainable_parameters == 1_087_260 - 64


@pytest.mark.parametrize("side", [12, 8])
def test_patches_that_do_not_fit_the_levels_are_refused(side: int) -> None:
    with pytest.raises(DataError, match=rf"{side} x {side} px .* multiples of 8 and at least 16 px"):
        make_series(dates=1, height=side, width=side).through(build_model(Utae(), NUM_CLASSES))
