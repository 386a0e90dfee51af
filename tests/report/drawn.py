"""Comparisons made by hand, and what can be read off a figure of them: for tests of figures."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import replace

from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.text import Text

from shapeft_tune.report import CellSummary, Comparison
from shapeft_tune.report.comparison import ClassScore, Difference, Verdict

LONG_NAME = "a_strategy_with_a_long_name_"
GRIDS = (
    (1, (1.0,), (6,)),
    (3, (0.1,), (6,)),
    (3, (0.1,), (1, 6, 15)),
    (3, (0.01, 0.1, 0.5, 1.0), (6,)),
    (2, (0.1, 1.0), (1, 6)),
    (5, (0.01, 0.1, 0.5, 1.0), (1, 6, 15, 25, 35)),
)
"""Numbers of strategies, label fractions and dates; the last is the study's own grid."""


def summary(strategy: str, labels: float, dates: int, test: float | None, val: float | None) -> CellSummary:
    ends = (None, None) if test is None else (test - 0.02, test + 0.02)
    over = "" if test is None else "seeds and patches"
    cell = CellSummary(strategy, labels, dates, 3, 0, 0, 2, val, test, *ends, None, None, {}, {}, 0, 0)
    return replace(cell, interval_over=over)


def comparison(
    strategies: int = 2,
    labels: tuple[float, ...] = (0.1, 1.0),
    dates: tuple[int, ...] = (1, 6),
    name: str = "strategy_",
) -> Comparison:
    """Return tested cells; mIoU is 0.1 + 0.3 labels + 0.01 (dates + number of the strategy)."""
    cells = [
        summary(f"{name}{index}", fraction, length, 0.1 + 0.3 * fraction + 0.01 * (length + index), 0.9)
        for length, fraction, index in itertools.product(dates, labels, range(strategies))
    ]
    return Comparison("demo", "", ("miou", 1), tuple(cells), baseline=f"{name}0" if strategies > 1 else None)


def untested(some: bool) -> Comparison:
    """Return cells with validation scores alone, or two of them tested."""
    whole = comparison()
    kept = whole.cells[:2] if some else ()
    others = (summary(*place(cell), None, 0.5) for cell in whole.cells[len(kept) :])
    return replace(whole, cells=(*kept, *others))


def with_one_seed(whole: Comparison) -> Comparison:
    """Return the same scores without intervals."""
    bare = {"test_miou_low": None, "test_miou_high": None, "interval_over": ""}
    return replace(whole, cells=tuple(replace(cell, **bare) for cell in whole.cells))


def with_classes(whole: Comparison, iou: Mapping[str, float | None]) -> Comparison:
    """Return the same with each class's IoU in every cell, 0.01 higher for each further strategy."""

    def scores(cell: CellSummary) -> dict[str, ClassScore]:
        more = 0.01 * whole.strategies.index(cell.strategy)
        return {
            name: ClassScore(None) if mean is None else ClassScore(mean + more, mean - 0.05, mean + 0.05)
            for name, mean in iou.items()
        }

    return replace(whole, cells=tuple(replace(cell, test_iou=scores(cell)) for cell in whole.cells))


def with_differences(whole: Comparison, verdict: Verdict | None = None) -> Comparison:
    """Return the same with every strategy's difference to the first: 0.01 times its number.

    They are all better, within 0.005, unless another verdict is wanted.
    """
    few = verdict == Verdict.TOO_FEW_SEEDS
    differences = [
        Difference(
            cell.strategy,
            whole.strategies[0],
            *cell.setting,
            mean=0.01 * number,
            low=None if few else 0.01 * number - 0.005,
            high=None if few else 0.01 * number + 0.005,
            p_value=None if few else 0.01,
            comparisons=0 if few else 7,
            seeds=(1,) if few else (1, 2),
            verdict=verdict or Verdict.BETTER,
            interval_over="" if few else "seeds and patches",
        )
        for number, strategy in enumerate(whole.strategies)
        for cell in whole.cells
        if number and cell.strategy == strategy
    ]
    return replace(whole, differences=tuple(differences))


def with_hours(whole: Comparison, hours: tuple[float, ...], search: float = 20.0) -> Comparison:
    """Return the same with each strategy's hours for one training, and ``search`` times as many for all."""
    of = dict(zip(whole.strategies, hours, strict=True))
    return replace(
        whole,
        cells=tuple(
            replace(
                cell,
                training_device_hours=of[cell.strategy],
                device_hours=search * of[cell.strategy],
            )
            for cell in whole.cells
        ),
    )


def place(cell: CellSummary) -> tuple[str, float, int]:
    return cell.strategy, *cell.setting


def title(figure: Figure) -> str:
    return " ".join(figure.get_suptitle().split())


def words(figure: Figure) -> list[str]:
    """Return the texts in the panels."""
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def legend_words(figure: Figure) -> list[str]:
    return [" ".join(text.get_text().split()) for legend in figure.legends for text in legend.get_texts()]


def tick_names(axis: Axis) -> list[str]:
    return [" ".join(tick.get_text().split()) for tick in axis.get_ticklabels(which="both")]


def panel_titles(figure: Figure) -> list[str]:
    return [axes.get_title() for axes in figure.axes if axes.get_title()]


def assert_nothing_collides(figure: Figure) -> None:
    """Check that no text is cut off by the figure's edge, and that none runs into another."""
    figure.canvas.draw()
    texts = [*figure.texts, *(text for legend in figure.legends for text in legend.get_texts())]
    for axes in figure.axes:
        texts += [axes.title, *axes.texts, *_drawn_ticks(axes.xaxis), *_drawn_ticks(axes.yaxis)]
        texts += _labels(axes)
    # Of an annotation, the text alone: its own extent has its line in it.
    boxes = [(text.get_text(), Text.get_window_extent(text)) for text in texts if text.get_text().strip()]
    width, height = figure.canvas.get_width_height()
    for text, box in boxes:
        assert box.x0 >= 0, text
        assert box.y0 >= 0, text
        assert box.x1 <= width, text
        assert box.y1 <= height, text
    for (one, first), (other, second) in itertools.combinations(boxes, 2):
        assert not first.overlaps(second), (one, other)


def _labels(axes: Axes) -> list[Text]:
    return [axes.xaxis.label, axes.yaxis.label]


def _drawn_ticks(axis: Axis) -> list[Text]:
    """Return the names of an axis' ticks that are drawn: not those beyond its ends, nor hidden inner ones."""
    low, high = sorted(axis.get_view_interval())
    ticks = [*axis.get_major_ticks(), *axis.get_minor_ticks()]
    ticks = [tick for tick in ticks if low <= tick.get_loc() <= high]
    names = [label for tick in ticks for label in (tick.label1, tick.label2)]
    return [label for label in names if label.get_visible()]
