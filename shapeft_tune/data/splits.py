"""What a trial trains on, selects on and reports on, and why the last is closed while it searches.

Legend: T frames, C bands, H and W pixels.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from shapeft_tune.config.data import DatePolicy, PastisDataset
from shapeft_tune.config.inputs import Windows
from shapeft_tune.config.protocol import Role
from shapeft_tune.config.trial import TrialConfig
from shapeft_tune.data.clouds import cloud_shares_of
from shapeft_tune.data.folder import WHOLE, Folder, Patch, Window
from shapeft_tune.data.labels import draw_labels, shuffled
from shapeft_tune.data.pastis_metadata import METADATA
from shapeft_tune.data.sources import S2, Source, nearest_frames, sources_of
from shapeft_tune.data.temporal import chosen_frames
from shapeft_tune.errors import ClosedTestFold, DataError, Problem


@dataclass(frozen=True)
class Sample:
    """One patch as stored: integers, not normalised."""

    images_TCHW: NDArray[np.int16]
    """The bands of the trial's sensors, in the order and units of ``config.bands``."""
    days_T: NDArray[np.int64]
    """Sentinel-2's, since the data set's 1 September, also where only radar is read."""
    valid_T: NDArray[np.bool_]
    """False for padding."""
    target_HW: NDArray[np.uint8]
    patch_id: int


@dataclass(frozen=True)
class Split:
    """A sequence of samples, each read when it is asked for.

    The dates are chosen among those of Sentinel-2, whatever is read: so every network sees the same days,
    and settings stay comparable. Each date gets the radar frame that is nearest to it.
    """

    folder: Folder
    patches: tuple[Patch, ...]
    temporal_length: int
    """Frames of every sample; padding makes up for those that a series or a training step lacks."""
    sources: tuple[Source, ...] = (S2,)
    dates: DatePolicy = "even"
    """How the frames are chosen; of a part that is evaluated, never ``random``."""
    pad: bool = False
    """Whether a series with fewer frames than ``temporal_length`` is padded; otherwise it is refused."""

    def __len__(self) -> int:
        return len(self.patches)

    def size(self, index: int) -> tuple[int, int]:
        """Return (H, W) of one patch."""
        return self.folder.size(self.patches[index], self.sources)

    def frames(self, index: int, chance: np.random.Generator | None = None) -> tuple[int, ...]:
        """Return the Sentinel-2 frames of one patch that are seen: ascending, ``temporal_length`` at most.

        ``chance`` draws them where the dates are ``random``; without it, they are ``even`` then. Raises
        DataError where the series has too few of them and is not padded.
        """
        patch = self.patches[index]
        clouds = self._clouds[patch.id] if self.dates == "clear" else None
        return chosen_frames(
            patch.days, self.temporal_length, self.dates, pad=self.pad, clouds=clouds, chance=chance
        )

    def sample(self, index: int, frames: Sequence[int] | None = None, window: Window = WHOLE) -> Sample:
        """Read one patch: these frames, by default :meth:`frames`, and the labels, inside a window."""
        patch = self.patches[index]
        seen = self.frames(index) if frames is None else frames
        days = [patch.days[frame] for frame in seen]
        images_TCHW = self._images(patch, days, window)
        target_HW = self.folder.target(patch, window)
        if images_TCHW.shape[-2:] != target_HW.shape:
            raise DataError(
                f"{self.folder.target_path(patch)}: expected the images' size"
                f" {images_TCHW.shape[-2:]}; got {target_HW.shape} - copy or download this file again"
            )
        valid_T = np.ones(len(days), dtype=np.bool_)
        sample = Sample(images_TCHW, np.array(days, dtype=np.int64), valid_T, target_HW, patch.id)
        return _padded(sample, self.temporal_length)

    @cached_property
    def _clouds(self) -> dict[int, tuple[float, ...]]:
        """Count clouds when they are first asked for: the test patches' not before they may be opened."""
        return cloud_shares_of(self.folder, self.patches)

    def _images(self, patch: Patch, days: Sequence[int], window: Window) -> NDArray[np.int16]:
        parts_TCHW = [
            self.folder.images(patch, nearest_frames(patch.days_of(source), days), source, window)
            for source in self.sources
        ]
        if len({part_TCHW.shape[-2:] for part_TCHW in parts_TCHW}) > 1:
            self.folder.size(patch, self.sources)  # which says what does not fit
        return parts_TCHW[0] if len(parts_TCHW) == 1 else np.concatenate(parts_TCHW, axis=1)


def _padded(sample: Sample, length: int) -> Sample:
    """Return the sample with frames of zeros at its end; their days repeat the last one, as days ascend."""
    lacking = length - len(sample.days_T)
    if lacking <= 0:
        return sample
    return replace(
        sample,
        images_TCHW=np.pad(sample.images_TCHW, ((0, lacking), (0, 0), (0, 0), (0, 0))),
        days_T=np.pad(sample.days_T, (0, lacking), mode="edge"),
        valid_T=np.pad(sample.valid_T, (0, lacking)),
    )


@dataclass(frozen=True)
class Splits:
    """The three parts of a data set that one trial may open."""

    role: Role
    train: Split
    """Labelled patches only."""
    pixels_K: tuple[int, ...]
    """Labelled pixels of each class in ``train``, void left out."""
    validation: Split
    _test: Split

    @property
    def test(self) -> Split:
        """The part that is reported on. Raises ClosedTestFold in a search trial."""
        if self.role is Role.SEARCH:
            raise ClosedTestFold(
                "the test fold is closed: expected a confirmation trial; got a search trial, whose choice of"
                " hyperparameters it would leak into - score it on the validation fold"
            )
        return self._test


