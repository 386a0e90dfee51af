"""Which data a trial was trained and scored on, as MLflow keeps it: named, with a digest of its own."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shapeft_tune.config.protocol import Role
from shapeft_tune.tracking.facts import TrialFacts

if TYPE_CHECKING:
    from mlflow.entities import DatasetInput

LABELS_FILE = "labels.json"
"""A trial's file: ``labelled_patches``, the ids that it learns from, and ``patches``, how many are in each
other split that it opens (which files of before have not)."""
SOURCE_TYPE = "local"
CONTEXT = "mlflow.data.context"
"""Tag of an input: what it served for."""
DIGITS = 16


@dataclass(frozen=True)
class DataPart:
    """A part of a data set that a trial opened."""

    context: str
    """``training``, ``validation`` or ``test``."""
    source: str
    """The data set's name in a configuration."""
    name: str
    """``pastis folds 1,2,3``; MLflow shows it, so training tells its share of labels and its seed, too."""
    digest: str
    """The same for trials that saw the same, and for no others."""
    profile: Mapping[str, Any]
    """What else is known: how many patches, which folds."""


def data_parts(facts: TrialFacts, labels: Mapping[str, Any]) -> Iterator[DataPart]:
    """Yield what a trial opened, by its facts and the content of its ``labels.json``."""
    config = facts.config["data"]
    source, folds = str(config["dataset"]["name"]), config["folds"]
    patches: Mapping[str, int] = labels.get("patches", {})
    ids = labels["labelled_patches"]
    drawn = {name: config[name] for name in ("label_fraction", "labels")} | {"seed": facts.seed}
    yield _part("training", source, folds["train"], [facts.data_digest, sorted(ids)], len(ids), drawn)
    scored = ("validation", "test") if facts.role is Role.CONFIRMATION else ("validation",)
    for split in scored:
        yield _part(split, source, folds[split], [facts.data_digest], patches.get(split), {})


def labels_in(path: Path | None) -> Mapping[str, Any] | None:
    """Return the content of a trial's ``labels.json``; None where it is not there, or is none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8")) if path else None
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) and "labelled_patches" in content else None


def inputs_of(parts: Iterable[DataPart]) -> list[DatasetInput]:
    """Return the parts as MLflow takes them."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    def as_dataset(part: DataPart) -> Dataset:
        source, profile = json.dumps({"uri": part.source}), json.dumps(dict(part.profile))
        return Dataset(part.name, part.digest, SOURCE_TYPE, source, profile=profile)

    return [DatasetInput(as_dataset(part), [InputTag(CONTEXT, part.context)]) for part in parts]


def _part(
    context: str,
    source: str,
    folds: Sequence[int],
    content: Sequence[Any],
    patches: int | None,
    drawn: Mapping[str, Any],
) -> DataPart:
    name = f"{source} folds {','.join(map(str, folds))}"
    if drawn:
        name += f" labels {drawn['label_fraction']:g} seed {drawn['seed']}"
    text = json.dumps([source, list(folds), *content, dict(drawn)], sort_keys=True)
    profile = {"folds": list(folds), **drawn} | ({} if patches is None else {"num_rows": patches})
    return DataPart(context, source, name, hashlib.sha256(text.encode()).hexdigest()[:DIGITS], profile)
