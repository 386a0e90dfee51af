"""What a trial is trained and scored on: the data set, its folds, how many labels and dates."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from shapeft_tune.config.base import Frozen, Violation, named


class SampleDataset(Frozen):
    """A small generated data set in the PASTIS layout (see ``data/sample.py``)."""

    name: Literal["sample"] = "sample"
    patches: int = Field(60, ge=5, le=10_000)
    """Patches in all, dealt evenly to the five folds."""
    patch_size: int = Field(32, ge=8, le=512, multiple_of=8)
    """Pixels along one side of a patch."""
    dates: int = Field(40, ge=1, le=73)
    """Acquisitions in the season; every patch has this many or a few more."""
    seed: int = Field(0, ge=0)
    """Another seed gives other fields, clouds and growers, with the same crops."""


class PastisDataset(Frozen):
    """A folder in the PASTIS or PASTIS-R layout; ``--data`` says where it is."""

    name: Literal["pastis"] = "pastis"


Dataset = Annotated[SampleDataset | PastisDataset, named(), Field(discriminator="name")]
Fold = Annotated[int, Field(ge=1, le=5)]


class Folds(Frozen):
    """Which of the five folds are trained on, selected on and reported on."""

    train: tuple[Fold, ...] = Field((1, 2, 3), min_length=1)
    validation: tuple[Fold, ...] = Field((4,), min_length=1)
    """Hyperparameters are chosen on these."""
    test: tuple[Fold, ...] = Field((5,), min_length=1)
    """Opened by confirmation trials only."""

    def rules(self) -> Iterator[Violation]:
        """No fold serves two purposes."""
        for name, others in {"validation": self.train, "test": self.train + self.validation}.items():
            if shared := sorted(set(getattr(self, name)) & set(others)):
                yield Violation(name, "folds that serve no other purpose", f"fold {shared[0]} twice")


class DataConfig(Frozen):
    """The setting (label fraction and number of dates) and everything else that decides what a model sees."""

    dataset: Dataset
    label_fraction: float = Field(1.0, gt=0, le=1)
    """Share of the training folds' patches whose labels are used; smaller subsets lie inside larger ones."""
    labels: Literal["stratified", "random"] = "stratified"
    """Which those are: drawn so that their classes follow the whole's and rare ones are there, or evenly."""
    temporal_length: int = Field(6, ge=1, le=366)
    """Dates per series, in order, evenly spaced, fewer nested in more."""
    normalisation: Literal["official", "own", "pretraining"] = "official"
    """``official``: the folder's ``NORM_S2_patch.json``; ``own``: computed from the training folds;
    ``pretraining``: the statistics that the model's encoder was pretrained with."""
    orbit: Literal["ascending", "descending"] = "ascending"
    """Of Sentinel-1, for models that see it."""
    augmentation: Literal["none", "flips_and_rotations"] = "flips_and_rotations"
    """Applied in training only: the eight symmetries of the square."""
    folds: Folds = Folds()
