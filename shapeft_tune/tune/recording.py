"""What the record is told of a trial of the ledger."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING
from zipfile import BadZipFile

from shapeft_tune.config.protocol import Role
from shapeft_tune.errors import TrialError
from shapeft_tune.scores import CONFUSION_FILE, Counts, pooled_test_counts
from shapeft_tune.tracking import Ending, TrialEnd, TrialFacts
from shapeft_tune.tune.ledger.trials import LedgerTrial, State

if TYPE_CHECKING:
    from shapeft_tune.tune.preflight import Contents

logger = logging.getLogger(__name__)

ENVIRONMENT_FILE = "environment.json"
ARTIFACTS = ("labels.json", "result.json", ENVIRONMENT_FILE, CONFUSION_FILE)


def facts_of(sweep: str, trial: LedgerTrial, contents: Contents | None = None) -> TrialFacts:
    """Return what is known of a trial before it starts.

    Args:
        sweep: its name.
        trial: as the ledger has it.
        contents: what data and weights amount to, where that was looked at.
    """
    return TrialFacts(
        sweep=sweep,
        strategy=trial.cell.strategy,
        label_fraction=trial.cell.label_fraction,
        temporal_length=trial.cell.temporal_length,
        role=trial.role,
        seed=trial.config.seed,
        fingerprint=trial.fingerprint,
        config=trial.config.canonical(),
        sampled=trial.sampled,
        origin=trial.origin if trial.role is Role.SEARCH else "",
        data_digest=contents.data if contents else "",
        contents=contents.by_strategy.get(trial.cell.strategy, {}) if contents else {},
    )


def end_of(trial: LedgerTrial, state: State, message: str, folder: Path) -> TrialEnd:
    """Return what a trial came to.

    Args:
        trial: as the ledger has it.
        state: how it ended.
        message: why it failed.
        folder: its own.
    """
    from shapeft_tune.train import TrialResult  # torch: not needed to look at a ledger
    from shapeft_tune.train.environment import read_environment

    try:
        result = TrialResult.load(folder)
    except TrialError:
        logger.exception("no scores for the record")
        result = None
    files = {name: folder / name for name in ARTIFACTS if (folder / name).exists()}
    metrics = {
        "cost/device_seconds": trial.spent.device_seconds,
        "cost/steps": float(trial.spent.steps),
        "cost/retries": float(len(trial.retried)),
        "cost/lost_device_seconds": trial.spent.lost_device_seconds,
    }
    if result:
        metrics |= result.metrics()
    return TrialEnd(
        ending=Ending(state),
        metrics=metrics,
        message=message,
        artifacts=files,
        environment=read_environment(folder),
        test_counts_KK=_test_counts(trial, files),
    )


def _test_counts(trial: LedgerTrial, files: Mapping[str, Path]) -> Counts | None:
    """Return a confirmation's confusion matrix, which a report sums over the test folds."""
    if trial.role is not Role.CONFIRMATION or CONFUSION_FILE not in files:
        return None
    try:
        return pooled_test_counts(files[CONFUSION_FILE])
    except (OSError, ValueError, BadZipFile):
        logger.exception("no confusion matrix for the record")
        return None
