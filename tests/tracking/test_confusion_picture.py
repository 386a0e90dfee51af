from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from shapeft_tune.scores import Scores
from shapeft_tune.tracking.confusion_picture import confusion_figure, draw_confusion

COUNTS = np.array([[30, 10, 0], [0, 199, 1], [0, 0, 0]])
NAMES = ("wheat", "maize", "beet")


def written_cells() -> dict[tuple[int, int], str]:
    """Return the numbers in the picture by (row, column)."""
    axes = confusion_figure(COUNTS, NAMES, 5, "trial").axes[0]
    places = [(round(row), round(column)) for column, row in (text.get_position() for text in axes.texts)]
    return dict(zip(places, (text.get_text() for text in axes.texts), strict=True))


def test_each_row_is_in_per_cent_of_its_class() -> None:
    assert written_cells() == {(0, 0): "75", (0, 1): "25", (1, 1): "100", (1, 2): "0"}


def test_a_class_without_pixels_is_named_so_and_not_coloured() -> None:
    axes = confusion_figure(COUNTS, NAMES, 5, "trial").axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["wheat", "maize", "beet (no pixels)"]
    assert np.ma.getmaskarray(axes.images[0].get_array()).tolist() == [[False] * 3, [False] * 3, [True] * 3]


def test_the_title_tells_the_score_and_the_patches() -> None:
    title = confusion_figure(COUNTS, NAMES, 5, "trial").axes[0].get_title()
    assert title == f"trial\nmIoU {Scores.of(COUNTS).miou:.3f} over 3 classes; 5 test patches"


def test_so_many_classes_that_numbers_would_not_fit_have_none() -> None:
    counts = np.eye(80, dtype=np.int64)
    assert not confusion_figure(counts, [str(each) for each in range(80)], 1, "").axes[0].texts


@pytest.mark.parametrize("classes", [1, 2, 19, 70])
def test_the_picture_of_any_number_of_classes_is_one_that_can_be_opened(tmp_path: Path, classes: int) -> None:
    counts = np.random.default_rng(0).integers(0, 9, (4, classes, classes))
    names = np.array([f"a class with a long name, number {number}" for number in range(classes)])
    np.savez_compressed(tmp_path / "confusion.npz", test_counts=counts, class_names=names)
    assert draw_confusion(tmp_path / "confusion.npz", tmp_path / "picture.png", "trial")
    with Image.open(tmp_path / "picture.png") as picture:
        assert min(picture.size) > 300
        assert max(picture.size) < 2500


def test_a_trial_that_was_not_tested_has_no_picture(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "confusion.npz", validation_counts=COUNTS[None])
    assert not draw_confusion(tmp_path / "confusion.npz", tmp_path / "picture.png", "trial")
    assert not (tmp_path / "picture.png").exists()


def test_a_file_of_before_that_names_no_classes_is_drawn_with_numbers(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "confusion.npz", test_counts=COUNTS[None])
    assert draw_confusion(tmp_path / "confusion.npz", tmp_path / "picture.png", "trial")
