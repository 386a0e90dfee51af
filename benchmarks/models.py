"""Times of every model, in one table: ``python -m benchmarks.models [--threads N] [--quick]``.

Prints Markdown. All models take turns in every round, forward passes first, training steps after them, so
that a busy machine slows all of them alike; the table has the medians, and ratios to the plain U-TAE of the
same run. On a CPU the CPU time counts, on a GPU the time until the device is done. Weights are random: no
file is needed.

Shape suffixes: B batch, T dates, C bands, H W pixels, K classes.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from pydantic import BaseModel
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.plain_utae import PlainUtae
from shapeft_tune.config.bands import Sensor, bands_of
from shapeft_tune.config.inputs import Windows
from shapeft_tune.config.models import ModelConfig, Utae
from shapeft_tune.models import build_model
from shapeft_tune.train.device import Compute, choose_compute

CLASSES = 20
PLAIN = "utae, written plainly"
FROZEN = {"mode": "frozen", "weights": "none"}
FINETUNE = {"mode": "finetune", "weights": "none"}
LINEAR = {"name": "linear"}
CASES: dict[str, dict[str, Any]] = {
    "utae": {"name": "utae"},
    "croma_optical base, frozen": {"name": "croma_optical", "tuning": FROZEN},
    "croma_optical base, frozen, linear head": {"name": "croma_optical", "tuning": FROZEN, "decoder": LINEAR},
    "croma_optical base": {"name": "croma_optical", "tuning": FINETUNE},
    "croma_joint base, frozen": {"name": "croma_joint", "tuning": FROZEN},
    "ssl4eo_vit": {"name": "ssl4eo_vit", "tuning": FINETUNE},
    "ssl4eo_vit, resized to 224": {
        "name": "ssl4eo_vit",
        "tuning": FINETUNE,
        "input": {"name": "resize", "side": 224},
    },
    "galileo nano, frozen": {"name": "galileo", "size": "nano", "tuning": FROZEN},
    "galileo nano, frozen, windows of 32": {
        "name": "galileo",
        "size": "nano",
        "tuning": FROZEN,
        "input": {"name": "windows", "side": 32},
    },
    "galileo nano, linear head": {"name": "galileo", "size": "nano", "tuning": FINETUNE, "decoder": LINEAR},
    "timm:resnet18": {"name": "timm:resnet18", "tuning": FINETUNE},
}
"""What is measured, as it stands under ``model`` in a trial's settings; the best precision of the machine."""


class Settings(BaseModel):
    """The part of a trial's settings that names its model."""

    model: ModelConfig


@dataclass(frozen=True)
class Series:
    """A batch of random series."""

    images_BTCHW: Tensor
    days_BT: Tensor
    valid_BT: Tensor
    labels_BHW: Tensor

    def cropped(self, side: int) -> Series:
        """Return its upper left corner, as a trial on windows is trained on a crop."""
        return Series(
            self.images_BTCHW[..., :side, :side],
            self.days_BT,
            self.valid_BT,
            self.labels_BHW[..., :side, :side],
        )


@dataclass
class Case:
    """One row of the table: a network, its arithmetic, and the seconds that it took."""

    name: str
    network: nn.Module
    series: Series
    training: Series
    """What a training step sees: a crop of the series where the model sees windows."""
    compute: Compute
    seconds: dict[str, list[float]] = field(default_factory=dict)

    def forward(self) -> None:
        """Predict, without gradients."""
        self.network.eval()
        with torch.no_grad():
            self._logits(self.series)

    def step(self) -> None:
        """Do one training step's forward and backward pass; the optimiser's part is the same for all."""
        self.network.train()
        loss = functional.cross_entropy(self._logits(self.training).float(), self.training.labels_BHW)
        loss.backward()  # type: ignore[no-untyped-call]
        self.network.zero_grad(set_to_none=True)

    def _logits(self, series: Series) -> Tensor:
        mask = () if isinstance(self.network, PlainUtae) else (series.valid_BT,)
        with self.compute.arithmetic():
            return self.network(series.images_BTCHW, series.days_BT, *mask)  # type: ignore[no-any-return]

    def median(self, what: str) -> float:
        """Return the median of the rounds, the first one left out: it is slower."""
        rounds = self.seconds[what]
        return statistics.median(rounds[1:] or rounds)


