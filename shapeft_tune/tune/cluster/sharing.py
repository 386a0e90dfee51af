"""Measuring how many trials may share a GPU, for strategies that leave it open (``gpu: auto``).

Of each strategy and number of dates, the most demanding trials run for a few steps and a batch of validation
on a whole GPU (``peaks.py``). The share is 1/k, where k is how many of them one GPU has room for.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from shapeft_tune.atomic import write_atomically
from shapeft_tune.config.cell import Cell
from shapeft_tune.config.corners import corner_values
from shapeft_tune.config.resources import CONTEXT_BYTES
from shapeft_tune.config.trial import TrialConfig

if TYPE_CHECKING:
    from shapeft_tune.tune.preflight import Tell

MOST_SHARING = 8
"""Trials on one GPU: more of them wait for each other's kernels and for the CPU."""
MARGIN = 1.15
"""Over what was measured: batches differ, and memory falls into pieces over a long trial."""
MOST_TRIED = 4
"""Trials of one strategy and number of dates that are measured."""
FILE = Path("measured") / "shares.json"
"""Inside the sweep's folder."""


@dataclass(frozen=True)
class Gpus:
    """What the cluster's nodes with GPUs have."""

    name: str
    """Kind of GPU; several are joined by ``+``."""
    cpus_for_each: float
    """CPU cores per GPU, of the node that has the fewest."""


@dataclass(frozen=True)
class Peak:
    """What the most demanding trial took of a GPU, in bytes."""

    reserved: int
    """The most that PyTorch held at once."""
    total: int
    """All that the GPU has."""


Measure = Callable[[Sequence[tuple[TrialConfig, ...]]], Sequence[Peak | None]]
"""Measures groups of trials on a whole GPU each; None for a group that could not be measured."""


@dataclass(frozen=True)
class _Kind:
    """Cells whose trials take the same memory, but for the labelled patches that stay on the GPU."""

    cells: tuple[Cell, ...]
    gpu: str

    @property
    def name(self) -> str:
        first = self.cells[0]
        return f"{first.strategy}, {first.temporal_length} date{'s' if first.temporal_length > 1 else ''}"

    @property
    def trials(self) -> tuple[TrialConfig, ...]:
        return demanding(max(self.cells, key=lambda cell: cell.label_fraction))

    @property
    def key(self) -> str:
        """What a measurement is kept under: strategy, dates, what was measured, and on what."""
        first = self.cells[0]
        prints = ",".join(trial.fingerprint() for trial in self.trials)
        digest = hashlib.sha256(prints.encode()).hexdigest()[:16]
        return f"{first.strategy}/dates={first.temporal_length}/{digest}/{self.gpu}"


def shares_of(
    cells: Iterable[Cell], gpus: Gpus | None, folder: Path, measure: Measure, tell: Tell
) -> dict[str, float]:
    """Return the share of a GPU by the key of each cell that leaves it open.

    What was measured before is read from the sweep's folder. What could not be measured gets whole GPUs.

    Args:
        cells: that have trials to run; those with a share of their own are passed over.
        gpus: of the cluster; None where it has none, and trials compute on CPUs.
        folder: the sweep's.
        measure: runs trials on GPUs.
        tell: told every share.
    """
    open_cells = [cell for cell in cells if cell.resources.gpu == "auto"]
    if not open_cells:
        return {}
    if gpus is None:
        strategies = ", ".join(dict.fromkeys(cell.strategy for cell in open_cells))
        tell(f"gpu: auto: there is no GPU in the cluster; trials of {strategies} compute on the CPU")
        return {cell.key: 0.0 for cell in open_cells}
    kinds = _kinds(open_cells, gpus.name)
    peaks = _measured(kinds, folder / FILE, measure, tell)
    shares: dict[str, float] = {}
    for kind in kinds:
        peak = peaks.get(kind.key)
        share = share_of(peak, kind.cells[0].resources.cpu, gpus.cpus_for_each) if peak else 1.0
        tell(_sentence(kind, peak, share))
        shares |= {cell.key: share for cell in kind.cells}
    return shares


