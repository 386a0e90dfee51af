"""Pictures of a comparison."""

from shapeft_tune.report.figures.class_maps import class_maps
from shapeft_tune.report.figures.classes import class_dots
from shapeft_tune.report.figures.cost import cost_of_search, cost_of_training
from shapeft_tune.report.figures.curves import curves_over_dates, curves_over_labels
from shapeft_tune.report.figures.differences import difference_map
from shapeft_tune.report.figures.fronts import fronts
from shapeft_tune.report.figures.maps import heat_map

__all__ = [
    "class_dots",
    "class_maps",
    "cost_of_search",
    "cost_of_training",
    "curves_over_dates",
    "curves_over_labels",
    "difference_map",
    "fronts",
    "heat_map",
]
