"""A whole sweep's record, simulated with a known truth: for tests of statistics, figures and pages.

Legend: N patches, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from shapeft_tune.config import Cell, SweepConfig
from shapeft_tune.config.protocol import Role
from shapeft_tune.report import Run
from shapeft_tune.report.counts import PatchCounts
from shapeft_tune.scores import Counts, Scores
from shapeft_tune.tracking import TrialFacts

CLASSES = ("Meadow", "Soft winter wheat", "Corn", "Winter barley", "Grapevine", "Leguminous fodder")
CLASS_SHARES = (0.35, 0.25, 0.2, 0.1, 0.07, 0.03)
PATCHES, PIXELS = 60, 400
SKILL = {"utae": 0.50, "croma_frozen": 0.40, "croma_finetune": 0.53}
"""Share of a class' pixels found at 10 % of the labels and 6 dates."""
HOURS = {"utae": 0.4, "croma_frozen": 0.9, "croma_finetune": 3.5}


@dataclass(frozen=True, eq=False)
class Matrices(PatchCounts):
    """Test patches with their confusion matrices, which a report keeps no more of than it needs."""

    counts_NKK: Counts

    @classmethod
    def keep(cls, ids: Sequence[str], counts_NKK: Counts) -> Matrices:
        """Return what a report reads of the matrices, and these."""
        return cls(**vars(PatchCounts.of(ids, CLASSES, counts_NKK)), counts_NKK=counts_NKK)


def synthetic_sweep(
    strategies: Sequence[str] = tuple(SKILL), seeds: int = 3, trials: int = 6, folds: str = "fixed"
) -> SweepConfig:
    """Return a sweep of up to three strategies at 1, 10 and 100 % of the labels and 1, 6 and 24 dates."""
    croma: dict[str, Any] = {"name": "croma_optical", "size": "small"}
    models: dict[str, Any] = {
        "utae": "utae",
        "croma_frozen": croma | {"tuning": {"mode": "frozen", "weights": "none"}},
        "croma_finetune": croma
        | {"tuning": {"mode": "finetune", "weights": "CROMA_small.pt", "encoder_lr_ratio": 0.1}},
    }
    ratio = {"search": {"model.tuning.encoder_lr_ratio": {"log_uniform": [1e-3, 1]}}}
    return SweepConfig.model_validate(
        {
            "name": "simulated",
            "question": "Does fine-tuning pay, with few labels and with many?",
            "base": {"data": {"dataset": "pastis"}, "training": {"steps": 2000, "optimiser": "adamw"}},
            "settings": {"label_fractions": [0.01, 0.1, 1.0], "temporal_lengths": [1, 6, 24]},
            "strategies": {
                name: {"config": {"model": models[name]}} | (ratio if name == "croma_finetune" else {})
                for name in strategies
            },
            "search": {
                "training.optimiser.lr": {"log_uniform": [1e-4, 1e-2]},
                "training.loss": {"choice": ["cross_entropy", "weighted_cross_entropy"]},
            },
            "budget": {"trials": trials, "confirmation_seeds": seeds},
            "folds": folds,
        }
    )


def synthetic_runs(sweep: SweepConfig, seed: int = 0) -> tuple[Run, ...]:
    """Return every trial of a finished sweep; the same for the same seed."""
    chance = np.random.default_rng(seed)
    return tuple(run for cell in sweep.cells for run in _cell_runs(cell, sweep, chance))


def matrices_of(run: Run) -> Counts | None:
    """Return the confusion matrix of every test patch ``[N, K, K]`` of a simulated trial if it was tested."""
    return run.test_patches.counts_NKK if isinstance(run.test_patches, Matrices) else None


def with_matrices(run: Run, counts_NKK: Counts) -> Run:
    """Return a tested trial with other matrices of the same patches."""
    assert run.test_patches is not None
    patches = Matrices.keep(run.test_patches.ids, counts_NKK)
    return replace(run, test_patches=patches, test_counts_KK=patches.pooled_KK)


def skill_of(strategy: str, label_fraction: float, temporal_length: int) -> float:
    """Return the share of a class' pixels that a strategy finds, by its mean over seeds and patches."""
    more = 0.08 * np.log10(label_fraction / 0.1) + 0.10 * np.log2(temporal_length / 6) / 2
    saves = 0.1 if strategy == "croma_frozen" and label_fraction < 0.1 else 0.0
    return float(np.clip(SKILL[strategy] + more + saves, 0.1, 0.9))


