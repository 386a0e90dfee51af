"""Optuna's samplers and pruners, as a sweep file names them."""

from __future__ import annotations

import hashlib
import warnings

from optuna.exceptions import ExperimentalWarning
from optuna.pruners import (
    BasePruner,
    HyperbandPruner,
    MedianPruner,
    NopPruner,
    PatientPruner,
    SuccessiveHalvingPruner,
)
from optuna.samplers import BaseSampler, CmaEsSampler, GPSampler, QMCSampler, RandomSampler, TPESampler

from shapeft_tune.config.optimisation import (
    CmaEs,
    GaussianProcess,
    Grid,
    Hyperband,
    Median,
    NoPruner,
    Patience,
    QuasiRandom,
    Random,
    Search,
    SuccessiveHalving,
    Tpe,
)

warnings.filterwarnings("ignore", category=ExperimentalWarning)  # Optuna's word for QMC and grouped TPE

SLOW = (GaussianProcess,)
"""Samplers that think for seconds: they are asked in a thread, so that other cells need not wait."""


def sampler_of(search: Search, cell_key: str, number: int, *, conditional: bool) -> BaseSampler:
    """Return a sampler whose draws depend on the trial's number, not on what this driver drew before.

    So a sweep that was interrupted draws what an undisturbed one would have drawn. A quasi-random sequence is
    counted in the storage, so it has one seed for each cell.

    Args:
        search: what the file says.
        cell_key: the cell's name.
        number: of the trial within its study.
        conditional: whether some fields are searched only beside certain values of others.
    """
    seed = _seed(f"{search.seed}:{cell_key}:{number}")
    match search.sampler:
        case Random() | Grid():  # a grid's combinations are listed by the space, without a sampler
            return RandomSampler(seed=seed)
        case QuasiRandom(sequence=sequence):
            fixed = _seed(f"{search.seed}:{cell_key}")
            independent = RandomSampler(seed=seed)
            return QMCSampler(
                qmc_type=sequence,
                scramble=True,
                seed=fixed,
                independent_sampler=independent,
                warn_independent_sampling=False,
            )
        case GaussianProcess(startup_trials=startup, deterministic=deterministic):
            return GPSampler(
                seed=seed,
                n_startup_trials=startup,
                deterministic_objective=deterministic,
                warn_independent_sampling=False,
            )
        case CmaEs(startup_trials=startup, population=population):
            return CmaEsSampler(
                seed=seed, n_startup_trials=startup, popsize=population, warn_independent_sampling=False
            )
        case Tpe(startup_trials=startup, candidates=candidates):
            return TPESampler(
                seed=seed,
                n_startup_trials=startup,
                n_ei_candidates=candidates,
                multivariate=True,
                group=conditional,
                constant_liar=True,
            )


def pruner_of(search: Search) -> BasePruner:
    """Return the pruner, which compares within a cell at equal steps."""
    match search.stopping:
        case NoPruner():
            return NopPruner()
        case Median(startup_trials=startup, warmup_steps=warmup):
            return MedianPruner(n_startup_trials=startup, n_warmup_steps=warmup)
        case SuccessiveHalving(min_steps=least, reduction=reduction):
            return SuccessiveHalvingPruner(min_resource=least, reduction_factor=reduction)
        case Hyperband(min_steps=least, reduction=reduction):
            return HyperbandPruner(min_resource=least, reduction_factor=reduction)
        case Patience(validations=validations, tolerance=tolerance):
            return PatientPruner(None, patience=validations, min_delta=tolerance)


def _seed(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4])
