"""The README's example of rasters of one's own, followed to the letter."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from shapeft_tune.config import load_trial

ROOT = Path(__file__).resolve().parents[3]
README = ROOT / "README.md"
SECTION = re.compile(r"^<!-- rasters -->$(.*?)^<!-- /rasters -->$", re.MULTILINE | re.DOTALL)
BLOCK = re.compile(r"^```(\w*)\n(?:# (\S+)\n)?(.*?)^```", re.MULTILINE | re.DOTALL)
"""Its language, the file it is if any, its content."""


def run(folder: Path, line: str) -> str:
    program, *arguments = shlex.split(line, comments=True)
    assert program == "python"
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def result_of(printed: str, folder: Path) -> dict[str, Any]:
    stored = printed.rsplit("Stored in ", 1)[1].strip()
    content: dict[str, Any] = json.loads((folder / stored / "result.json").read_text())
    return content


@pytest.fixture(scope="module")
def followed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """Return the folder in which the section was followed, and what each command printed."""
    folder = tmp_path_factory.mktemp("readme")
    found = SECTION.search(README.read_text(encoding="utf-8"))
    assert found, "the README has lost its section between <!-- rasters --> and <!-- /rasters -->"
    blocks = BLOCK.findall(found[1])
    files = {name: content for language, name, content in blocks if language}
    assert sorted(files) == ["make_rasters.py", "mine/rasters.yaml", "trial.yaml"]
    for name, content in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(content, encoding="utf-8")
    lines = [line for language, _, content in blocks if not language for line in content.splitlines()]
    return folder, {line.split("#")[0].strip(): run(folder, line) for line in lines}


def test_the_network_learns_on_the_rasters_where_they_lie(followed):
    folder, printed = followed
    result = result_of(printed["python -m shapeft_tune train trial.yaml --data mine"], folder)
    assert result["class_names"] == ["grassland", "winter wheat", "maize"]
    assert result["validation"]["miou"] > 0.6  # three crops by chance: 0.2


def test_the_imported_folder_is_sound_and_gives_the_same_scores(followed):
    folder, printed = followed
    assert re.search(
        r"^faults +none$", printed["python -m shapeft_tune data check mine-imported"], re.MULTILINE
    )
    first = result_of(printed["python -m shapeft_tune train trial.yaml --data mine"], folder)
    text = (folder / "trial.yaml").read_text(encoding="utf-8")
    (folder / "pastis.yaml").write_text(text.replace("dataset: rasters", "dataset: pastis"), encoding="utf-8")
    assert load_trial(folder / "pastis.yaml").data.dataset.name == "pastis"
    again = result_of(run(folder, "python -m shapeft_tune train pastis.yaml --data mine-imported"), folder)
    assert again["validation"] == first["validation"]
    assert again["best_step"] == first["best_step"]
