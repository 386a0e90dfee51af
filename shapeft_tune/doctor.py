"""What `doctor` looks at: packages, devices, the home, official weights, the record's store."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from shapeft_tune.config.places import Places
from shapeft_tune.errors import UserError

PACKAGES = (
    "ray", "torch", "torchvision", "timm", "peft", "segmentation_models_pytorch", "huggingface_hub",
    "optuna", "mlflow", "rasterio", "pydantic",
)  # fmt: skip
LEAST_FREE_GB = 5


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    subject: str
    well: bool
    words: str


def examine(places: Places, tracking_uri: str) -> list[Finding]:
    """Look at everything that a sweep on this machine needs."""
    return [
        _python(),
        *_packages(),
        *_devices(),
        _home(places.home),
        _disk(places.home),
        *_weights(places.weights_folder),
        _record(tracking_uri),
        _ray(),
    ]


def _python() -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    well = (3, 11) <= sys.version_info[:2] < (3, 14)
    return Finding("python", well, version if well else f"{version}; needs 3.11 to 3.13")


def _packages() -> Iterator[Finding]:
    for name in PACKAGES:
        try:
            yield Finding(name, True, importlib.metadata.version(name))
        except importlib.metadata.PackageNotFoundError:
            yield Finding(name, False, "missing; install with: make install")


def _devices() -> Iterator[Finding]:
    if importlib.util.find_spec("torch") is None:
        return
    import torch

    from shapeft_tune.train.device import choose_compute

    cpu = choose_compute("auto", "cpu")
    yield Finding("cpu", True, f"{os.cpu_count()} cores, precision auto means {cpu.precision}")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    names = ", ".join(torch.cuda.get_device_name(index) for index in range(count))
    yield Finding("gpu", True, names or "none: trials run on the CPU; keep `resources.gpu` at 0")


def _home(home: Path) -> Finding:
    from shapeft_tune.tune.preflight import require_writable

    try:
        require_writable(home)
    except UserError as error:
        return Finding("home", False, str(error))
    return Finding("home", True, f"{home} can be written to")


def _disk(home: Path) -> Finding:
    there = next(folder for folder in (home, *home.parents) if folder.exists())
    free = shutil.disk_usage(there).free / 1e9
    well = free >= LEAST_FREE_GB
    return Finding(
        "disk", well, f"{free:.0f} GB free" + ("" if well else "; make room or choose another --home")
    )


def _weights(folder: Path) -> Iterator[Finding]:
    if not all(importlib.util.find_spec(name) for name in ("torch", "timm", "huggingface_hub")):
        return
    from shapeft_tune.models import croma, galileo, ssl4eo_files
    from shapeft_tune.models.weights import find_official

    published = [*croma.OFFICIAL.values(), *ssl4eo_files.OFFICIAL.values(), *galileo.OFFICIAL.values()]
    here = [each.name for each in published if find_official(each, folder)]
    words = f"{folder}: {len(here)} of {len(published)} official files; others are downloaded when asked for"
    yield Finding("weights", True, ", ".join([words, *(f"here: {name}" for name in here)]))


def _record(tracking_uri: str) -> Finding:
    from shapeft_tune.tracking.connection import SQLITE, connect

    try:
        connect(tracking_uri, create=False)
    except UserError as error:
        if tracking_uri.startswith(SQLITE) and not Path(tracking_uri.removeprefix(SQLITE)).exists():
            return Finding("record", True, f"{tracking_uri}: made by the first sweep")
        return Finding("record", False, str(error))
    return Finding("record", True, tracking_uri)


def _ray() -> Finding:
    address = os.environ.get("RAY_ADDRESS")
    return Finding(
        "cluster",
        True,
        f"RAY_ADDRESS is {address}" if address else "this machine (give --address for another)",
    )
