"""From a YAML file to a checked ``SweepConfig`` or ``TrialConfig``, or to every problem at once."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from shapeft_tune.config.checks import problems_of_cells
from shapeft_tune.config.problems import located, problems_of
from shapeft_tune.config.salvage import salvaged
from shapeft_tune.config.sweep import SweepConfig
from shapeft_tune.config.trial import TrialConfig
from shapeft_tune.config.yaml_file import YamlFile, read_yaml
from shapeft_tune.errors import ConfigError

Kind = TypeVar("Kind", bound=BaseModel)


def load_trial(path: Path) -> TrialConfig:
    """Read one trial.

    Raises:
        ConfigError: with every problem of the file.
    """
    file = read_yaml(path)
    return checked(TrialConfig, file.content, file.source, file)


def load_sweep(path: Path) -> SweepConfig:
    """Read a sweep and try every cell at the corners of its ranges.

    Raises:
        ConfigError: with every problem of the file, nothing having been started.
    """
    file = read_yaml(path)
    read = salvaged(file.content)
    found = list(read.found)
    if read.sweep is not None:
        found += problems_of_cells(read.sweep, file, read.lost)
    if found or read.sweep is None:
        raise ConfigError(file.source, located(found, file))
    return read.sweep


def checked(kind: type[Kind], content: Mapping[str, Any], source: str, file: YamlFile | None = None) -> Kind:
    """Build a configuration class from plain values.

    Raises:
        ConfigError: with every problem, and its line where the values come from a file.
    """
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        found = problems_of(error, content)
        placed = located(found, file) if file else [problem for _, problem in found]
        raise ConfigError(source, placed) from error