def kept_shares(cells: Iterable[Cell], folder: Path, cpus_for_each: float) -> dict[str, float]:
    """Return the shares that follow from what was measured before, by cell; of others nothing is said.

    Where kinds of GPUs were measured, the one of which a trial needs the largest share counts.

    Args:
        cells: those with a share of their own are passed over.
        folder: the sweep's.
        cpus_for_each: CPU cores per GPU.
    """
    peaks = _kept(folder / FILE)
    shares: dict[str, float] = {}
    for kind in _kinds([cell for cell in cells if cell.resources.gpu == "auto"], gpu="") if peaks else ():
        measured = [peak for key, peak in peaks.items() if key.startswith(kind.key)]
        cpu = kind.cells[0].resources.cpu
        if measured:
            share = max(share_of(peak, cpu, cpus_for_each) for peak in measured)
            shares |= {cell.key: share for cell in kind.cells}
    return shares


def share_of(peak: Peak, cpu: float, cpus_for_each: float) -> float:
    """Return the share of a GPU for trials that take so much: 1/k with the largest k that fits, or 1.

    Args:
        peak: what was measured.
        cpu: cores that each trial takes.
        cpus_for_each: cores per GPU: with more trials than there are cores for, part of the GPU lies idle.
    """
    needed = peak.reserved * MARGIN + CONTEXT_BYTES
    most = min(MOST_SHARING, math.floor(peak.total / needed), math.floor(cpus_for_each / cpu + 1e-9))
    return 1 / max(most, 1)


def demanding(cell: Cell) -> tuple[TrialConfig, ...]:
    """Return the trials of a cell that may take the most memory, the largest batches first.

    They come from the corners of its ranges: of each network the trial with the most pixels in a batch. Where
    there are more networks than are tried, those with larger numbers in their configuration go first: a
    guess.
    """
    by_network: dict[str, TrialConfig] = {}
    for values in corner_values(cell):
        try:
            trial = cell.trial(values)
        except ValidationError:
            continue
        network = trial.model.model_dump_json()
        if network not in by_network or _load(trial) > _load(by_network[network]):
            by_network[network] = trial
    ranked = sorted(by_network.values(), key=lambda trial: (*_load(trial), _width(trial)), reverse=True)
    return tuple(ranked[:MOST_TRIED])


def _load(trial: TrialConfig) -> tuple[float, int]:
    """Return the pixels of a batch, then its patches; whole patches are more than any crops."""
    crop, patches = trial.data.augmentation.crop, trial.training.batch_size
    return patches * crop**2 if crop else math.inf, patches


def _width(trial: TrialConfig) -> float:
    return sum(_numbers(trial.model.model_dump(mode="json")))


def _numbers(value: object) -> Iterable[float]:
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list):
        for each in value:
            yield from _numbers(each)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield value


def _kinds(cells: Iterable[Cell], gpu: str) -> list[_Kind]:
    grouped: dict[tuple[str, int], list[Cell]] = {}
    for cell in cells:
        grouped.setdefault((cell.strategy, cell.temporal_length), []).append(cell)
    return [_Kind(tuple(group), gpu) for group in grouped.values()]


def _measured(kinds: Iterable[_Kind], file: Path, measure: Measure, tell: Tell) -> dict[str, Peak]:
    """Return the peak of each kind by its key: what is kept in the file, and what is measured now."""
    peaks = _kept(file)
    missing = {kind.key: kind for kind in kinds if kind.key not in peaks}
    if not missing:
        return peaks
    tell(f"gpu: auto: measuring {', '.join(kind.name for kind in missing.values())}")
    now = measure([kind.trials for kind in missing.values()])
    peaks |= {key: peak for key, peak in zip(missing, now, strict=True) if peak}
    file.parent.mkdir(parents=True, exist_ok=True)
    content = {key: asdict(peak) for key, peak in peaks.items()}
    write_atomically(file, json.dumps(content, indent=1).encode())
    return peaks


def _kept(file: Path) -> dict[str, Peak]:
    if not file.exists():
        return {}
    content = json.loads(file.read_text(encoding="utf-8"))
    return {key: Peak(**peak) for key, peak in content.items()}


def _sentence(kind: _Kind, peak: Peak | None, share: float) -> str:
    got = "a whole GPU" if share == 1 else f"1/{round(1 / share)} of a GPU"
    if peak is None:
        return f"gpu: auto: {kind.name}: could not be measured; each trial gets {got}"
    took = f"took {peak.reserved / 2**30:.1f} of {peak.total / 2**30:.0f} GiB"
    return f"gpu: auto: {kind.name}: {took}; each trial gets {got}"
