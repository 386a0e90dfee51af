"""What a user may write: trials, sweeps, ranges. Knows neither torch, Ray nor MLflow."""

from shapeft_tune.config.cell import Cell
from shapeft_tune.config.loading import load_sweep, load_trial
from shapeft_tune.config.sweep import SweepConfig
from shapeft_tune.config.trial import TrialConfig

__all__ = ["Cell", "SweepConfig", "TrialConfig", "load_sweep", "load_trial"]
