"""One trial in plain PyTorch. Knows neither Ray nor MLflow."""

from shapeft_tune.train.metrics import Scores
from shapeft_tune.train.results import Progress, TrialResult
from shapeft_tune.train.stored import find_trial
from shapeft_tune.train.trial import evaluate_trial, run_trial

__all__ = [
    "Progress",
    "Scores",
    "TrialResult",
    "evaluate_trial",
    "find_trial",
    "run_trial",
]
