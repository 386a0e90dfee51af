"""The README's steps for adding a model, followed to the letter on a copy of the project."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.train.tiny import TINY

ROOT = Path(__file__).resolve().parents[2]
BLOCK = re.compile(r"^```(python|diff)\n# (\S+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
AFTER = "from __future__ import annotations\n"


def steps() -> Iterator[tuple[str, str, str]]:
    """Yield (kind, file, content) of each block of the section."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    section = text.split("### Adding a model", 1)[1].split("\n## ", 1)[0]
    yield from BLOCK.findall(section)


def edited(text: str, diff: str) -> str:
    """Apply a diff without context: a line in place of another, an import at the top, an entry at the end."""
    removed = None
    for line in diff.splitlines():
        sign, content = line[0], line[1:]
        if sign == "-":
            assert text.count(f"{content}\n") == 1, content
            removed = content
        elif removed is not None:
            text, removed = text.replace(f"{removed}\n", f"{content}\n"), None
        elif content.startswith("from "):
            text = text.replace(AFTER, f"{AFTER}\n{content}\n", 1)
        else:
            table = re.compile(r"^\w+: dict\[str, \w+\] = \{$", re.MULTILINE)
            assert len(table.findall(text)) == 1
            text = table.sub(lambda found, entry=content: f"{found[0]}\n{entry}", text)  # type: ignore[misc]
    return text


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the project with the README's model in it."""
    copy = tmp_path_factory.mktemp("project")
    for name in ("shapeft_tune", "tests"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", copy)
    for kind, file, content in steps():
        path = copy / file
        assert path.exists() == (kind == "diff"), file
        path.write_text(
            edited(path.read_text(encoding="utf-8"), content) if kind == "diff" else content, encoding="utf-8"
        )
    return copy


def run(project: Path, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *command], cwd=project, capture_output=True, text=True, timeout=200
    )


def test_the_added_model_keeps_the_contract(project: Path) -> None:
    suite = "tests/models/test_segmenter.py"
    done = run(project, "pytest", "-q", "-p", "no:cacheprovider", suite, "-k", "mean and image")
    assert done.returncode == 0, done.stdout + done.stderr
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed
    assert int(passed[1]) >= 14


def test_the_added_model_is_trained_by_its_name(project: Path, tmp_path: Path) -> None:
    trial = tmp_path / "trial.yaml"
    trial.write_text(yaml.safe_dump(TINY | {"model": "mean_image"}), encoding="utf-8")
    done = run(project, "shapeft_tune", "train", str(trial), "--home", str(tmp_path / "home"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert list(tmp_path.glob("home/single/*/result.json"))
