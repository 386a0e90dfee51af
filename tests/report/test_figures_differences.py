from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from matplotlib import colormaps
from matplotlib.figure import Figure

from shapeft_tune.report import Comparison, compare
from shapeft_tune.report.comparison import Verdict
from shapeft_tune.report.figures import difference_map
from shapeft_tune.report.figures.differences import COLOURS_OF_SIGNS, MARKS
from shapeft_tune.report.figures.style import luminance
from shapeft_tune.report.words.phrases import signed
from tests.report.drawn import (
    GRIDS,
    LONG_NAME,
    assert_nothing_collides,
    comparison,
    panel_titles,
    title,
    with_differences,
    words,
)
from tests.report.synthetic import synthetic_runs, synthetic_sweep


def drawn(shown: Comparison) -> Figure:
    figure = difference_map(shown)
    assert figure is not None
    return figure


def footer(figure: Figure) -> str:
    return figure.get_supxlabel().split("\n")[-1]


def test_there_is_a_map_for_every_strategy_but_the_baseline() -> None:
    figure = drawn(with_differences(comparison(strategies=3)))
    assert panel_titles(figure) == ["strategy_1", "strategy_2"]
    assert "less that of strategy_0" in title(figure)


def test_a_cell_holds_the_difference_with_its_sign_and_interval() -> None:
    assert set(words(drawn(with_differences(comparison(strategies=3))))) == {
        "▲ +0.010",
        "+.005 to +.015",
        "▲ +0.020",
        "+.015 to +.025",
    }


@pytest.mark.parametrize("verdict", list(Verdict))
def test_a_verdict_is_told_by_its_mark_and_explained_below(verdict: Verdict) -> None:
    figure = drawn(with_differences(comparison(), verdict))
    numbers = [text for axes in figure.axes for text in axes.texts if "0.010" in text.get_text()]
    assert {text.get_text()[0] for text in numbers} == {MARKS[verdict]}
    told_apart = verdict in (Verdict.BETTER, Verdict.WORSE)
    assert {text.get_weight() for text in numbers} == {"bold" if told_apart else "normal"}
    said = "fewer than two common seeds" if verdict == Verdict.TOO_FEW_SEEDS else verdict
    assert footer(figure).startswith(f"{MARKS[verdict]} {said}")


def test_marks_differ_without_any_colour() -> None:
    assert len({*MARKS.values()}) == len(Verdict)


def test_only_verdicts_that_occur_are_explained() -> None:
    assert footer(drawn(with_differences(comparison()))) == "▲ better"


def test_one_seed_has_a_difference_but_no_interval() -> None:
    figure = drawn(with_differences(comparison(), Verdict.TOO_FEW_SEEDS))
    assert set(words(figure)) == {"? +0.010"}
    assert "interval" not in title(figure)


def test_the_title_says_for_how_many_comparisons_intervals_are_corrected() -> None:
    shown = with_differences(comparison())
    assert title(drawn(shown)).endswith("interval over seeds and patches, corrected for 7 comparisons")
    rotated = drawn(replace(shown, rotated=True))
    assert "five test folds (confusions summed) less that of" in title(rotated)


def test_the_colour_scale_is_symmetric_about_no_difference() -> None:
    figure = drawn(with_differences(comparison(strategies=4)))
    assert figure.axes[0].collections[0].get_clim() == pytest.approx((-0.03, 0.03))
    tiny = with_differences(comparison())  # 0.01 at most
    assert drawn(tiny).axes[0].collections[0].get_clim() == pytest.approx((-0.02, 0.02))


def test_colours_darken_from_no_difference_to_both_ends() -> None:
    shades = np.array([luminance(colour) for colour in colormaps[COLOURS_OF_SIGNS](np.linspace(0, 1, 256))])
    assert all(np.diff(shades[:120]) > 0)
    assert all(np.diff(shades[136:]) < 0)


def test_there_is_no_map_without_differences() -> None:
    assert difference_map(comparison(strategies=1)) is None
    assert difference_map(comparison(strategies=2)) is None


def test_a_setting_without_a_difference_is_left_empty() -> None:
    whole = with_differences(comparison())
    figure = drawn(replace(whole, differences=whole.differences[1:]))
    assert words(figure).count("–") == 1


@pytest.mark.parametrize(("strategies", "labels", "dates"), GRIDS[1:])
@pytest.mark.parametrize("verdict", [Verdict.WORSE, Verdict.TOO_FEW_SEEDS])
def test_no_text_is_cut_off_or_runs_into_another(
    strategies: int, labels: tuple[float, ...], dates: tuple[int, ...], verdict: Verdict
) -> None:
    whole = comparison(strategies, labels, dates, LONG_NAME)
    assert_nothing_collides(drawn(with_differences(whole, verdict)))


def test_the_differences_of_a_whole_record_are_drawn() -> None:
    sweep = synthetic_sweep()
    compared = compare(sweep, synthetic_runs(sweep))
    found = words(drawn(compared))
    for each in compared.differences:
        assert f"{MARKS[each.verdict]} {signed(each.mean)}" in found


@pytest.mark.parametrize(("value", "text"), [(0.0341, "+0.034"), (-0.0341, "−0.034"), (-0.0004, "0.000")])
def test_a_difference_has_a_sign_unless_it_rounds_to_nothing(value: float, text: str) -> None:
    assert signed(value) == text
