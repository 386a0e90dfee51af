"""The record: what people look at in MLflow. Written here and nowhere else; it decides nothing."""

from shapeft_tune.tracking.facts import Ending, Place, SweepEnding, TrialEnd, TrialFacts
from shapeft_tune.tracking.recorder import Recorder

__all__ = ["Ending", "Place", "Recorder", "SweepEnding", "TrialEnd", "TrialFacts"]
