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
from shapeft_tune.tracking.facts import Place, TrialFacts

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
"""Tag ``role`` of the run that stands for a whole sweep, the parent of its cells' runs."""
CELL_ROLE = "cell"
"""Tag ``role`` of a run that stands for one strategy in one setting, the parent of its trials' runs."""
CELL_KEY_TAGS = ("strategy", "label_fraction", "temporal_length")
"""The tags that say which cell a run is of."""
CONTENTS = "contents"
"""Tag: what else a trial reads amounts to, by name, as JSON."""
ENDED_BY = "ended_by"
"""Tag of the sweep's own run: what ended it before all trials were done, though nothing went wrong."""

ENVIRONMENT_TAGS = (
    "device",
    "host",
    "precision",
    "code_version",
)
"""What of a trial's environment people filter and group by, beside the versions; all of it is in its file."""
VERSION = "version."
"""Begins the tag of each package's version."""
STRATEGY_PARAMS = ("strategy", "encoder", "decoder", "tuning")
"""Parameters beside the searched ones, whose names all have dots: MLflow's parallel coordinates take words as
an axis from parameters alone. What is a number is an axis as a metric or, if it is searched, a parameter."""
MADE_BY: Mapping[str, tuple[str, ...]] = {
    "strategy": (),
    "encoder": ("model", "model.name", "model.size", "model.pretraining"),
    "decoder": ("model", "model.name", "model.decoder", "model.decoder.name"),
    "tuning": ("model", "model.name", "model.tuning", "model.tuning.mode"),
}
"""Which fields decide each of these words; where one of them is searched, a cell has no such word."""

REFUSED_CHARACTERS = re.compile(r"[^\w\-. :/]")
LONGEST_TAG = 5000
"""Characters. MLflow cuts longer tags off at 8000, servers before 2.10 at 5000, and half a JSON is none."""
LONGEST_MESSAGE = 2000
"""Characters of a failure's message; the end is kept, where a traceback says what happened."""


def tags_of(facts: TrialFacts) -> dict[str, str]:
    """Return the tags by which people filter and :func:`facts_of` reads."""
    tags = {
        **_setting_tags(facts),
        "role": str(facts.role),
        "seed": str(facts.seed),
        "fingerprint": facts.fingerprint,
        "configuration": facts.configuration,
        "model": facts.model,
        "encoder": facts.encoder,
        "decoder": facts.decoder,
        "tuning": facts.tuning,
        "test_folds": facts.test_folds,
    }
    told = {
        "origin": facts.origin,
        "data_digest": facts.data_digest,
        CONTENTS: _json(facts.contents) if facts.contents else "",
        TRIAL_CONFIG: _json(facts.config),
    }
    return tags | {name: text for name, text in told.items() if 0 < len(text) <= LONGEST_TAG}


def cell_tags_of(facts: TrialFacts) -> dict[str, str]:
    """Return the tags of the run of a trial's cell, but for what the search may change."""
    return cell_params_of(facts) | _setting_tags(facts) | {"role": CELL_ROLE}


def cell_params_of(facts: TrialFacts) -> dict[str, str]:
    """Return the words that make a trial's strategy, without those that the search may change."""
    words = {name: str(getattr(facts, name)) for name in STRATEGY_PARAMS}
    return {name: word for name, word in words.items() if facts.sampled.keys().isdisjoint(MADE_BY[name])}


def cell_axes_of(facts: TrialFacts) -> dict[str, float]:
    """Return the setting as metrics."""
    return {
        "cell/label_fraction": float(facts.label_fraction),
        "cell/temporal_length": float(facts.temporal_length),
    }


def cell_key_of(facts: TrialFacts) -> tuple[str, str, str]:
    """Name a trial's cell as :func:`cell_key` does."""
    return cell_key(_setting_tags(facts))


def cell_key(tags: Mapping[str, str]) -> tuple[str, str, str]:
    """Name a run's cell: strategy, label fraction and number of dates, as the tags have them."""
    strategy, label_fraction, temporal_length = (tags[name] for name in CELL_KEY_TAGS)
    return strategy, label_fraction, temporal_length


def params_of(facts: TrialFacts) -> dict[str, str]:
    """Return what is a parameter: nothing that may change, because MLflow lets none change.

    These are the searched values and the words that make a strategy.
    """
    words = {name: str(getattr(facts, name)) for name in STRATEGY_PARAMS}
    return words | {path: value_text(value) for path, value in facts.sampled.items()}


def value_text(value: Any) -> str:
    """Return a value of a configuration as a parameter has it: words as they are, all else as JSON."""
    return value if isinstance(value, str) else json.dumps(value)


def axes_of(facts: TrialFacts) -> dict[str, float]:
    """Return the setting and the seed as metrics: MLflow's line charts take nothing else as an axis."""
    return cell_axes_of(facts) | {"cell/seed": facts.seed}


def place_tags_of(place: Place) -> dict[str, str]:
    """Return the tags of where a trial runs."""
    return {"host": place.host, "device": place.device}


def environment_tags_of(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the tags of what a trial was computed with; those of its place then name the device's kind."""
    shown = {name: text for name, text in environment.items() if text}
    return {name: shown[name] for name in shown if name in ENVIRONMENT_TAGS or name.startswith(VERSION)}


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
        searched: the names of the run's parameters; those that are dotted paths have their values taken from
            ``config``, where they still have their types.
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
        sampled={path: value_at(config, path) for path in searched if path not in STRATEGY_PARAMS},
        origin=tags.get("origin", ""),
        data_digest=tags.get("data_digest", ""),
        contents=json.loads(tags.get(CONTENTS, "{}")),
    )


def _setting_tags(facts: TrialFacts) -> dict[str, str]:
    return {
        "sweep": facts.sweep,
        "strategy": facts.strategy,
        "label_fraction": repr(float(facts.label_fraction)),
        "temporal_length": str(facts.temporal_length),
    }


def _json(content: Mapping[str, Any]) -> str:
    return json.dumps(dict(content), sort_keys=True, separators=(",", ":"))
