"""Pictures of a comparison."""

from shapeft_tune.report.figures.curves import curves_over_dates, curves_over_labels
from shapeft_tune.report.figures.fronts import fronts
from shapeft_tune.report.figures.maps import heat_map

__all__ = ["curves_over_dates", "curves_over_labels", "fronts", "heat_map"]
