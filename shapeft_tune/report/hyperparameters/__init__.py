"""What the search says about hyperparameters."""

from shapeft_tune.report.hyperparameters.fields import SearchedField
from shapeft_tune.report.hyperparameters.study import CellSearch, SearchTrial, StrategySearch, searches_of

__all__ = ["CellSearch", "SearchTrial", "SearchedField", "StrategySearch", "searches_of"]
