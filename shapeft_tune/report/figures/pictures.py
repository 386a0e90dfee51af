"""The pictures of a report, in the order in which a reader wants them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from shapeft_tune.report.figures.best_values import best_values_over_dates, best_values_over_labels
from shapeft_tune.report.figures.class_maps import class_maps
from shapeft_tune.report.figures.classes import class_dots
from shapeft_tune.report.figures.cost import cost_of_search, cost_of_training
from shapeft_tune.report.figures.curves import curves_over_dates, curves_over_labels
from shapeft_tune.report.figures.differences import difference_map
from shapeft_tune.report.figures.fronts import fronts
from shapeft_tune.report.figures.history import history
from shapeft_tune.report.figures.importances import importances
from shapeft_tune.report.figures.maps import heat_map
from shapeft_tune.report.figures.parallel import parallel
from shapeft_tune.report.published import Published, published_for
from shapeft_tune.report.report import Report

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Picture:
    """One picture and what it shows."""

    name: str
    """Of its files."""
    section: str
    """Of the report that it belongs to: ``results``, ``cost``, ``classes`` or ``hyperparameters``."""
    caption: str
    draw: Callable[[Report], Figure | None]
    """Returns None where there is nothing to show, such as differences within a single strategy."""


def beside(report: Report) -> tuple[Published, ...]:
    """Return the published numbers that are drawn beside a report's own: none unless they are asked for."""
    return published_for(report.sweep) if report.published else ()


PICTURES = (
    Picture("map", "results", "mIoU over labels and dates", lambda report: heat_map(report.comparison)),
    Picture(
        "differences",
        "results",
        "mIoU less that of the baseline; an arrow and bold type where the two are told apart after "
        "correction for all comparisons, and an interval at that same level",
        lambda report: difference_map(report.comparison),
    ),
    Picture(
        "over_dates",
        "results",
        "mIoU over the number of dates",
        lambda report: curves_over_dates(report.comparison, beside(report)),
    ),
    Picture(
        "over_labels",
        "results",
        "mIoU over the label fraction",
        lambda report: curves_over_labels(report.comparison, beside(report)),
    ),
    Picture(
        "cost_of_training",
        "cost",
        "Test mIoU over the device time of one training of the best configuration. Above each panel: what "
        "the best adds to the cheaper one before it on the line, and for how many times the cost",
        lambda report: cost_of_training(report.comparison),
    ),
    Picture(
        "cost_of_search",
        "cost",
        "Test mIoU over the device time of all trials, pruned and failed ones included: the same for "
        "whoever searches",
        lambda report: cost_of_search(report.comparison),
    ),
    Picture(
        "classes",
        "classes",
        "IoU of each class in the setting with most tested strategies, labels and dates, which the title "
        "names; classes in the order of the baseline's IoU, those that occur nowhere left out",
        lambda report: class_dots(report.comparison),
    ),
    Picture(
        "class_maps",
        "classes",
        "IoU of each class over all settings",
        lambda report: class_maps(report.comparison),
    ),
    Picture(
        "fronts",
        "cost",
        "mIoU over device seconds",
        lambda report: fronts(report.comparison) if report.comparison.by_cost else None,
    ),
    Picture(
        "importances",
        "hyperparameters",
        "How much each searched field matters: bars are means over cells, dots are cells; a bar that ends "
        "before its line may be chance",
        lambda report: importances(report.sweep.name, report.searches),
    ),
    Picture(
        "best_over_labels",
        "hyperparameters",
        "The best value of each searched field over the label fraction; where a bar is long, many values are "
        "about as good",
        lambda report: best_values_over_labels(report.comparison, report.searches),
    ),
    Picture(
        "best_over_dates",
        "hyperparameters",
        "The best value of each searched field over the number of dates",
        lambda report: best_values_over_dates(report.comparison, report.searches),
    ),
    Picture(
        "parallel",
        "hyperparameters",
        "Complete search trials of all settings, each a line through its values; the darker, the nearer to "
        "the best of its cell",
        lambda report: parallel(report.sweep.name, report.searches),
    ),
    Picture(
        "history",
        "hyperparameters",
        "Validation mIoU of the search trials in their order; of pruned ones, the last before they stopped",
        lambda report: history(report.comparison, report.searches),
    ),
)
