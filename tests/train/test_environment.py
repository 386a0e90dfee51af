from __future__ import annotations

import json
import subprocess
from importlib.metadata import version
from pathlib import Path

import pytest
import torch

from shapeft_tune.config.places import Places
from shapeft_tune.train import environment, run_trial
from shapeft_tune.train.device import choose_compute
from shapeft_tune.train.environment import code_version, environment_of, read_environment
from tests.train.tiny import tiny


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Return a package in a git checkout of its own, with one commit."""
    package = tmp_path / "checkout" / "package"
    package.mkdir(parents=True)
    (package / "code.py").write_text("one = 1\n")
    git(package.parent, "init", "-q", "-b", "main")
    git(package.parent, "add", ".")
    git(package.parent, "commit", "-q", "-m", "first")
    return package


def git(folder: Path, *arguments: str) -> str:
    who = ("-c", "user.name=a", "-c", "user.email=a@example.org")
    command = ["git", "-C", str(folder), *who, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_a_trial_notes_what_it_is_computed_with(places: Places, folder: Path) -> None:
    run_trial(tiny(), places, folder, device="cpu")
    noted = read_environment(folder)
    assert noted == json.loads((folder / "environment.json").read_text())
    assert noted == environment_of(choose_compute("auto", "cpu"))
    assert noted["device"] == noted["cpu"]
    assert noted["precision"] in ("bf16", "fp32")
    assert {noted[f"version.{name}"] for name in ("torch", "ray", "mlflow")} == {
        version("torch"),
        version("ray"),
        version("mlflow"),
    }
    assert noted["version.torch"].startswith(torch.__version__.partition("+")[0])


def test_what_is_not_there_or_damaged_is_no_environment(tmp_path: Path) -> None:
    assert read_environment(tmp_path) == {}
    (tmp_path / "environment.json").write_text("[1, 2")
    assert read_environment(tmp_path) == {}


def test_a_checkout_is_named_with_its_commit(checkout: Path) -> None:
    commit = git(checkout.parent, "rev-parse", "HEAD")
    assert code_version(checkout, "1.2") == f"1.2+{commit[:12]}"


def test_a_changed_checkout_says_so_and_a_change_beside_the_package_does_not_count(checkout: Path) -> None:
    clean = code_version(checkout, "1.2")
    (checkout.parent / "notes.txt").write_text("beside")
    assert code_version(checkout, "1.2") == clean
    (checkout / "code.py").write_text("one = 2\n")
    assert code_version(checkout, "1.2") == f"{clean}+dirty"


@pytest.mark.parametrize("how", ["packed", "detached", "worktree"])
def test_the_commit_is_found_however_git_keeps_it(
    checkout: Path, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, commit = checkout.parent, git(checkout.parent, "rev-parse", "HEAD")
    if how == "packed":
        git(root, "pack-refs", "--all")
    elif how == "detached":
        git(root, "checkout", "-q", "--detach")
    else:
        git(root, "worktree", "add", "-q", "-b", "other", str(root.parent / "second"))
        checkout = root.parent / "second" / "package"
    monkeypatch.setattr(environment.shutil, "which", lambda name: None)  # and without the program
    assert code_version(checkout, "1.2") == f"1.2+{commit[:12]}"


def test_a_package_that_is_installed_inside_another_checkout_is_not_taken_for_it(checkout: Path) -> None:
    installed = checkout.parent / ".venv" / "site-packages" / "shapeft_tune"
    installed.mkdir(parents=True)
    assert code_version(installed, "1.2") == "1.2"


@pytest.mark.parametrize("head", ["", "ref: refs/heads/never-committed"])
def test_a_checkout_without_a_commit_has_the_version_alone(tmp_path: Path, head: str) -> None:
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "HEAD").write_text(head)
    assert code_version(tmp_path / "package", "1.2") == "1.2"
