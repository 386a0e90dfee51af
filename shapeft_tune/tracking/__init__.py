"""The record: what people look at in MLflow. Written here and nowhere else; it decides nothing."""

from shapeft_tune.tracking.facts import Ending, SweepEnding, TrialEnd, TrialFacts
from shapeft_tune.tracking.recorder import Recorder

__all__ = ["Ending", "Recorder", "SweepEnding", "TrialEnd", "TrialFacts"]
