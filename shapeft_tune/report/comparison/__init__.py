"""What the cells of a sweep came to, and how they compare."""

from shapeft_tune.report.comparison.cells import CellSummary
from shapeft_tune.report.comparison.comparison import Comparison, compare
from shapeft_tune.report.comparison.differences import Difference, Verdict
from shapeft_tune.report.comparison.ranks import RankStability
from shapeft_tune.report.comparison.recommendations import Recommendation
from shapeft_tune.report.comparison.tested import ClassScore

__all__ = [
    "CellSummary",
    "ClassScore",
    "Comparison",
    "Difference",
    "RankStability",
    "Recommendation",
    "Verdict",
    "compare",
]
