from __future__ import annotations

import itertools
import math

import pytest
import torch

from shapeft_tune.config.training import AdamW, Cosine, MultiStep, Sgd
from shapeft_tune.models import ParameterGroup, Segmenter
from shapeft_tune.train.optimiser import build_optimiser, schedule_factor, set_learning_rate


class TwoRates(Segmenter):
    """A decoder, and an encoder with a table of positions that learns at a tenth of its rate."""

    def __init__(self) -> None:
        super().__init__()
        self.decoder, self.encoder = torch.nn.Linear(3, 2), torch.nn.Linear(2, 2)
        self.positions = torch.nn.Parameter(torch.ones(4, 2))

    def forward(self, *series: torch.Tensor) -> torch.Tensor:
        raise NotImplementedError

    def parameter_groups(self) -> list[ParameterGroup]:
        return [
            ParameterGroup("decoder", tuple(self.decoder.parameters()), 1.0),
            ParameterGroup("encoder", (*self.encoder.parameters(), self.positions), 0.1),
        ]


def test_the_encoder_gets_its_ratio_of_the_learning_rate_at_every_step() -> None:
    optimiser = build_optimiser(AdamW(lr=0.01), TwoRates())
    set_learning_rate(optimiser, 0.004)
    rates = {group["name"]: group["lr"] for group in optimiser.param_groups}
    assert rates == {"decoder": 0.004, "encoder": pytest.approx(0.0004)}


@pytest.mark.parametrize(
    ("config", "kind"),
    [(AdamW(weight_decay=0.3), torch.optim.AdamW), (Sgd(weight_decay=0.3), torch.optim.SGD)],
)
def test_weights_of_layers_are_decayed_and_biases_and_positions_are_not(
    config: AdamW | Sgd, kind: type
) -> None:
    model = TwoRates()
    optimiser = build_optimiser(config, model)
    assert isinstance(optimiser, kind)
    decay = {id(each): group["weight_decay"] for group in optimiser.param_groups for each in group["params"]}
    assert {name: decay[id(each)] for name, each in model.named_parameters()} == {
        "decoder.weight": 0.3,
        "decoder.bias": 0.0,
        "encoder.weight": 0.3,
        "encoder.bias": 0.0,
        "positions": 0.0,
    }


def test_cosine_rises_linearly_and_falls_along_half_a_cosine() -> None:
    schedule, steps = Cosine(warmup=0.1, final_ratio=0.02), 100
    factors = [schedule_factor(schedule, step, steps) for step in range(steps)]
    rising = factors[:10]
    assert [b - a for a, b in itertools.pairwise(rising)] == pytest.approx([rising[0]] * 9)
    assert factors[10] == pytest.approx(1.0)
    assert factors[55] == pytest.approx(0.02 + 0.98 * 0.5)
    assert factors[99] == pytest.approx(0.02 + 0.98 * (1 + math.cos(math.pi * 89 / 90)) / 2)
    assert factors[10:] == sorted(factors[10:], reverse=True)


def test_multi_step_agrees_with_torchs_scheduler() -> None:
    schedule, steps = MultiStep(milestones=(0.6, 0.9), gamma=0.1), 50
    reference_optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    reference = torch.optim.lr_scheduler.MultiStepLR(reference_optimiser, [30, 45], gamma=0.1)
    for step in range(steps):
        assert schedule_factor(schedule, step, steps) == pytest.approx(reference.get_last_lr()[0])
        reference_optimiser.step()
        reference.step()


def test_without_warm_up_the_first_step_has_the_full_rate() -> None:
    assert schedule_factor(Cosine(warmup=0.0), 0, 10) == 1.0
