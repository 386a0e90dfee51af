from __future__ import annotations

import io
import re
from xml.etree import ElementTree

import pytest
from matplotlib.figure import Figure
from PIL import Image

from shapeft_tune.report.figures import class_maps, cost_of_training, curves_over_dates, heat_map
from shapeft_tune.report.figures.saving import as_png, as_svg
from shapeft_tune.report.published import PUBLISHED
from tests.report.drawn import GRIDS, LONG_NAME, comparison, with_classes, with_hours

SVG = "{http://www.w3.org/2000/svg}"


def curves() -> Figure:
    figure = curves_over_dates(comparison())
    assert figure is not None
    return figure


def names(svg: bytes) -> list[str]:
    return re.findall(r'\bid="([^"]+)"', svg.decode())


def test_the_same_figure_gives_the_same_bytes() -> None:
    assert as_svg(curves(), "over_dates") == as_svg(curves(), "over_dates")
    assert as_png(curves()) == as_png(curves())


def test_names_in_different_drawings_never_clash() -> None:
    one, other = as_svg(curves(), "one"), as_svg(curves(), "other")
    assert len(names(one)) == len(set(names(one)))
    assert names(one)
    assert not set(names(one)) & set(names(other))


def test_every_name_that_is_used_is_there() -> None:
    svg = as_svg(curves(), "over_dates")
    used = set(re.findall(r'(?:href="#|url\(#)([\w.:-]+)', svg.decode()))
    assert used
    assert used <= set(names(svg))


def test_text_is_text() -> None:
    root = ElementTree.fromstring(as_svg(curves(), "over_dates"))
    texts = {"".join(each.itertext()).strip() for each in root.iter(f"{SVG}text")}
    assert {"dates", "mIoU", "strategy_1", "10 % of the labels"} <= texts


def test_a_drawing_sets_no_rule_for_the_page_around_it() -> None:
    svg = as_svg(curves(), "over_dates")
    assert not list(ElementTree.fromstring(svg).iter(f"{SVG}style"))
    assert b'stroke-linejoin="round"' in svg


def test_numbers_in_texts_are_not_rounded() -> None:
    assert b">0.140<" in as_svg(heat_map(comparison()), "map")


@pytest.mark.parametrize("name", ["map", "curves", "cost", "classes"])
def test_a_drawing_of_the_studys_grid_is_small(name: str) -> None:
    grid = comparison(*GRIDS[-1], LONG_NAME)
    classes = {f"class {number}": 0.9 - number / 40 for number in range(19)}
    figure = {
        "map": heat_map(grid),
        "curves": curves_over_dates(grid, PUBLISHED),
        "cost": cost_of_training(with_hours(grid, (1, 2, 3, 4, 5))),
        "classes": class_maps(with_classes(grid, classes)),
    }[name]
    assert figure is not None
    assert len(as_svg(figure, name)) < 200_000


def test_a_png_is_sharp_enough_for_print() -> None:
    figure = curves()
    with Image.open(io.BytesIO(as_png(figure))) as picture:
        assert picture.width == pytest.approx(150 * figure.get_figwidth(), abs=1)
