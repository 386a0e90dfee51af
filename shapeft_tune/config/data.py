"""What a trial is trained and scored on: the data set, its folds, how many labels and dates."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

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


class RastersDataset(Frozen):
    """GeoTIFF series and label rasters of one's own; ``--data`` names the folder with ``rasters.yaml``."""

    name: Literal["rasters"] = "rasters"


Dataset = Annotated[SampleDataset | PastisDataset | RastersDataset, named(), Field(discriminator="name")]
FOLDS = 5
Fold = Annotated[int, Field(ge=1, le=FOLDS)]


class Folds(Frozen):
    """Which of the five folds are trained on, selected on and reported on."""

    train: tuple[Fold, ...] = Field((1, 2, 3), min_length=1)
    validation: tuple[Fold, ...] = Field((4,), min_length=1)
    """Hyperparameters are chosen on these."""
    test: tuple[Fold, ...] = Field((5,), min_length=1)
    """Opened by confirmation trials only."""

    @model_validator(mode="before")
    @classmethod
    def _rotation_is_of_the_sweep(cls, value: Any) -> Any:
        if value == "rotate":
            raise ValueError(
                "train, validation and test of one trial; `folds: rotate` stands at the top of a sweep file, "
                "beside `settings`"
            )
        return value

    def rotated(self, by: int) -> Folds:
        """Return the assignment in which every fold is the one ``by`` places on: after 5 comes 1."""

        def moved(folds: tuple[int, ...]) -> tuple[int, ...]:
            return tuple((fold - 1 + by) % FOLDS + 1 for fold in folds)

        return Folds(train=moved(self.train), validation=moved(self.validation), test=moved(self.test))

    def rules(self) -> Iterator[Violation]:
        """No fold serves two purposes."""
        for name, others in {"validation": self.train, "test": self.train + self.validation}.items():
            if shared := sorted(set(getattr(self, name)) & set(others)):
                yield Violation(name, "folds that serve no other purpose", f"fold {shared[0]} twice")


class Augmentation(Frozen):
    """How a patch changes from one time it is trained on to the next; never at evaluation."""

    flips_and_rotations: bool = True
    """One of the eight symmetries of the square."""
    crop: int | None = Field(None, ge=1)
    """Side in pixels of a square cut out at a random place; not where ``model.input`` cuts or resizes."""
    drop_dates: float = Field(0.0, ge=0, lt=1)
    """Chance of each date to be left out; at least one stays."""


def _augmentation(value: Any) -> Any:
    """Let ``none`` stand for no augmentation at all, ``flips_and_rotations`` for that alone."""
    match value:
        case "none":
            return {"flips_and_rotations": False}
        case "flips_and_rotations":
            return {"flips_and_rotations": True}
    return value


DatePolicy = Literal["even", "last", "calendar", "clear", "random"]
"""Which dates of a series are seen; see ``data/temporal.py``."""


class DataConfig(Frozen):
    """The setting (label fraction and number of dates) and everything else that decides what a model sees."""

    dataset: Dataset
    label_fraction: float = Field(1.0, gt=0, le=1)
    """Share of the training folds' patches whose labels are used; smaller subsets lie inside larger ones."""
    labels: Literal["stratified", "random", "oversampled"] = "stratified"
    """Which those are: drawn so that their classes follow the whole's and rare ones are there, or evenly, or
    with patches that are rich in rare classes first."""
    temporal_length: int = Field(6, ge=1, le=366)
    """Dates per series, always in order."""
    dates: DatePolicy = "even"
    """Which dates: ``even``: spread over the season, fewer nested in more; ``last``: the last ones;
    ``calendar``: nearest to fixed days of the year, the same for every patch; ``clear``: the least cloudy of
    each of as many slots, by the share of pixels that are bright in blue; ``random``: others each time in
    training, ``even`` at evaluation."""
    short_series: Literal["refuse", "pad"] = "refuse"
    """Where a series has fewer dates than asked for: an error, or padding that is told by a mask."""
    normalisation: Literal["official", "own", "pretraining"] = "official"
    """``official``: the folder's ``NORM_S2_patch.json``; ``own``: computed from the training folds;
    ``pretraining``: the statistics that the model's encoder was pretrained with."""
    orbit: Literal["ascending", "descending"] = "ascending"
    """Of Sentinel-1, for models that see it."""
    augmentation: Annotated[Augmentation, BeforeValidator(_augmentation)] = Augmentation()
    """In training only: ``none``, ``flips_and_rotations`` (the default), or its fields."""
    folds: Folds = Folds()
