"""Every number of a comparison against an independent computation; see ``independent.py``."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from shapeft_tune.config import SweepConfig
from shapeft_tune.report import Comparison, Run, compare
from tests.report.independent import Place, Tested, check, miou
from tests.report.synthetic import CLASSES, matrices_of, synthetic_runs, synthetic_sweep


@pytest.fixture(scope="module")
def sweep() -> SweepConfig:
    whole = synthetic_sweep()
    fields = {name: getattr(whole, name) for name in type(whole).model_fields}
    settings = {"label_fractions": [0.1, 1.0], "temporal_lengths": [6]}
    return SweepConfig.model_validate(fields | {"settings": settings})


@pytest.fixture(scope="module")
def runs(sweep: SweepConfig) -> tuple[Run, ...]:
    return synthetic_runs(sweep)


@pytest.fixture(scope="module")
def comparison(sweep: SweepConfig, runs: tuple[Run, ...]) -> Comparison:
    return compare(sweep, runs)


@pytest.fixture(scope="module")
def tested(runs: tuple[Run, ...]) -> dict[Place, Tested]:
    found: dict[Place, Tested] = {}
    for run in runs:
        facts, patches, counts_NKK = run.facts, run.test_patches, matrices_of(run)
        if patches is None or counts_NKK is None:
            continue
        place = facts.strategy, facts.label_fraction, facts.temporal_length
        order = np.argsort(np.array(patches.ids))
        seeds = dict(found[place].counts_by_seed) if place in found else {}
        found[place] = Tested(seeds | {facts.seed: counts_NKK[order]}, CLASSES)
    return found


def test_every_number_is_that_of_an_independent_computation(
    comparison: Comparison, tested: dict[Place, Tested]
) -> None:
    assert check(comparison, tested) == 6
    assert {each.verdict for each in comparison.differences} >= {"worse", "not told apart"}


def test_the_lands_part_of_the_uncertainty_is_that_of_scipys_bootstrap(
    comparison: Comparison, tested: dict[Place, Tested]
) -> None:
    for place, cell in tested.items():
        scored = comparison.cell(*place).scored
        assert scored is not None
        counts = np.stack([cell.counts_by_seed[seed] for seed in scored.seeds])

        def mean_over_seeds(patches: np.ndarray, counts: np.ndarray = counts) -> float:
            return float(np.mean([miou(each[patches].sum(axis=0)) for each in counts]))

        found = stats.bootstrap(
            (np.arange(counts.shape[1]),), mean_over_seeds, n_resamples=1500, vectorized=False, rng=1
        )
        own = scored.replicates.miou_BS.mean(axis=1).std(ddof=1)
        assert own == pytest.approx(found.standard_error, rel=0.08)


def test_hours_steps_and_parameters_are_those_of_the_trials(
    comparison: Comparison, runs: tuple[Run, ...]
) -> None:
    for cell in comparison.cells:
        here = [
            run
            for run in runs
            if (run.facts.strategy, run.facts.label_fraction) == (cell.strategy, cell.label_fraction)
        ]
        seconds = [run.metrics["cost/device_seconds"] for run in here]
        confirmed = [run.metrics["cost/device_seconds"] for run in here if run.facts.seed]
        assert cell.device_hours == pytest.approx(sum(seconds) / 3600)
        assert cell.training_device_hours == pytest.approx(np.mean(confirmed) / 3600)
        assert (cell.steps, cell.trainable_parameters) == (
            2000,
            1_100_000 if cell.strategy == "utae" else 9_500_000,
        )
