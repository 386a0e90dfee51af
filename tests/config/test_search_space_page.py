"""Every example of the page on search spaces is a sweep, and its ranges make trials."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from random import Random

import pytest

from shapeft_tune.config import load_sweep
from shapeft_tune.config.merge import merged
from shapeft_tune.config.yaml_file import read_yaml
from tests.config.examples import SWEEP, without, written

PAGE = Path(__file__).parents[2] / "search_spaces" / "README.md"
EXAMPLES = re.findall(r"^### (.+?)$|^```yaml\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
TITLES = [title for title, _ in EXAMPLES if title]
BLOCKS = [block for _, block in EXAMPLES if block]


def test_every_heading_has_an_example() -> None:
    with_example = [title for (title, _), (_, block) in itertools.pairwise(EXAMPLES) if title and block]
    assert with_example == TITLES
    assert len(TITLES) == 16


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: " ".join(block.split()[:3]))
def test_an_example_loads_and_its_ranges_make_trials(tmp_path: Path, block: str) -> None:
    (tmp_path / "block.yaml").write_text(block)
    example = dict(read_yaml(tmp_path / "block.yaml").content)
    around = without(SWEEP, "strategies") if "strategies" in example else SWEEP
    around = without(around, "search") if "search" in example else around
    sweep = load_sweep(written(tmp_path, merged(around, example)))
    for cell in sweep.cells:
        random, drawn = Random(0), set()
        for _ in range(30):
            values = cell.axes.values(cell.axes.drawn(random))
            if cell.keeps_constraints(values):
                drawn.add(cell.trial(values).fingerprint())
        assert len(drawn) >= min(cell.trials, 2)