def make_series(
    sensors: tuple[Sensor, ...], dates: int, side: int, batch: int, device: torch.device
) -> Series:
    """Return random series without padding."""
    generator = torch.Generator().manual_seed(1)
    images_BTCHW = torch.randn(batch, dates, len(bands_of(sensors)), side, side, generator=generator)
    days_BT = torch.arange(dates).expand(batch, dates) * (360 // dates)
    labels_BHW = torch.randint(0, CLASSES, (batch, side, side), generator=generator)
    return Series(
        images_BTCHW.to(device),
        days_BT.to(device),
        torch.ones(batch, dates, dtype=torch.bool, device=device),
        labels_BHW.to(device),
    )


def make_cases(only: str, dates: int, side: int, batch: int) -> Iterator[Case]:
    """Yield the plain U-TAE and those whose name contains ``only``; U-TAE in fp32 too, to compare with."""
    best, exact = choose_compute("auto"), choose_compute("fp32")

    def case(name: str, network: nn.Module, config: ModelConfig, compute: Compute) -> Case:
        series = make_series(config.sensors, dates, side, batch, compute.device)
        crop = config.input.side if isinstance(config.input, Windows) else side
        return Case(name, network.to(compute.device), series, series.cropped(crop), compute)

    yield case(PLAIN, PlainUtae(Utae(), CLASSES), Utae(), exact)
    if best.bf16 and "utae".startswith(only):
        yield case("utae", build_model(Utae(), CLASSES), Utae(), exact)
    for name, settings in CASES.items():
        if only in name:
            config = Settings.model_validate({"model": settings}).model
            yield case(name, build_model(config, CLASSES), config, best)


def measure(cases: list[Case], what: str, rounds: int) -> None:
    """Let all cases take turns, ``rounds`` times, and note their seconds."""
    for _ in range(rounds):
        for case in cases:
            run: Callable[[], None] = getattr(case, what)
            wall, cpu = _seconds(run, case.compute.device)
            case.seconds.setdefault(f"{what} wall", []).append(wall)
            case.seconds.setdefault(f"{what} cpu", []).append(cpu)


def _seconds(run: Callable[[], None], device: torch.device) -> tuple[float, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    run()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - wall, time.process_time() - cpu


def table(cases: list[Case]) -> str:
    """Return the medians in Markdown."""
    clock = "wall" if cases[0].compute.device.type == "cuda" else "cpu"
    lines = [
        "| model | precision | trained | forward s | CPU s | to plain | step s | CPU s | to plain |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for case in cases:
        trained = sum(value.numel() for value in case.network.parameters() if value.requires_grad)
        cells = [case.name, case.compute.precision, f"{trained / 1e6:.2f} M"]
        for what in ("forward", "step"):
            ratio = case.median(f"{what} {clock}") / cases[0].median(f"{what} {clock}")
            cells += [f"{case.median(f'{what} {kind}'):.3f}" for kind in ("wall", "cpu")] + [f"{ratio:.2f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.models", description=__doc__)
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of each model; default 1")
    parser.add_argument("--dates", type=int, default=6)
    parser.add_argument("--side", type=int, default=128, help="pixels along one side of a patch")
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=6, help="the first is not counted")
    parser.add_argument("--only", default="", help="only those whose name contains this, and plain U-TAE")
    parser.add_argument("--quick", action="store_true", help="two rounds on small series: does it run at all")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    dates, side, batch, rounds = options.dates, options.side, options.batch, options.rounds
    if options.quick:
        dates, side, batch, rounds = 2, 64, 1, 2
    cases = list(make_cases(options.only, dates, side, batch))
    for what in ("forward", "step"):
        measure(cases, what, rounds)
    print(
        f"\nT = {dates}, {side} px, batch {batch}, {options.threads} thread(s), {rounds - 1} counted rounds\n"
    )
    print(table(cases))


if __name__ == "__main__":
    main()
