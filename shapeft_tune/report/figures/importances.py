"""How much each searched field matters: bars per strategy, with the cells behind them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from shapeft_tune.report.figures.searched_axis import field_names
from shapeft_tune.report.figures.style import empty_figure, style_of, wrapped
from shapeft_tune.report.hyperparameters import StrategySearch
from shapeft_tune.report.words.phrases import counted, span

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH, ROW = 6.5, 0.27
"""Inches: of the figure, and of one bar."""
NAME_WIDTH = 1.8


def importances(sweep: str, searches: Sequence[StrategySearch]) -> Figure | None:
    """Draw the mean importance of every searched field as a bar, and its importance in each cell as a dot.

    Strategies whose importances are not known are left out; None where none are.
    """
    shown = [(index, each) for index, each in enumerate(searches) if each.importances]
    if not shown:
        return None
    rows = [len(each.importances) for _, each in shown]
    figure = empty_figure(WIDTH, ROW * sum(rows) + 0.5 * len(rows) + 1.0)
    panels = figure.subplots(
        len(shown),
        1,
        sharex=True,
        squeeze=False,
        gridspec_kw={"height_ratios": [count + 0.4 for count in rows]},
    )
    names = field_names(searches)
    for (index, search), axes in zip(shown, panels[:, 0], strict=True):
        _draw_bars(axes, search, names, style_of(index)[0])
    panels[-1, 0].set_xlabel(
        "share of the variance in validation mIoU that the fields explain one by one", fontsize=9
    )
    handles, labels = panels[0, 0].get_legend_handles_labels()
    handles, labels = handles[-1:] + handles[:-1], labels[-1:] + labels[:-1]  # the bars first
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False, fontsize=8)
    figure.suptitle(wrapped(f"{sweep}: importance of the searched fields (fANOVA)", WIDTH), fontsize=10)
    return figure


def _draw_bars(axes: Axes, search: StrategySearch, names: dict[str, str], colour: str) -> None:
    fields = list(search.importances)
    means = [search.importances[field] for field in fields]
    places = range(len(fields))
    axes.barh(places, means, 0.62, color=colour, alpha=0.55, edgecolor=colour, label="mean over cells")
    cells = [cell for cell in search.cells if cell.importances]
    dots = [(cell.importances.get(field, 0.0), place) for place, field in enumerate(fields) for cell in cells]
    x, y = zip(*dots, strict=True)
    axes.plot(
        x, y, "o", markersize=3.2, markerfacecolor="w", markeredgecolor="0.2", label="one cell", linestyle=""
    )
    levels = [(place, search.chance[field]) for place, field in enumerate(fields) if field in search.chance]
    if levels:
        below, x = zip(*levels, strict=True)
        ends = [place - 0.42 for place in below], [place + 0.42 for place in below]
        axes.vlines(x, *ends, color="k", linewidth=1.6, label="up to here it may be chance", zorder=3)
    for place, mean in zip(places, means, strict=True):
        axes.text(1.04, place, f"{mean:.2f}", va="center", fontsize=8, clip_on=False)
    axes.set_yticks(places, [wrapped(names[field], NAME_WIDTH) for field in fields], fontsize=8)
    axes.invert_yaxis()
    axes.set_xlim(-0.02, 1.02)
    axes.tick_params(axis="y", length=0)
    axes.tick_params(axis="x", labelsize=8)
    axes.grid(axis="x", color="0.88", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    complete = span([len(cell.complete) for cell in cells], str)
    behind = f"{len(cells)} of {counted(len(search.cells), 'cell')}, {complete} complete trials"
    if search.predictability is not None:
        behind += f"; R² of unseen trials {max(0.0, search.predictability):.2f}"
    axes.set_title(f"{search.strategy}  ({behind})", fontsize=9, loc="left")
