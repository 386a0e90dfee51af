from __future__ import annotations

from collections.abc import Callable

import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from shapeft_tune.config import SweepConfig
from shapeft_tune.report import Comparison
from shapeft_tune.report.figures import curves_over_dates, curves_over_labels
from shapeft_tune.report.figures.reference_lines import DASHES, GREY, spread
from shapeft_tune.report.published import PUBLISHED, published_for, published_rows
from tests.report.drawn import GRIDS, LONG_NAME, assert_nothing_collides, comparison, legend_words
from tests.report.synthetic import synthetic_sweep

Draw = Callable[..., Figure | None]
DRAWINGS = pytest.mark.parametrize("draw", [curves_over_dates, curves_over_labels])


def drawn(draw: Draw, shown: Comparison) -> Figure:
    figure = draw(shown, PUBLISHED)
    assert figure is not None
    return figure


def levels(axes: Axes) -> list[float]:
    return sorted(float(line.get_ydata()[0]) for line in axes.lines if line.get_color() == GREY)


def panel(figure: Figure, name: str) -> Axes:
    return next(axes for axes in figure.axes if axes.get_title() == name)


def test_the_numbers_are_those_of_the_field() -> None:
    percent = {(each.method, each.protocol.name): 100 * each.miou for each in PUBLISHED}
    assert percent == pytest.approx(
        {
            ("U-TAE", "five-fold"): 63.1,
            ("TSViT", "five-fold"): 65.4,
            ("Exchanger+UNet", "five-fold"): 66.8,
            ("Exchanger+Mask2Former", "five-fold"): 67.9,
            ("CROMA", "PANGAEA"): 32.32,
            ("SSL4EO DINO", "PANGAEA"): 36.18,
            ("SSL4EO MoCo", "PANGAEA"): 34.49,
            ("ViT from scratch", "PANGAEA"): 38.53,
            ("CROMA-L", "linear probe"): 44.4,
            ("AnySat", "linear probe"): 46.2,
            ("OlmoEarth-L", "linear probe"): 51.8,
            ("CROMA", "MAESTRO"): 65.0,
        }
    )


def test_a_mean_over_twenty_classes_is_said_wherever_the_number_is() -> None:
    over_20 = [each for each in PUBLISHED if each.protocol.convention == "miou_seed20"]
    assert {each.protocol.name for each in over_20} == {"PANGAEA"}
    assert all("mean over 20" in each.label for each in over_20)
    assert not any("over 20" in each.label for each in PUBLISHED if each not in over_20)
    rows = published_rows(over_20)
    assert {mean for _, _, mean, _ in rows} == {"20 (void as 0)"}


def test_a_mean_that_the_source_does_not_tell_is_not_guessed() -> None:
    labels = [each.label for each in PUBLISHED if each.protocol.convention is None]
    assert len(labels) == 4
    assert all("mean not known" in label for label in labels)


def test_every_row_has_its_protocol_in_words() -> None:
    rows = published_rows()
    assert rows[0] == (
        "U-TAE",
        "0.631",
        "19 classes",
        "five-fold rotation, Sentinel-2, mean over 19 classes, trained from scratch",
    )
    assert len(rows) == 12
    assert all(protocol for *_, protocol in rows)


def test_the_numbers_stand_beside_sweeps_on_pastis_only(sweep: SweepConfig) -> None:
    assert published_for(synthetic_sweep()) == PUBLISHED
    assert published_for(sweep) == ()  # on the generated sample


def test_over_dates_the_numbers_are_where_all_labels_are_used() -> None:
    figure = drawn(curves_over_dates, comparison())
    assert levels(panel(figure, "100 % of the labels")) == sorted(each.miou for each in PUBLISHED)
    assert levels(panel(figure, "10 % of the labels")) == []


def test_over_labels_a_number_of_six_dates_is_in_their_panel_and_others_in_that_of_most() -> None:
    figure = drawn(curves_over_labels, comparison(dates=(1, 6, 24)))
    of_six = [each.miou for each in PUBLISHED if each.protocol.temporal_length == 6]
    assert levels(panel(figure, "6 dates")) == sorted(of_six)
    others = sorted(each.miou for each in PUBLISHED if each.miou not in of_six)
    assert levels(panel(figure, "24 dates")) == others
    assert levels(panel(figure, "1 date")) == []
    without = drawn(curves_over_labels, comparison(dates=(1, 24)))
    assert levels(panel(without, "24 dates")) == others


def test_the_two_means_have_different_dashes() -> None:
    assert len({str(dashes) for dashes in DASHES.values()}) == 3
    axes = panel(drawn(curves_over_dates, comparison()), "100 % of the labels")
    looks: dict[str | None, set[str]] = {}
    for line in axes.lines:
        for each in PUBLISHED:
            if line.get_color() == GREY and line.get_ydata()[0] == each.miou:
                looks.setdefault(each.protocol.convention, set()).add(str(line._dash_pattern))
    assert all(len(look) == 1 for look in looks.values())
    assert len(set.union(*looks.values())) == 3


@DRAWINGS
def test_letters_in_the_panels_are_explained_in_the_legend(draw: Draw) -> None:
    figure = drawn(draw, comparison())
    letters = {text.get_text() for axes in figure.axes for text in axes.texts}
    explained = {name[0]: name for name in legend_words(figure)[-12:]}
    assert letters == set(explained) == set("abcdefghijkl")
    assert explained["a"] == "a Exchanger+Mask2Former (five-fold) 0.679"
    assert explained["l"] == "l CROMA (PANGAEA, mean over 20) 0.323"


@DRAWINGS
def test_without_all_labels_or_without_being_asked_there_are_no_published_numbers(draw: Draw) -> None:
    few = drawn(draw, comparison(labels=(0.01, 0.1)))
    unasked = draw(comparison())
    assert unasked is not None
    for figure in (few, unasked):
        assert legend_words(figure) == ["strategy_0", "strategy_1"]
        assert not any(levels(axes) for axes in figure.axes)


@DRAWINGS
@pytest.mark.parametrize(("strategies", "labels", "dates"), GRIDS)
def test_no_text_is_cut_off_or_runs_into_another(
    draw: Draw, strategies: int, labels: tuple[float, ...], dates: tuple[int, ...]
) -> None:
    figure = draw(comparison(strategies, labels, dates, LONG_NAME), PUBLISHED)
    if figure:
        assert_nothing_collides(figure)


def test_letters_that_would_meet_are_moved_as_little_as_needed() -> None:
    assert spread([0.1, 0.5], 0.1) == [0.1, 0.5]
    assert spread([0.5, 0.5], 0.1) == pytest.approx([0.45, 0.55])
    assert spread([0.4, 0.5, 0.5, 0.52], 0.1) == pytest.approx([0.33, 0.43, 0.53, 0.63])
