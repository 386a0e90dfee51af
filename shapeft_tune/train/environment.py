"""What a trial is computed with: device, host, versions, code. Noted beside its result; decides nothing."""

from __future__ import annotations

import json
import os
import platform
import shutil
import socket
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

import shapeft_tune
from shapeft_tune.atomic import write_atomically
from shapeft_tune.train.device import Compute

ENVIRONMENT_FILE = "environment.json"
PACKAGES = ("torch", "torchvision", "timm", "numpy", "rasterio", "ray", "optuna", "mlflow", "pydantic")
GIT_PATIENCE = 5.0
"""Seconds that git may take to tell what was changed."""


def note_environment(compute: Compute, folder: Path) -> None:
    """Write what a trial is computed with into its folder; of a trial that goes on elsewhere, the last."""
    write_atomically(folder / ENVIRONMENT_FILE, json.dumps(environment_of(compute), indent=1).encode())


def read_environment(folder: Path) -> dict[str, str]:
    """Read what :func:`note_environment` wrote; nothing where it did not."""
    try:
        content = json.loads((folder / ENVIRONMENT_FILE).read_text(encoding="utf-8"))
        return {str(name): str(value) for name, value in content.items()}
    except (OSError, ValueError, AttributeError):
        return {}


def environment_of(compute: Compute) -> dict[str, str]:
    """Return what is known of this process's environment, by name; what cannot be found out is left out."""
    found = {
        "device": _device_name(compute.device),
        "precision": compute.precision,
        **_machine(),
        **_software(),
    }
    if compute.device.type == "cuda":
        found |= {"version.cuda": str(torch.version.cuda or ""), "version.driver": _driver()}
    return {name: value for name, value in found.items() if value}


def code_version(package: Path, number: str) -> str:
    """Return the version of a package, with the commit where it runs from a checkout of its own.

    ``0.1.0``, ``0.1.0+3f2a91c04b7d`` or, where files of the package differ from that commit,
    ``0.1.0+3f2a91c04b7d+dirty``. The commit is read from the files that git keeps, as containers often have
    no git; without git nobody can tell whether something was changed, and nothing is said of it.
    """
    root = package.parent
    commit = _commit(root)
    if not commit:
        return number
    return f"{number}+{commit[:12]}{'+dirty' if _is_changed(root, package.name) else ''}"


@cache
def _machine() -> dict[str, str]:
    return {
        "host": socket.gethostname(),
        "platform": platform.platform(),
        "cpu": _cpu_name(),
        "cpu_count": str(os.cpu_count() or ""),
    }


@cache
def _software() -> dict[str, str]:
    versions = {f"version.{name}": _version(name) for name in PACKAGES}
    code = code_version(Path(shapeft_tune.__file__).parent, shapeft_tune.__version__)
    return {"code_version": code, "version.python": platform.python_version(), **versions}


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else _cpu_name()


@cache
def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
        return next(named, "") or platform.machine()
    except OSError:  # no Linux
        return platform.processor() or platform.machine()


@cache
def _driver() -> str:
    try:
        import pynvml  # type: ignore[import-untyped]

        pynvml.nvmlInit()
        try:
            return str(pynvml.nvmlSystemGetDriverVersion())
        finally:
            pynvml.nvmlShutdown()
    except Exception:  # whatever a machine lacks: a trial needs no such number
        return ""


def _commit(root: Path) -> str:
    """Return the commit that a checkout is at; empty where the folder is none."""
    try:
        git = _git_folder(root / ".git")
        head = (git / "HEAD").read_text(encoding="utf-8").strip()
        return _resolved(git, head.removeprefix("ref: ")) if head.startswith("ref: ") else head
    except OSError:
        return ""


def _git_folder(place: Path) -> Path:
    """Return the folder itself, or the one that a file of this name points to in a second work tree."""
    if place.is_dir():
        return place
    pointed = place.read_text(encoding="utf-8").strip().removeprefix("gitdir: ")
    return place.parent / pointed


def _resolved(git: Path, ref: str) -> str:
    shared = git / "commondir"  # of a second work tree: branches lie with the first
    folders = [git, git / shared.read_text(encoding="utf-8").strip()] if shared.is_file() else [git]
    for folder in folders:
        if (folder / ref).is_file():
            return (folder / ref).read_text(encoding="utf-8").strip()
        packed = folder / "packed-refs"
        for line in packed.read_text(encoding="utf-8").splitlines() if packed.is_file() else ():
            if line.endswith(f" {ref}"):
                return line.partition(" ")[0]
    return ""


def _is_changed(root: Path, package: str) -> bool:
    git = shutil.which("git")
    if not git:
        return False
    command = [git, "-C", str(root), "--no-optional-locks", "status", "--porcelain", "--", package]
    try:
        done = subprocess.run(command, capture_output=True, timeout=GIT_PATIENCE, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0 and bool(done.stdout.strip())
