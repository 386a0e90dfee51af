"""How a trial's facts look as MLflow tags, parameters and metrics, and the way back."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from shapeft_tune.config.merge import value_at
from shapeft_tune.config.protocol import Role
from shapeft_tune.scores import Counts
from shapeft_tune.tracking.facts import TrialFacts

STATE = "state"
"""Tag: ``running`` or an :class:`Ending`, which is written last: when it is there, so is everything else."""
RUNNING = "running"
FAILURE = "failure"
METRIC_NAME, METRIC_VERSION = "metric.name", "metric.version"
PARENT = "mlflow.parentRunId"
NOTE = "mlflow.note.content"
"""The description that MLflow shows above a run or an experiment."""
TRIAL_CONFIG = "trial_config"
CONFIG_FILE = "config.json"
TEST_COUNTS = "test_confusion"
"""Tag of a confirmation: the confusion matrix of all its test patches, as JSON, rows are targets. One tag in
place of a file, so that a report on thousands of runs fetches none; left out where it would be too long."""
SWEEP_ROLE = "sweep"
"""Tag ``role`` of the run that is the parent of all trials of a sweep."""

REFUSED_CHARACTERS = re.compile(r"[^\w\-. :/]")
LONGEST_TAG = 5000
"""Characters. MLflow cuts longer tags off at 8000, servers before 2.10 at 5000, and half a JSON is none."""
LONGEST_MESSAGE = 2000
"""Characters of a failure's message; the end is kept, where a traceback says what happened."""


def tags_of(facts: TrialFacts) -> dict[str, str]:
    """Return the tags by which people filter and :func:`facts_of` reads."""
    tags = {
        "sweep": facts.sweep,
        "strategy": facts.strategy,
        "label_fraction": repr(float(facts.label_fraction)),
        "temporal_length": str(facts.temporal_length),
        "role": str(facts.role),
        "seed": str(facts.seed),
        "fingerprint": facts.fingerprint,
        "model": facts.model,
        "tuning": facts.tuning,
        "test_folds": facts.test_folds,
    }
    if facts.origin:
        tags["origin"] = facts.origin
    config = json.dumps(facts.config, sort_keys=True, separators=(",", ":"))
    return tags | ({TRIAL_CONFIG: config} if len(config) <= LONGEST_TAG else {})


def params_of(facts: TrialFacts) -> dict[str, str]:
    """Return the searched values as text: MLflow never lets a parameter change, so nothing else is one."""
    return {path: _text(value) for path, value in facts.sampled.items()}


def axes_of(facts: TrialFacts) -> dict[str, float]:
    """Return the setting as metrics, because MLflow's charts take only metrics as axes."""
    return {
        "cell/label_fraction": facts.label_fraction,
        "cell/temporal_length": facts.temporal_length,
        "cell/seed": facts.seed,
    }


def storable(metrics: Mapping[str, float]) -> dict[str, float]:
    """Return the metrics as MLflow takes them.

    NaN and infinity are left out (infinity would be stored as 1.8e308, which ruins every chart), and so are
    characters that MLflow refuses in names: class names have commas in them.
    """
    return {
        REFUSED_CHARACTERS.sub("", name): float(value)
        for name, value in metrics.items()
        if math.isfinite(value)
    }


def counts_text(counts_KK: Counts) -> str | None:
    """Return a confusion matrix as a tag's text; None where MLflow would cut it."""
    text = json.dumps(counts_KK.tolist(), separators=(",", ":"))
    return text if len(text) <= LONGEST_TAG else None


def counts_of(tags: Mapping[str, str]) -> Counts | None:
    """Read back what :func:`counts_text` wrote, ``[K, K]``; None where it is not there."""
    return np.array(json.loads(tags[TEST_COUNTS]), dtype=np.int64) if TEST_COUNTS in tags else None


def facts_of(tags: Mapping[str, str], searched: Iterable[str], config: Mapping[str, Any]) -> TrialFacts:
    """Read back what :func:`tags_of` wrote.

    Args:
        tags: of one run.
        searched: dotted paths, the names of the run's parameters; their values are taken from ``config``,
            where they still have their types.
        config: the canonical ``TrialConfig``, from the tag or the file.
    """
    return TrialFacts(
        sweep=tags["sweep"],
        strategy=tags["strategy"],
        label_fraction=float(tags["label_fraction"]),
        temporal_length=int(tags["temporal_length"]),
        role=Role(tags["role"]),
        seed=int(tags["seed"]),
        fingerprint=tags["fingerprint"],
        config=config,
        sampled={path: value_at(config, path) for path in searched},
        origin=tags.get("origin", ""),
    )


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
