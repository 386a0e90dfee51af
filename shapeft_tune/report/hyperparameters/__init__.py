"""What the search says about hyperparameters."""

from shapeft_tune.report.hyperparameters.study import CellSearch, SearchTrial, StrategySearch, searches_of

__all__ = ["CellSearch", "SearchTrial", "StrategySearch", "searches_of"]
