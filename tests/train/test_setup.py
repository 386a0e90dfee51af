"""What it costs to assemble a trial."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any, get_args

import pytest

from shapeft_tune.config.places import Places
from shapeft_tune.config.protocol import Role
from shapeft_tune.data import PastisFolder, Patch
from shapeft_tune.data.labels import Draw
from shapeft_tune.train.setup import class_pixels, set_up
from tests.train.tiny import tiny


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> Counter[int]:
    """How often each patch's labels are read."""
    counted: Counter[int] = Counter()
    target = PastisFolder.target

    def counting(folder: PastisFolder, patch: Patch, *window: Any) -> Any:
        counted[patch.id] += 1
        return target(folder, patch, *window)

    monkeypatch.setattr(PastisFolder, "target", counting)
    return counted


@pytest.mark.parametrize("draw", get_args(Draw))
def test_labels_are_read_once_for_the_first_trial_and_never_for_the_next(
    tmp_path: Path, read: Counter[int], draw: Draw
) -> None:
    config = tiny(data__labels=draw, data__label_fraction=0.5)
    first = set_up(config, Places(tmp_path), Role.SEARCH, "cpu").splits
    training_folds = {patch.id for patch in first.train.folder.in_folds(config.data.folds.train)}
    assert {patch.id for patch in first.train.patches} <= set(read) <= training_folds
    assert set(read.values()) == {1}
    again = set_up(config, Places(tmp_path), Role.SEARCH, "cpu").splits
    assert set(read.values()) == {1}
    assert class_pixels(first).tolist() == class_pixels(again).tolist()
