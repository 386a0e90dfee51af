"""From the bands of a series to those of an encoder."""

from __future__ import annotations

import pytest
import torch

from shapeft_tune.errors import UserError
from shapeft_tune.models.bands import ZERO, BandAdapter


def test_bands_come_in_the_encoders_order_with_stand_ins_and_zeros() -> None:
    adapter = BandAdapter(("B4", "B1", "B10", "B2"), ("B2", "B4"), {"B1": "B2", "B10": ZERO})
    images_NCHW = torch.tensor([2.0, 4.0]).view(1, 2, 1, 1).expand(1, 2, 3, 3)
    assert adapter(images_NCHW)[0, :, 0, 0].tolist() == [4.0, 2.0, 0.0, 2.0]


@pytest.mark.parametrize("fill", [{}, {"VV": "B11"}])
def test_a_band_that_nothing_can_stand_in_for_is_refused(fill: dict[str, str]) -> None:
    with pytest.raises(UserError, match=r"nothing can stand in for \['VV'\]"):
        BandAdapter(("B2", "VV"), ("B2", "B4"), fill)