def open_splits(config: TrialConfig, folder: Folder, role: Role) -> Splits:
    """Return what this trial may see of the folder. Reads labels of the training folds, and no image."""
    folds, length = config.data.folds, config.data.temporal_length
    labelled = draw_labels(config.data, config.seed, folder)
    validation = _fixed_part(folder.in_folds(folds.validation), config.validation.patches)
    test = folder.in_folds(folds.test)
    sources = sources_of(config.model.sensors, config.data.orbit)
    dates, pad = config.data.dates, config.data.short_series == "pad"
    train = Split(folder, labelled.patches, length, sources, dates, pad)
    fixed_dates: DatePolicy = "even" if dates == "random" else dates
    others = (Split(folder, patches, length, sources, fixed_dates, pad) for patches in (validation, test))
    return Splits(role, train, labelled.pixels_K, *others)


def _fixed_part(patches: tuple[Patch, ...], count: int | None) -> tuple[Patch, ...]:
    """Return ``count`` of the patches, the same for every trial and seed, or all."""
    return tuple(sorted(shuffled(patches, "validation")[:count], key=lambda patch: patch.id))


SizeOf = Callable[[Patch, tuple[Source, ...]], tuple[int, int]]
"""Tells (H, W) of a patch's series, as :meth:`Folder.size` does."""


def problems_with(config: TrialConfig, folder: Folder, size_of: SizeOf | None = None) -> list[Problem]:
    """Return everything that would make this trial fail on this folder, before a GPU is touched.

    Reads the header of every series that the trial would read, no image. With ``size_of``, that does so
    instead: one that remembers serves many trials.
    """
    folds = config.data.folds
    patches = folder.in_folds({*folds.train, *folds.validation, *folds.test})
    sources = sources_of(config.model.sensors, config.data.orbit)
    problems = [*_empty_folds(config, folder), *_short_series(config, folder, patches)]
    if radar_problems := list(_lacking_radar(config, patches, sources)):
        return problems + radar_problems
    if config.data.dates == "clear" and S2 not in sources:
        sources = (*sources, S2)  # read for their clouds, though the model sees radar alone
    try:
        sizes = Counter((size_of or folder.size)(patch, sources) for patch in patches)
    except DataError as error:
        return [*problems, Problem("data.dataset", "files that can be read", str(error))]
    return [*problems, *_unfit_sizes(config, sizes)]


def _empty_folds(config: TrialConfig, folder: Folder) -> Iterator[Problem]:
    for name in ("train", "validation", "test"):
        for fold in getattr(config.data.folds, name):
            if not folder.in_folds({fold}):
                held = sorted({patch.fold for patch in folder.patches})
                yield Problem(f"data.folds.{name}", f"folds among {held}", f"fold {fold}, which has no patch")


def _short_series(config: TrialConfig, folder: Folder, patches: tuple[Patch, ...]) -> Iterator[Problem]:
    shortest = min(patches, key=lambda patch: len(patch.days), default=None)
    length = config.data.temporal_length
    if shortest and len(shortest.days) < length and config.data.short_series == "refuse":
        yield Problem(
            "data.temporal_length",
            f"at most {len(shortest.days)}, the dates of patch {folder.name_of(shortest)}",
            str(length),
            "or set `data.short_series: pad`",
        )


def _lacking_radar(
    config: TrialConfig, patches: tuple[Patch, ...], sources: tuple[Source, ...]
) -> Iterator[Problem]:
    name = config.model.name
    for source in sources:
        if not (lacking := [patch.id for patch in patches if not patch.days_of(source)]):
            continue
        dataset = config.data.dataset
        if not isinstance(dataset, PastisDataset):
            expected = f"pastis, with a PASTIS-R folder, for {name}"
            yield Problem("data.dataset", expected, f"{dataset.name}, which has no Sentinel-1")
        else:
            expected = f"{source.dates} of every patch in {METADATA}: {name} sees Sentinel-1"
            got = f"none that can be read for {len(lacking)} of {len(patches)}, the first {lacking[0]}"
            yield Problem("data.dataset", expected, got, "use PASTIS-R, or see `data.orbit`")


def _unfit_sizes(config: TrialConfig, sizes: Counter[tuple[int, int]]) -> Iterator[Problem]:
    model = config.model
    multiple, smallest = model.size_multiple, model.smallest_side
    if len(sizes) > 1:
        listed = ", ".join(f"{height} x {width} ({count})" for (height, width), count in sizes.most_common())
        yield Problem("data.dataset", "patches of one size", listed)
    for height, width in sizes:
        sides = [model.input.network_side(side) for side in (height, width)]
        hint = "or see `model.input` for resizing and windows"
        if any(side % multiple for side in sides):
            expected = f"sides that are multiples of {multiple} pixels"
            yield Problem("model.name", expected, f"{height} x {width}", hint)
        if min(sides) < smallest:
            yield Problem("model.name", f"sides of at least {smallest} pixels", f"{height} x {width}", hint)
        if isinstance(model.input, Windows) and model.input.side > min(height, width):
            expected = f"at most the patches' {min(height, width)} pixels"
            yield Problem("model.input.side", expected, str(model.input.side))
        augmentation = config.data.augmentation
        if (augmentation.crop or 0) > min(height, width):
            expected = f"at most the patches' {min(height, width)} pixels"
            yield Problem("data.augmentation.crop", expected, str(augmentation.crop))
        if height != width and augmentation.flips_and_rotations and not augmentation.crop:
            yield Problem("data.augmentation.flips_and_rotations", "false: patches are not square", "true")