def counts_of_seed(skill: float, hardness_N: np.ndarray, chance: np.random.Generator) -> Counts:
    """Return ``[N, K, K]`` of one training: of every class a share is found, the rest goes to all others."""
    kinds = len(CLASSES)
    counts_NKK = np.zeros((len(hardness_N), kinds, kinds), np.int64)
    for patch, hardness in enumerate(hardness_N):
        pixels_K = chance.multinomial(PIXELS, CLASS_SHARES)
        for kind, pixels in enumerate(pixels_K):
            found = float(np.clip(skill + hardness - 0.05 * kind, 0.02, 0.98))
            shares = np.full(kinds, (1 - found) / (kinds - 1))
            shares[kind] = found
            counts_NKK[patch, kind] = chance.multinomial(pixels, shares)
    return counts_NKK


def _cell_runs(cell: Cell, sweep: SweepConfig, chance: np.random.Generator) -> list[Run]:
    skill = skill_of(cell.strategy, cell.label_fraction, cell.temporal_length)
    best_lr = 10 ** (-3 + 0.3 * np.log10(cell.label_fraction))
    runs = [_search_run(cell, sweep, skill, best_lr, chance, number) for number in range(cell.trials)]
    complete = [run for run in runs if run.state == "complete"]
    best = max(complete, key=lambda run: run.metrics["best/val_miou"])
    hardness_N = np.random.default_rng(5).normal(0, 0.08, PATCHES)  # of patches: the same for every cell
    for seed in range(1, sweep.budget.confirmation_seeds + 1):
        effect = chance.normal(0, 0.02)
        for rotation in range(cell.rotations):
            counts_NKK = counts_of_seed(skill + effect, hardness_N, chance)
            runs.append(_confirmation(cell, sweep, best, seed, rotation, counts_NKK, chance))
    return runs


def _search_run(
    cell: Cell, sweep: SweepConfig, skill: float, best_lr: float, chance: np.random.Generator, number: int
) -> Run:
    sampled: dict[str, Any] = {
        "training.optimiser.lr": float(10 ** chance.uniform(-4, -2)),
        "training.loss": str(chance.choice(["cross_entropy", "weighted_cross_entropy"])),
    }
    if cell.strategy == "croma_finetune":
        sampled["model.tuning.encoder_lr_ratio"] = float(10 ** chance.uniform(-3, 0))
    off = abs(np.log10(sampled["training.optimiser.lr"] / best_lr))
    weighted = 0.01 if sampled["training.loss"] == "weighted_cross_entropy" else 0.0
    score = float(np.clip(skill - 0.1 * off + weighted - 0.12 + chance.normal(0, 0.01), 0.01, 0.99))
    state = "complete" if number < 2 or chance.random() < 0.7 else "pruned"
    share = 1.0 if state == "complete" else 0.4
    metrics = _costs(cell, share, chance) | {"best/val_miou": score, "best/step": 1800.0 * share}
    return _run(cell, sweep, sampled, 0, 0, state, metrics, None)


def _confirmation(
    cell: Cell,
    sweep: SweepConfig,
    best: Run,
    seed: int,
    rotation: int,
    counts_NKK: Counts,
    chance: np.random.Generator,
) -> Run:
    scores = Scores.of(counts_NKK.sum(axis=0))
    metrics = {f"test/{name}": float(value) for name, value in scores.summary().items()}
    metrics |= {f"test/iou/{name}": iou for name, iou in zip(CLASSES, scores.iou, strict=True) if iou}
    ids = tuple(str(100 * rotation + number) for number in range(len(counts_NKK)))
    patches = Matrices.keep(ids, counts_NKK)
    return _run(
        cell,
        sweep,
        best.facts.sampled,
        seed,
        rotation,
        "complete",
        metrics | _costs(cell, 1, chance),
        patches,
    )


def _costs(cell: Cell, share: float, chance: np.random.Generator) -> dict[str, float]:
    seconds = (
        3600 * HOURS[cell.strategy] * share * (0.5 + cell.temporal_length / 12) * chance.uniform(0.9, 1.1)
    )
    return {
        "cost/seconds": seconds,
        "cost/device_seconds": seconds,
        "cost/steps": 2000.0 * share,
        "cost/trainable_parameters": 1.1e6 if cell.strategy == "utae" else 9.5e6,
        "cost/retries": 0.0,
    }


def _run(
    cell: Cell,
    sweep: SweepConfig,
    sampled: Any,
    seed: int,
    rotation: int,
    state: str,
    metrics: dict[str, float],
    patches: PatchCounts | None,
) -> Run:
    trial = cell.trial(sampled, seed, rotation)
    facts = TrialFacts(
        sweep=sweep.name,
        strategy=cell.strategy,
        label_fraction=cell.label_fraction,
        temporal_length=cell.temporal_length,
        role=Role.CONFIRMATION if seed else Role.SEARCH,
        seed=seed,
        fingerprint=trial.fingerprint(),
        config=trial.canonical(),
        sampled=sampled,
        origin="" if seed else "sampler",
    )
    pooled = None if patches is None else patches.pooled_KK
    return Run(facts, state, metrics, ("miou", 1), pooled, patches)
